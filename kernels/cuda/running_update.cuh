// The running statistics of some layers, moved by one block.
#pragma once
#include "device.cuh"
#include "kernels/calls/batch_norm.h"

namespace norma::kernels::cuda {

struct RunningUpdate {
  struct Layer {
    float *running_mean, *running_var;
    std::int64_t* tracked;
    const float *mean, *var;
    std::int64_t channels;
    double unbiased, momentum;
    bool cumulative;
  };
  Layer layers[BatchNormRunningUpdate::most];
  std::int32_t used;

  RunningUpdate(const BatchNormRunningUpdate& call, const Memory& memory) : layers{}, used(static_cast<std::int32_t>(call.used)) {
    for (std::size_t l = 0; l < static_cast<std::size_t>(call.used); ++l) {
      const BatchNormRunningUpdate::Layer& of = call.layers[l];
      layers[l] = {.running_mean = memory.at<float>(of.running_mean),
                   .running_var = memory.at<float>(of.running_var),
                   .tracked = memory.at<std::int64_t>(of.tracked),
                   .mean = memory.at<float>(of.mean),
                   .var = memory.at<float>(of.var),
                   .channels = of.channels,
                   .unbiased = static_cast<double>(of.count) / static_cast<double>(of.count - 1),  // count > 1: lower refuses others
                   .momentum = of.momentum,
                   .cumulative = of.cumulative};
    }
  }

  // By all threads of a block: `tracked` is counted up once, after every thread has read it.
  __device__ __forceinline__ void run() const {
    for (int l = 0; l < used; ++l) {
      const Layer& p = layers[l];
      const std::int64_t tracked = *p.tracked + 1;
      __syncthreads();
      if (threadIdx.x == 0) *p.tracked = tracked;
      const double f = p.cumulative ? 1 / static_cast<double>(tracked) : p.momentum;
      for (std::int64_t c = threadIdx.x; c < p.channels; c += blockDim.x) {
        p.running_mean[c] = static_cast<float>((1 - f) * static_cast<double>(p.running_mean[c]) + f * static_cast<double>(p.mean[c]));
        p.running_var[c] =
            static_cast<float>((1 - f) * static_cast<double>(p.running_var[c]) + f * (static_cast<double>(p.var[c]) * p.unbiased));
      }
    }
  }
};

}  // namespace norma::kernels::cuda
