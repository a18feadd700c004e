// Calls, element by element: activations, addition, dropout, a constant.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// y = act(x); activation.h has the formulas
struct ActivationForward {
  static constexpr const char* name = "activation_forward";
  ValueId y{}, x{};
  Dims dims{};
  Activation act = Activation::relu;
  float option = 0;  // see ActivationTraits

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 2> operands() const { return {{{y, Access::write, "y"}, {x, Access::read, "x"}}}; }
  constexpr Cost cost() const { return {2.0 * dims.count() * f32_bytes, 1.0 * dims.count()}; }
};

// dx = dy * act'(x), where act' is computed from the activation's output or its input (ActivationTraits): this is `saved`
struct ActivationBackward {
  static constexpr const char* name = "activation_backward";
  ValueId dx{}, dy{}, saved{};
  Dims dims{};
  Activation act = Activation::relu;
  float option = 0;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {saved, Access::read, traits(act).gradient_from_output ? "y" : "x"}}};
  }
  constexpr Cost cost() const { return {3.0 * dims.count() * f32_bytes, 2.0 * dims.count()}; }
};

// y = a + b
struct Add {
  static constexpr const char* name = "add";
  ValueId y{}, a{}, b{};
  Dims dims{};

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 3> operands() const { return {{{y, Access::write, "y"}, {a, Access::read, "a"}, {b, Access::read, "b"}}}; }
  constexpr Cost cost() const { return {3.0 * dims.count() * f32_bytes, 1.0 * dims.count()}; }
};

// y[e] = keep(e) ? x[e] / (1-p) : 0, where e is the logical index ((n*C + c)*H + h)*W + w and
// keep(e) = dropout_uniform(seed, step, layer, e) >= p (philox.h). Forward and backward are the same Call: with the same step it draws the
// same mask. p = 1 gives 0.
struct Dropout {
  static constexpr const char* name = "dropout";
  ValueId y{}, x{}, state{};  // state: seed, step
  Dims dims{};
  double p = 0.5;
  std::int64_t layer = 0;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{y, Access::write, "y"}, {x, Access::read, "x"}, {state, Access::read, "state"}}};
  }
  constexpr Cost cost() const { return {2.0 * dims.count() * f32_bytes, 1.0 * dims.count()}; }
};

// y = value, all n stored floats
struct Fill {
  static constexpr const char* name = "fill";
  ValueId y{};
  std::int64_t n = 0;
  float value = 0;

  constexpr std::array<Operand, 1> operands() const { return {{{y, Access::write, "y"}}}; }
  constexpr Cost cost() const { return {n * f32_bytes, 0}; }
};

}  // namespace norma::kernels
