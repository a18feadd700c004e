// Formulas of the activations and of their gradients, once for every kind of number: 16 lanes of the CPU, a float of the GPU, double and
// the reference's Tracked. Lanes and the GPU's float so have the same bits by construction.
//
// Math is a struct of a backend (kernels/{cpu/activate.h,cuda/activate.cuh,reference/activate.h}): its number type T, and
//   constant(c)  fma(a, b, c)  exp(x)  tanh(x)  relu(x)  sigmoid(x)
//   where_positive(x, a, b)   x > 0 ? a : b
// Before it includes this, the backend defines NORMA_INLINE, its way to inline a function. NaN stays NaN in all of them.
#pragma once
#include "norma/activation.h"

namespace norma::kernels {

// Phi(x), the share of the standard normal distribution below x. A Math with more digits than float has its own. Here, with t = |x|,
// Phi(-t) = exp(-t^2/2) q(t), where q(t) = u P(u), u = 1 / (1 + 0.35 t), and P is a polynomial fitted for the least relative error (5e-8
// with its rounded coefficients). So the lower tail keeps its digits.
template <class Math, class T = typename Math::T>
NORMA_INLINE T normal_cdf(T x) {
  if constexpr (requires { Math::normal_cdf(x); }) {
    return Math::normal_cdf(x);
  } else {
    const T one = Math::constant(1.0f), t = Math::where_positive(x, x, -x);
    const T u = one / Math::fma(Math::constant(0.35f), t, one);
    T p = Math::fma(Math::constant(-2.915790491e-2f), u, Math::constant(1.440310031e-1f));
    p = Math::fma(p, u, Math::constant(-2.558391690e-1f));
    p = Math::fma(p, u, Math::constant(1.593198627e-1f));
    p = Math::fma(p, u, Math::constant(-2.321245335e-2f));
    p = Math::fma(p, u, Math::constant(1.055525392e-1f));
    p = Math::fma(p, u, Math::constant(1.198212802e-1f));
    p = Math::fma(p, u, Math::constant(1.398635209e-1f));
    p = Math::fma(p, u, Math::constant(1.396213025e-1f));
    const T tail = Math::exp(x * x * Math::constant(-0.5f)) * (p * u);
    return Math::where_positive(x, one - tail, tail);
  }
}

// The argument of GELU's approximation by tanh, doubled: 0.5 (1 + tanh(a)) = sigmoid(2a), with 2a = sqrt(8/pi) (x + 0.044715 x^3). Beyond
// 20 the sigmoid is 0 or 1, and x^3 could overflow: `x` stays within.
template <class Math, class T = typename Math::T>
struct GeluTanh {
  T x, squared;
  NORMA_INLINE explicit GeluTanh(T of)
      : x(Math::where_positive(of - Math::constant(20.0f), Math::constant(20.0f),
                               Math::where_positive(-of - Math::constant(20.0f), Math::constant(-20.0f), of))),
        squared(x * x) {}
  NORMA_INLINE T sigmoid() const {
    return Math::sigmoid(Math::constant(1.5957691216f) * (x * Math::fma(Math::constant(0.044715f), squared, Math::constant(1.0f))));
  }
  // of 2a
  NORMA_INLINE T slope() const {
    return Math::constant(1.5957691216f) * Math::fma(Math::constant(0.134145f), squared, Math::constant(1.0f));
  }
};

// act(x). option: see ActivationTraits.
template <class Math, class T = typename Math::T>
NORMA_INLINE T activate(Activation act, T x, [[maybe_unused]] float option = 0) {
  switch (act) {
    case Activation::none: return x;
    case Activation::relu: return Math::relu(x);
    case Activation::sigmoid: return Math::sigmoid(x);
    case Activation::tanh: return Math::tanh(x);
    case Activation::gelu: return x * normal_cdf<Math>(x);
    case Activation::gelu_tanh: return x * GeluTanh<Math>(x).sigmoid();
    case Activation::silu: return x * Math::sigmoid(x);
    case Activation::leaky_relu: return Math::where_positive(x, x, Math::constant(option) * x);
    case Activation::elu:  // exp(x) - 1 = tanh(x/2) (exp(x) + 1), which keeps its digits near 0
      return Math::where_positive(x, x,
                                  Math::constant(option) * (Math::tanh(x * Math::constant(0.5f)) * (Math::exp(x) + Math::constant(1.0f))));
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
    case Activation::gelu: {
      const T density = Math::constant(0.3989422804f) * Math::exp(s * s * Math::constant(-0.5f));
      return dy * Math::fma(s, density, normal_cdf<Math>(s));
    }
    case Activation::gelu_tanh: {
      const GeluTanh<Math> a(s);
      const T share = a.sigmoid();
      return dy * Math::fma(a.x * share * (Math::constant(1.0f) - share), a.slope(), share);
    }
    case Activation::silu: {
      const T share = Math::sigmoid(s);
      return dy * Math::fma(s * share, Math::constant(1.0f) - share, share);
    }
    case Activation::leaky_relu: return Math::where_positive(s, dy, Math::constant(option) * dy);
    case Activation::elu: return Math::where_positive(s, dy, Math::constant(option) * Math::exp(s) * dy);
  }
  __builtin_unreachable();
}

}  // namespace norma::kernels
