// Batch normalisation: the elementwise passes, over the view (outer, C, inner), and the running statistics.
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/running_update.cuh"

namespace norma::kernels::cuda {
namespace {

struct Apply {
  using SecondPass = void;
  Activation act;
  Normalisation normalisation;
  float* y;
  const float *x, *r;  // r may be null
  __device__ __forceinline__ Normalisation::Channel channel(std::int64_t c) const { return normalisation.channel(c); }
  template <int n>
  __device__ __forceinline__ void apply(const Normalisation::Channel& z, std::int64_t i, std::int64_t, std::uint32_t) const {
    float v[n], residual[n] = {};
    load(x + i, v);
    if (r) load(r + i, residual);
#pragma unroll
    for (int k = 0; k < n; ++k) v[k] = folded_activate(act, r ? z(v[k]) + residual[k] : z(v[k]));
    store(y + i, v);
  }
};

struct BackwardApply {
  using SecondPass = void;
  Activation act;
  BackwardNormalisation normalisation;
  View view;
  float* dx;
  const float *dy, *y, *x;
  __device__ __forceinline__ BackwardNormalisation::Channel channel(std::int64_t c) const { return normalisation.channel(c); }
  template <int n>
  __device__ __forceinline__ void apply(const BackwardNormalisation::Channel& of, std::int64_t i, std::int64_t pack,
                                        std::uint32_t position) const {
    float g[n], out[n] = {}, v[n];
    load(dy + i, g);
    if (act != Activation::none) load(y + i, out);
    load(x + i, v);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const float d = of(folded_gradient(act, g[k], out[k]), v[k]);
      v[k] = view.valid(pack, position + static_cast<std::uint32_t>(k)) ? d : 0.0f;
    }
    store(dx + i, v);
  }
};

struct ReciprocalStd {
  float* rstd;
  const float* var;
  double eps;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    float v[n];
    load(var + i, v);
#pragma unroll
    for (int k = 0; k < n; ++k) v[k] = static_cast<float>(reciprocal_std(static_cast<double>(v[k]) + eps));
    store(rstd + i, v);
  }
};

constexpr int update_threads = 256;

__global__ void __launch_bounds__(update_threads) running_update(const __grid_constant__ RunningUpdate update, const StepState* state) {
  if (!state || state->status == 0) update.run();
}

}  // namespace

void enqueue(const BatchNormRstd& call, const Memory& memory, const Queue& queue) {
  float* const rstd = memory.at<float>(call.rstd);
  const float* const var = memory.at<float>(call.var);
  launch_flat(call.channels, queue.stream, ReciprocalStd{rstd, var, call.eps}, rstd, var);
}

void enqueue(const BatchNormApply& call, const Memory& memory, const Queue& queue) {
  float* const y = memory.at<float>(call.y);
  const float *const x = memory.at<float>(call.x), *const r = memory.at<float>(call.r);
  launch_view(View(call.dims), queue.stream, Apply{call.act, normalisation_of(call, memory), y, x, r}, y, x, r);
}

void enqueue(const BatchNormBackwardApply& call, const Memory& memory, const Queue& queue) {
  float* const dx = memory.at<float>(call.dx);
  const float *const dy = memory.at<float>(call.dy), *const y = memory.at<float>(call.y), *const x = memory.at<float>(call.x);
  const View view(call.dims);
  launch_view(view, queue.stream, BackwardApply{call.act, normalisation_of(call, memory), view, dx, dy, y, x}, dx, dy, y, x);
}

void enqueue(const BatchNormRunningUpdate& call, const Memory& memory, const Queue& queue) {
  launch(named<running_update>(), 1, update_threads, queue.stream, RunningUpdate(call, memory), memory.at<StepState>(call.state));
}

}  // namespace norma::kernels::cuda
