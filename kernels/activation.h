// Formulas of the activations and of their gradients, once for every kind of number: 16 lanes of the CPU, a float of the GPU, double and
// the reference's Tracked. Lanes and the GPU's float so have the same bits by construction.
//
// Math is a struct of a backend (kernels/{cpu/activate.h,cuda/activate.cuh,reference/activate.h}): its number type T, and
//   constant(c)  fma(a, b, c)  exp(x)  tanh(x)  relu(x)  sigmoid(x)
//   where_positive(x, a, b)   x > 0 ? a : b
//   normal_cdf(x)             share of the standard normal distribution below x
// Before it includes this, the backend defines NORMA_INLINE, its way to inline a function. NaN stays NaN in all of them.
#pragma once
#include "norma/activation.h"

namespace norma::kernels {

// act(x). option: see ActivationTraits.
template <class Math, class T = typename Math::T>
NORMA_INLINE T activate(Activation act, T x, [[maybe_unused]] float option = 0) {
  switch (act) {
    case Activation::none: return x;
    case Activation::relu: return Math::relu(x);
    case Activation::sigmoid: return Math::sigmoid(x);
    case Activation::tanh: return Math::tanh(x);
  }
  __builtin_unreachable();  // lowering refuses a number that is no Activation
}

// dy * act'(x), from s: y = act(x) where the activation's gradient_from_output says so, else x.
template <class Math, class T = typename Math::T>
NORMA_INLINE T activation_gradient(Activation act, T dy, T s, [[maybe_unused]] float option = 0) {
  switch (act) {
    case Activation::none: return dy;
    case Activation::relu: return Math::where_positive(s, dy, Math::constant(0.0f));
    case Activation::sigmoid: return dy * (s * (Math::constant(1.0f) - s));
    case Activation::tanh: return dy * Math::fma(-s, s, Math::constant(1.0f));
  }
  __builtin_unreachable();
}

}  // namespace norma::kernels
