// Calls: convolution.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// y[n,k,p,q] = b[k] + sum over (c,r,s) of w[k,c,r,s] * x[n, group(k)*C/groups + c, p*stride - pad + r*dilation, ...]
struct Conv2dForward {
  static constexpr const char* name = "conv2d_forward";
  ValueId y{}, x{}, w{}, b{};  // b may be absent
  ConvShape shape{};
  Precision precision = Precision::fp32;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Factor, 2> factors() const { return {{{x, shape.x.stored()}, {w, shape.weights()}}}; }
  constexpr std::array<Operand, 4> operands() const {
    return {{{y, Access::write, "y"}, {x, Access::read, "x"}, {w, Access::read, "w"}, {b, Access::read, "b"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count() + shape.weights() + (b ? shape.y.c : 0)) * f32_bytes, 2.0 * shape.macs()};
  }
};

// dx = transposed convolution of dy with w, + b[c] when given. Padding lanes of dx are 0 where those of dy are and there is no b.
// It is also the forward pass of a transposed convolution, from dy, its input, to dx.
struct Conv2dBackwardInput {
  static constexpr const char* name = "conv2d_backward_input";
  ValueId dx{}, dy{}, w{}, b{};  // b may be absent
  ConvShape shape{};
  Precision precision = Precision::fp32;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Factor, 2> factors() const { return {{{dy, shape.y.stored()}, {w, shape.weights()}}}; }
  constexpr std::array<Operand, 4> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {w, Access::read, "w"}, {b, Access::read, "b"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count() + shape.weights() + (b ? shape.x.c : 0)) * f32_bytes, 2.0 * shape.macs()};
  }
};

//   dw[k,c,r,s] = sum over (n,p,q) of dy[n,k,p,q] * x[n,c,...];  db[k] = sum over (n,p,q) of dy[n,k,p,q] (when given)
// partial: [chunks][weights + filters] floats. The packs of samples are cut into `chunks` parts, added in index order.
struct Conv2dBackwardWeight {
  static constexpr const char* name = "conv2d_backward_weight";
  ValueId dw{}, db{}, dy{}, x{}, partial{};
  ConvShape shape{};
  std::int64_t chunks = 1;
  Precision precision = Precision::fp32;  // db, too, is of the rounded dy

  static constexpr bool reduces = true;
  constexpr bool can_cut() const { return chunks == shape.x.packs(); }
  constexpr void cut(std::int64_t n) { shape.cut(n), chunks = 1; }
  constexpr std::array<Factor, 2> factors() const { return {{{dy, shape.y.stored()}, {x, shape.x.stored()}}}; }
  constexpr std::array<Operand, 5> operands() const {
    return {{{dw, Access::write, "dw"},
             {db, Access::write, "db"},
             {partial, Access::write, "partial"},
             {dy, Access::read, "dy"},
             {x, Access::read, "x"}}};
  }
  constexpr std::int64_t partial_elements() const { return chunks * (shape.weights() + shape.y.c); }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count() + shape.weights() + (db ? shape.y.c : 0)) * f32_bytes,
            2.0 * shape.macs() + (db ? shape.y.count() : 0)};
  }
};

}  // namespace norma::kernels
