// Activations and their gradients from the output; the activation is a compile-time constant.
#pragma once
#include "kernels/cuda/math.cuh"
#include "norma/types.h"

namespace norma::kernels::cuda {

// act(x); NaN stays NaN.
template <Activation act>
__device__ __forceinline__ float activate(float x) {
  if constexpr (act == Activation::relu) return x < 0.0f ? 0.0f : x;
  if constexpr (act == Activation::sigmoid) return sigmoid(x);
  if constexpr (act == Activation::tanh) return hyperbolic_tangent(x);
  return x;
}

// dy * act'(x), from y = act(x).
template <Activation act>
__device__ __forceinline__ float activation_gradient(float dy, float y) {
  if constexpr (act == Activation::relu) return y > 0.0f ? dy : 0.0f;
  if constexpr (act == Activation::sigmoid) return dy * (y * (1.0f - y));
  if constexpr (act == Activation::tanh) return dy * fmaf(-y, y, 1.0f);
  return dy;
}

// f.operator()<act>(), on the host
template <class F>
void with_activation(Activation act, F f) {
  switch (act) {
    case Activation::none: return f.template operator()<Activation::none>();
    case Activation::relu: return f.template operator()<Activation::relu>();
    case Activation::sigmoid: return f.template operator()<Activation::sigmoid>();
    case Activation::tanh: return f.template operator()<Activation::tanh>();
  }
}

}  // namespace norma::kernels::cuda
