// Activations of the 16-lane vector, and their gradients. Where act is a compile-time constant, one case is left.
#pragma once
#include <utility>

#include "kernels/cpu/math.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

struct LaneMath {
  using T = V;
  NORMA_INLINE static V constant(float c) { return set1(c); }
  NORMA_INLINE static V fma(V a, V b, V c) { return NORMA_ISA::fma(a, b, c); }
  NORMA_INLINE static V where_positive(V x, V a, V b) { return select(gt(x, zero()), a, b); }
  NORMA_INLINE static V exp(V x) { return NORMA_ISA::exp(x); }
  NORMA_INLINE static V tanh(V x) { return NORMA_ISA::tanh(x); }
  NORMA_INLINE static V relu(V x) { return max(zero(), x); }
  NORMA_INLINE static V sigmoid(V x) { return NORMA_ISA::sigmoid(x); }
};

}  // namespace norma::kernels::cpu::NORMA_ISA

#include "kernels/activation.h"  // with simd.h's NORMA_INLINE

namespace norma::kernels::cpu::NORMA_ISA {

NORMA_INLINE V activate(Activation act, V x, float option = 0) { return kernels::activate<LaneMath>(act, x, option); }
NORMA_INLINE V activation_gradient(Activation act, V dy, V s, float option = 0) {
  return kernels::activation_gradient<LaneMath>(act, dy, s, option);
}

// Takes one branch, always alike, if act is not worth its own copy of the loop: of an activation that a batch norm has taken in.
NORMA_INLINE V folded_gradient(Activation act, V dy, V y) {
  if (act > last_folded) __builtin_unreachable();
  return activation_gradient(act, dy, y);
}

// f.operator()<act>(), for one of the activations up to `last`.
template <Activation last, class F>
inline void with_activation(Activation act, F f) {
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    ((act == activation_table[i].act ? f.template operator()<activation_table[i].act>() : void()), ...);
  }
  (std::make_index_sequence<static_cast<std::size_t>(last) + 1>{});
}
// For one that a batch norm has taken in.
template <class F>
inline void with_folded_activation(Activation act, F f) {
  with_activation<last_folded>(act, f);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
