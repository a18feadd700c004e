// Calls: linear layers.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// y[n,o] = b[o] + sum over f of w[o,f] * x[n,f]        x (N,F,1,1), y (N,O,1,1), w [O][F]
struct LinearForward {
  static constexpr const char* name = "linear_forward";
  ValueId y{}, x{}, w{}, b{};  // b may be absent
  Dims x_dims{}, y_dims{};
  Precision precision = Precision::fp32;

  constexpr void cut(std::int64_t n) { x_dims.n = y_dims.n = n; }
  constexpr std::array<Factor, 2> factors() const { return {{{x, x_dims.stored()}, {w, weights()}}}; }
  constexpr std::array<Operand, 4> operands() const {
    return {{{y, Access::write, "y"}, {x, Access::read, "x"}, {w, Access::read, "w"}, {b, Access::read, "b"}}};
  }
  constexpr std::int64_t weights() const { return x_dims.c * y_dims.c; }
  constexpr Cost cost() const {
    return {(x_dims.count() + y_dims.count() + weights() + (b ? y_dims.c : 0)) * f32_bytes, 2.0 * x_dims.n * weights()};
  }
};

// dx[n,f] = sum over o of w[o,f] * dy[n,o]
struct LinearBackwardInput {
  static constexpr const char* name = "linear_backward_input";
  ValueId dx{}, dy{}, w{};
  Dims x_dims{}, y_dims{};
  Precision precision = Precision::fp32;

  constexpr void cut(std::int64_t n) { x_dims.n = y_dims.n = n; }
  constexpr std::array<Factor, 2> factors() const { return {{{dy, y_dims.stored()}, {w, x_dims.c * y_dims.c}}}; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {w, Access::read, "w"}}};
  }
  constexpr Cost cost() const {
    return {(x_dims.count() + y_dims.count() + x_dims.c * y_dims.c) * f32_bytes, 2.0 * x_dims.n * x_dims.c * y_dims.c};
  }
};

// dw[o,f] = sum over n of dy[n,o] * x[n,f];  db[o] = sum over n of dy[n,o] (when given)
struct LinearBackwardWeight {
  static constexpr const char* name = "linear_backward_weight";
  ValueId dw{}, db{}, dy{}, x{};
  Dims x_dims{}, y_dims{};
  Precision precision = Precision::fp32;  // db, too, is of the rounded dy

  constexpr std::array<Factor, 2> factors() const { return {{{dy, y_dims.stored()}, {x, x_dims.stored()}}}; }
  constexpr std::array<Operand, 4> operands() const {
    return {{{dw, Access::write, "dw"}, {db, Access::write, "db"}, {dy, Access::read, "dy"}, {x, Access::read, "x"}}};
  }
  constexpr Cost cost() const {
    return {(x_dims.count() + y_dims.count() + x_dims.c * y_dims.c + (db ? y_dims.c : 0)) * f32_bytes,
            2.0 * x_dims.n * x_dims.c * y_dims.c + (db ? y_dims.count() : 0)};
  }
};

}  // namespace norma::kernels
