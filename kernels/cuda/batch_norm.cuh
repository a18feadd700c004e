// Shared by the kernels of batch norm: the constants of one channel, and the results of its sums.
#pragma once
#include "kernels/calls/batch_norm.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

// mean, rstd, gamma, beta (C) each; gamma or beta may be null: 1, 0.
struct Normalisation {
  const float *mean, *rstd, *gamma, *beta;

  // z = gamma * ((x - mean) * rstd) + beta of one channel, as (x - mean) * scale + shift.
  struct Channel {
    float mean, scale, shift;
    __device__ __forceinline__ float operator()(float x) const { return fmaf(x - mean, scale, shift); }
  };
  __device__ __forceinline__ Channel channel(std::int64_t c) const {
    return {mean[c], (gamma ? gamma[c] : 1.0f) * rstd[c], beta ? beta[c] : 0.0f};
  }
};

// dx = k * (g - dbeta/m - xhat * dgamma/m) of one channel, with k = gamma * rstd, as k*g + rest(x); rest is 0 without batch statistics
// (dgamma null).
struct BackwardNormalisation {
  const float *mean, *rstd, *gamma, *dgamma, *dbeta;
  double inverse_m;  // 1/m

  struct Channel {
    float k, mean, slope, offset;
    __device__ __forceinline__ float operator()(float g, float x) const { return fmaf(k, g, fmaf(x - mean, slope, offset)); }
  };
  __device__ __forceinline__ Channel channel(std::int64_t c) const {
    const float r = rstd[c];
    const double k = static_cast<double>((gamma ? gamma[c] : 1.0f) * r);
    const double slope = dgamma ? -k * static_cast<double>(r) * static_cast<double>(dgamma[c]) * inverse_m : 0;
    const double offset = dgamma ? -k * static_cast<double>(dbeta[c]) * inverse_m : 0;
    return {static_cast<float>(k), mean[c], static_cast<float>(slope), static_cast<float>(offset)};
  }
};

inline Normalisation normalisation_of(const BatchNormApply& call, const Memory& memory) {
  return {memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.gamma), memory.at<float>(call.beta)};
}
inline BackwardNormalisation normalisation_of(const BatchNormBackwardApply& call, const Memory& memory) {
  return {memory.at<float>(call.mean),  memory.at<float>(call.rstd),
          memory.at<float>(call.gamma), call.batch_statistics ? memory.at<float>(call.dgamma) : nullptr,
          memory.at<float>(call.dbeta), 1 / static_cast<double>(call.count)};
}

// Results of a channel's sums: (C) each.
struct Statistics {
  double eps;
  float *mean, *var, *rstd;
  __device__ __forceinline__ void write(std::int64_t channel, const Moments& m) const {
    const double v = m.squares / m.count;
    mean[channel] = static_cast<float>(m.mean);
    var[channel] = static_cast<float>(v);
    rstd[channel] = static_cast<float>(reciprocal_std(v + eps));
  }
};
inline Statistics statistics_of(const BatchNormStatistics& call, const Memory& memory) {
  return {call.eps, memory.at<float>(call.mean), memory.at<float>(call.var), memory.at<float>(call.rstd)};
}

// Sums of g * xhat and of g.
struct Pair {
  double a, b;
};
__device__ __forceinline__ Pair merge(const Pair& a, const Pair& b) { return {a.a + b.a, a.b + b.b}; }
__device__ __forceinline__ Pair warp_merge(const Pair& p) { return {warp_sum(p.a), warp_sum(p.b)}; }

// Adds up part(0) ... part(parts - 1), shared out among a group of `width` lanes; each lane gets the sum. All lanes of the warp must call.
template <class PartAt>
requires std::is_same_v<std::invoke_result_t<PartAt, std::uint32_t>, Pair> __device__ __forceinline__ Pair merge_parts(PartAt part,
                                                                                                                       std::uint32_t parts,
                                                                                                                       int lane,
                                                                                                                       int width) {
  Pair sum{0, 0};
  for_parts<4>(part, parts, lane, width, [&](const Pair& p) { sum = merge(sum, p); });
  return {group_sum(sum.a, width), group_sum(sum.b, width)};
}

struct GradientSums {
  float *dgamma, *dbeta;
  __device__ __forceinline__ void write(std::int64_t channel, const Pair& sums) const {
    dgamma[channel] = static_cast<float>(sums.a);
    dbeta[channel] = static_cast<float>(sums.b);
  }
};
inline GradientSums gradient_sums_of(const BatchNormBackwardReduce& call, const Memory& memory) {
  return {memory.at<float>(call.dgamma), memory.at<float>(call.dbeta)};
}

}  // namespace norma::kernels::cuda
