// What the passes of batch norm share: the constants of one channel.
#pragma once
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

}  // namespace norma::kernels::cuda
