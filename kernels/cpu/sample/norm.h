// Normalise (kernels/cpu/batch_norm.h) of one float.
#pragma once
#include <cstdint>

#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

struct NormaliseOne {
  float mean, scale, shift;
  NORMA_INLINE NormaliseOne(const float* means, const float* rstd, const float* gamma, const float* beta, std::int64_t c)
      : mean(means[c]), scale((gamma ? gamma[c] : 1.0f) * rstd[c]), shift(beta ? beta[c] : 0.0f) {}
  NORMA_INLINE float operator()(float x) const { return __builtin_fmaf(x - mean, scale, shift); }
};

}  // namespace norma::kernels::cpu::NORMA_ISA
