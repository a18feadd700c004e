// Activations of double and Tracked, and their gradients.
#pragma once
#include <cmath>

#include "kernels/reference/tracked.h"

#define NORMA_INLINE inline
#include "kernels/activation.h"

namespace norma::reference {

template <class N>
struct ReferenceMath {
  using T = N;
  static T constant(float c) { return T(static_cast<double>(c)); }
  static T fma(const T& a, const T& b, const T& c) { return a * b + c; }
  static T where_positive(const T& x, const T& a, const T& b) { return reference::where_positive(x, a, b); }
  static T exp(const T& x) {
    using std::exp;
    return exp(x);
  }
  static T tanh(const T& x) {
    using std::tanh;
    return tanh(x);
  }
  static T normal_cdf(const T& x) { return reference::normal_cdf(x); }
  static T relu(const T& x) { return reference::relu(x); }
  static T sigmoid(const T& x) { return reference::sigmoid(x); }
};

template <class T>
T activate(Activation act, const T& x, float option = 0) {
  return kernels::activate<ReferenceMath<T>>(act, x, option);
}
template <class T>
T activation_gradient(Activation act, const T& dy, const T& s, float option = 0) {
  return kernels::activation_gradient<ReferenceMath<T>>(act, dy, s, option);
}

}  // namespace norma::reference
