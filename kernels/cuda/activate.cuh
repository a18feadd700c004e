// Activations and their gradients. All threads take the same branch, in kernels that wait for memory. Copies of a kernel for each
// activation would gain nothing and cost a third of the build.
#pragma once
#include "kernels/cuda/math.cuh"

#define NORMA_INLINE __device__ __forceinline__
#include "kernels/activation.h"

namespace norma::kernels::cuda {

struct FloatMath {
  using T = float;
  NORMA_INLINE static float constant(float c) { return c; }
  NORMA_INLINE static float fma(float a, float b, float c) { return fmaf(a, b, c); }
  NORMA_INLINE static float where_positive(float x, float a, float b) { return x > 0.0f ? a : b; }
  NORMA_INLINE static float exp(float x) { return exponential(x); }
  NORMA_INLINE static float tanh(float x) { return hyperbolic_tangent(x); }
  NORMA_INLINE static float relu(float x) { return x < 0.0f ? 0.0f : x; }
  NORMA_INLINE static float sigmoid(float x) { return cuda::sigmoid(x); }
};

NORMA_INLINE float activate(Activation act, float x, float option = 0) { return kernels::activate<FloatMath>(act, x, option); }
NORMA_INLINE float activation_gradient(Activation act, float dy, float s, float option = 0) {
  return kernels::activation_gradient<FloatMath>(act, dy, s, option);
}

// activate() for an activation that a batch norm has taken in. The others have no code here, and so take no register.
template <Activation a = Activation::none>
NORMA_INLINE float folded_activate(Activation act, float x) {
  if constexpr (a < last_folded)
    if (act != a) return folded_activate<static_cast<Activation>(static_cast<int>(a) + 1)>(act, x);
  return activate(a, x);
}
template <Activation a = Activation::none>
NORMA_INLINE float folded_gradient(Activation act, float dy, float y) {
  if constexpr (a < last_folded)
    if (act != a) return folded_gradient<static_cast<Activation>(static_cast<int>(a) + 1)>(act, dy, y);
  return activation_gradient(a, dy, y);
}

}  // namespace norma::kernels::cuda
