// Shared by the passes of batch norm and of the other norms. Sums of a plane are in float, flushed to double before they grow long. Sums
// over packs are in double and in order. An affine pass has two constants.
#pragma once
#include <cmath>
#include <cstdint>

#include "kernels/chunks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Vectors summed in float, four by four, before the sum goes to double. Near a large mean all squares of x - pivot are small multiples of
// one power of two. Adding them one by one rounds down more often than up. Over means of 1 to 1e5 standard deviations a chain of 128 is up
// to 9e-7 off, 32 fours are 2e-8 off.
constexpr std::int64_t vectors_per_flush = 128;
// Results larger than a usual last-level cache are written past it. A plain store would first read each line it overwrites.
constexpr std::int64_t max_cached_floats = std::int64_t{1} << 23;  // 32 MB
// Channels whose partial sums are added up by one thread.
constexpr std::int64_t channels_per_block = 32;

// v is variance + eps. 0 gives 0, as in PyTorch: a constant channel without eps is then 0 too, not 0 times infinity.
NORMA_INLINE double reciprocal_std(double v) {
  const double r = 1 / std::sqrt(v);
  return v == 0 ? 0 : r;
}

struct Pair {
  double a, b;
};

// Adds up what terms(i, a, b) adds to its two accumulators, over the vectors i of a plane and over lanes.
template <class Terms>
NORMA_INLINE Pair sum_plane(std::int64_t vectors, Terms terms) {
  Pair sum{0, 0};
  for (std::int64_t begin = 0; begin < vectors; begin += vectors_per_flush) {
    const std::int64_t end = begin + vectors_per_flush < vectors ? begin + vectors_per_flush : vectors;
    V a = zero(), b = zero();
    std::int64_t i = begin;
    for (; i + 4 <= end; i += 4) {
      V four_a = zero(), four_b = zero();
      for (int k = 0; k < 4; ++k) terms(i + k, four_a, four_b);
      a = a + four_a;
      b = b + four_b;
    }
    for (; i < end; ++i) terms(i, a, b);
    sum.a += reduce_add_double(a);
    sum.b += reduce_add_double(b);
  }
  return sum;
}

// finish(c, a, b) with each channel's sums over the packs.
template <class Finish>
inline void sum_groups(const Dims& dims, const double* partial, Finish finish) {
  parallel_for(ceil_div(dims.c, channels_per_block), [=, &dims](std::int64_t block) {
    const std::int64_t begin = block * channels_per_block;
    const std::int64_t channels = dims.c - begin < channels_per_block ? dims.c - begin : channels_per_block;
    double sum[2 * channels_per_block] = {};
    for (std::int64_t pack = 0; pack < dims.packs(); ++pack)
      for (std::int64_t k = 0; k < 2 * channels; ++k) sum[k] += partial[2 * (pack * dims.c + begin) + k];
    for (std::int64_t c = 0; c < channels; ++c) finish(begin + c, sum[2 * c], sum[2 * c + 1]);
  });
}

// z = gamma * ((x - mean) * rstd) + beta of one channel, as (x - mean) * scale + shift.
struct Normalise {
  V mean, scale, shift;
  NORMA_INLINE V operator()(V x) const { return fma(x - mean, scale, shift); }
};
NORMA_INLINE Normalise normalise(const float* mean, const float* rstd, const float* gamma, const float* beta, std::int64_t c) {
  return {set1(mean[c]), set1((gamma ? gamma[c] : 1.0f) * rstd[c]), set1(beta ? beta[c] : 0.0f)};
}

// dx = k * (g - dbeta/m - xhat * dgamma/m) of one channel, with k = gamma * rstd, as k*g + rest(x); rest is 0 without batch statistics.
// k and rest are 0 in padding lanes.
struct BackwardApply {
  V k, mean, slope, offset;
  NORMA_INLINE V rest(V x) const { return fma(x - mean, slope, offset); }
};
// dgamma null: without batch statistics.
NORMA_INLINE BackwardApply backward_apply(const float* mean, const float* rstd, const float* gamma, const float* dgamma, const float* dbeta,
                                          double m, std::int64_t c, M valid) {
  const double k = static_cast<double>((gamma ? gamma[c] : 1.0f) * rstd[c]);
  const double slope = dgamma ? -k * static_cast<double>(rstd[c]) * static_cast<double>(dgamma[c]) / m : 0;
  const double offset = dgamma ? -k * static_cast<double>(dbeta[c]) / m : 0;
  const auto in_valid = [valid](double v) { return select(valid, set1(static_cast<float>(v)), zero()); };
  return {in_valid(k), in_valid(static_cast<double>(mean[c])), in_valid(slope), in_valid(offset)};
}

}  // namespace norma::kernels::cpu::NORMA_ISA
