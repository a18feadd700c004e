// Calls: pooling.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// y = max over the window, padding is -infinity, NaN wins; argmax = r * kernel_w + s of the first maximum (when given; dims of y)
struct MaxPoolForward {
  static constexpr const char* name = "max_pool_forward";
  ValueId y{}, argmax{}, x{};
  PoolShape shape{};
  DType index_type = DType::u8;  // u8 up to 256 positions, else i32

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 3> operands() const {
    return {{{y, Access::write, "y"}, {argmax, Access::write, "argmax"}, {x, Access::read, "x"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count()) * f32_bytes + (argmax ? shape.y.count() * size_of(index_type) : 0),
            1.0 * shape.y.count() * shape.window.area()};
  }
};

// dx = 0; dx[position of argmax] += dy; the order of windows that overlap depends on the shape alone
struct MaxPoolBackward {
  static constexpr const char* name = "max_pool_backward";
  ValueId dx{}, dy{}, argmax{};
  PoolShape shape{};
  DType index_type = DType::u8;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {argmax, Access::read, "argmax"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count()) * f32_bytes + shape.y.count() * size_of(index_type), 1.0 * shape.y.count()};
  }
};

// y = sum over the window / divisor. divisor = positions inside x; with include_pad also those in its padding. As in PyTorch, a window that
// ceil_mode lets hang over the padded edge never counts positions beyond the padding.
struct AvgPoolForward {
  static constexpr const char* name = "avg_pool_forward";
  ValueId y{}, x{};
  PoolShape shape{};
  bool include_pad = true;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 2> operands() const { return {{{y, Access::write, "y"}, {x, Access::read, "x"}}}; }
  constexpr Cost cost() const { return {(shape.x.count() + shape.y.count()) * f32_bytes, 1.0 * shape.y.count() * shape.window.area()}; }
};

// dx = 0; dx[each position inside x] += dy / divisor; the order of windows that overlap depends on the shape alone
struct AvgPoolBackward {
  static constexpr const char* name = "avg_pool_backward";
  ValueId dx{}, dy{};
  PoolShape shape{};
  bool include_pad = true;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 2> operands() const { return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}}}; }
  constexpr Cost cost() const { return {(shape.x.count() + shape.y.count()) * f32_bytes, 1.0 * shape.y.count() * shape.window.area()}; }
};

}  // namespace norma::kernels
