// Activations of the 16-lane vector, and their gradients from the output; the activation is a compile-time constant.
#pragma once
#include "kernels/cpu/math.h"
#include "norma/types.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// act(x); NaN stays NaN.
template <Activation act>
NORMA_INLINE V activate(V x) {
  if constexpr (act == Activation::relu) return max(zero(), x);
  if constexpr (act == Activation::sigmoid) return sigmoid(x);
  if constexpr (act == Activation::tanh) return tanh(x);
  return x;
}

// dy * act'(x), from y = act(x).
template <Activation act>
NORMA_INLINE V activation_gradient(V dy, V y) {
  if constexpr (act == Activation::relu) return select(gt(y, zero()), dy, zero());
  if constexpr (act == Activation::sigmoid) return dy * (y * (set1(1.0f) - y));
  if constexpr (act == Activation::tanh) return dy * fma(-y, y, set1(1.0f));
  return dy;
}

// Takes one branch, always alike, if act is not worth its own copy of the loop.
NORMA_INLINE V activation_gradient(Activation act, V dy, V y) {
  switch (act) {
    case Activation::none: return dy;
    case Activation::relu: return activation_gradient<Activation::relu>(dy, y);
    case Activation::sigmoid: return activation_gradient<Activation::sigmoid>(dy, y);
    case Activation::tanh: return activation_gradient<Activation::tanh>(dy, y);
  }
  return dy;
}

// f.operator()<act>()
template <class F>
inline void with_activation(Activation act, F f) {
  switch (act) {
    case Activation::none: return f.template operator()<Activation::none>();
    case Activation::relu: return f.template operator()<Activation::relu>();
    case Activation::sigmoid: return f.template operator()<Activation::sigmoid>();
    case Activation::tanh: return f.template operator()<Activation::tanh>();
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
