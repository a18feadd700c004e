// Activations and their gradients from the output. All threads take the same branch, in kernels that wait for memory. Copies of a kernel
// for each activation would gain nothing and cost a third of the build.
#pragma once
#include "kernels/cuda/math.cuh"
#include "norma/types.h"

namespace norma::kernels::cuda {

// act(x); NaN stays NaN.
__device__ __forceinline__ float activate(Activation act, float x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::relu: return x < 0.0f ? 0.0f : x;
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return hyperbolic_tangent(x);
  }
  return x;
}

// dy * act'(x), from y = act(x).
__device__ __forceinline__ float activation_gradient(Activation act, float dy, float y) {
  switch (act) {
    case Activation::none: return dy;
    case Activation::relu: return y > 0.0f ? dy : 0.0f;
    case Activation::sigmoid: return dy * (y * (1.0f - y));
    case Activation::tanh: return dy * fmaf(-y, y, 1.0f);
  }
  return dy;
}

}  // namespace norma::kernels::cuda
