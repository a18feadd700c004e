// Elementwise Calls: activations, addition, fill, dropout.
#include <cmath>

#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/flat.cuh"
#include "kernels/philox.h"

namespace norma::kernels::cuda {
namespace {

struct Activate {
  Activation act;
  float option;
  float* y;
  const float* x;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    float v[n];
    load(x + i, v);
#pragma unroll
    for (int k = 0; k < n; ++k) v[k] = activate(act, v[k], option);
    store(y + i, v);
  }
};

struct ActivationGradient {
  Activation act;
  float option;
  float* dx;
  const float *dy, *saved;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    float d[n], v[n];
    load(dy + i, d);
    load(saved + i, v);
#pragma unroll
    for (int k = 0; k < n; ++k) d[k] = activation_gradient(act, d[k], v[k], option);
    store(dx + i, d);
  }
};

struct Sum {
  float* y;
  const float *a, *b;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    float v[n], w[n];
    load(a + i, v);
    load(b + i, w);
#pragma unroll
    for (int k = 0; k < n; ++k) v[k] += w[k];
    store(y + i, v);
  }
};

struct Constant {
  float* y;
  float value;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    float v[n];
#pragma unroll
    for (int k = 0; k < n; ++k) v[k] = value;
    store(y + i, v);
  }
};

}  // namespace

void enqueue(const ActivationForward& call, const Memory& memory, const Queue& queue) {
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  launch_flat(call.dims.stored(), queue.stream, Activate{call.act, call.option, y, x}, y, x);
}

void enqueue(const ActivationBackward& call, const Memory& memory, const Queue& queue) {
  float* const dx = memory.at<float>(call.dx);
  const float *const dy = memory.at<float>(call.dy), *const saved = memory.at<float>(call.saved);
  launch_flat(call.dims.stored(), queue.stream, ActivationGradient{call.act, call.option, dx, dy, saved}, dx, dy, saved);
}

void enqueue(const Add& call, const Memory& memory, const Queue& queue) {
  float* const y = memory.at<float>(call.y);
  const float *const a = memory.at<float>(call.a), *const b = memory.at<float>(call.b);
  launch_flat(call.dims.stored(), queue.stream, Sum{y, a, b}, y, a, b);
}

void enqueue(const Fill& call, const Memory& memory, const Queue& queue) {
  float* const y = memory.at<float>(call.y);
  launch_flat(call.n, queue.stream, Constant{y, call.value}, y);
}

namespace {

constexpr int dropout_threads = 128;

struct DropoutParameters {
  float* y;
  const float* x;
  const StepState* state;
  std::int64_t features, lanes, items, layer;
  float bound, scale;  // uniform >= p, both times 2^24: whole numbers on the left
};

// One thread: one Philox block of four draws of one sample. A sample's features begin anywhere in a block, so it has up to two more
// blocks than a quarter of its features. Lanes are neighbouring threads.
__global__ void __launch_bounds__(dropout_threads) dropout(DropoutParameters p) {
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * dropout_threads + threadIdx.x;
  if (item >= p.items) return;
  const std::int64_t lanes = p.lanes, blocks = p.features / 4 + 2, row = item / lanes, lane = item - row * lanes;
  const std::int64_t pack = row / blocks, sample = pack * lanes + lane, first = sample * p.features;
  const std::uint64_t block = static_cast<std::uint64_t>(first / 4 + row % blocks);
  const Philox4 draws = philox(p.state->seed, {static_cast<std::uint32_t>(block),
                                               static_cast<std::uint32_t>(block >> 32) ^ (static_cast<std::uint32_t>(p.layer) << 8),
                                               static_cast<std::uint32_t>(p.state->step), static_cast<std::uint32_t>(Stream::dropout)});
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const std::int64_t f = static_cast<std::int64_t>(block) * 4 + k - first;
    if (f < 0 || f >= p.features) continue;
    const std::int64_t i = (pack * p.features + f) * lanes + lane;
    p.y[i] = static_cast<float>(draws[k] >> 8) >= p.bound ? p.x[i] * p.scale : 0.0f;
  }
}

}  // namespace

void enqueue(const Dropout& call, const Memory& memory, const Queue& queue) {
  const std::int64_t features = call.dims.features(), samples = call.dims.packs() * call.dims.lanes;
  const DropoutParameters p{.y = memory.at<float>(call.y),
                            .x = memory.at<float>(call.x),
                            .state = memory.at<StepState>(call.state),
                            .features = features,
                            .lanes = call.dims.lanes,
                            .items = samples * (features / 4 + 2),
                            .layer = call.layer,
                            .bound = static_cast<float>(std::ceil(call.p * 0x1p24)),
                            .scale = static_cast<float>(1 / (1 - call.p))};
  launch(named<dropout>(), ceil_div(p.items, dropout_threads), dropout_threads, queue.stream, p);
}

}  // namespace norma::kernels::cuda
