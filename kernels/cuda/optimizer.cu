// The step: the check that it was finite, the update of all parameters in one flat pass, and the counters.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/running_update.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int update_threads = flat_threads;

// Writes only where something is wrong, and then always the same. The first thread looks at the loss, too, which may be null.
template <int n>
__global__ void __launch_bounds__(update_threads)
    check_finite(std::int64_t size, StepState* state, const LossResult* loss, const float* __restrict__ values) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * update_threads + threadIdx.x) * n;
  float sum = 0;  // 0 times a finite number is 0, times any other NaN
  if (i == 0 && loss && loss->loss * 0 != 0) sum = __int_as_float(0x7FC00000);
  if (i < size) {
    float v[n];
    load(values + i, v);
#pragma unroll
    for (int k = 0; k < n; ++k) sum = fmaf(v[k], 0.0f, sum);
  }
  if (sum != sum) state->status = 1;
}

// Clips by value; a block sums the squares of flat_chunk elements.
template <int n>
__global__ void __launch_bounds__(update_threads)
    clip_values(std::int64_t size, const StepState* state, float* gradients, float max_value, double* partial) {
  if (state->status != 0) return;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * flat_chunk;
  double squares = 0;
  for (std::int64_t i = begin + static_cast<std::int64_t>(threadIdx.x) * n; i < begin + flat_chunk && i < size; i += update_threads * n) {
    float g[n];
    load(gradients + i, g);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      g[k] = g[k] > max_value ? max_value : g[k] < -max_value ? -max_value : g[k];
      squares = fma(static_cast<double>(g[k]), static_cast<double>(g[k]), squares);
    }
    store(gradients + i, g);
  }
  if (!partial) return;
  squares = block_sum<update_threads>(squares);
  if (threadIdx.x == 0) partial[blockIdx.x] = squares;
}

// Every block adds up the chunks' sums in the same order.
template <int n>
__global__ void __launch_bounds__(update_threads) clip_norm(std::int64_t size, const StepState* state, float* gradients, double max_norm,
                                                            const double* __restrict__ partial, std::int64_t chunks) {
  if (state->status != 0) return;
  double sum = 0;
  for (std::int64_t k = threadIdx.x; k < chunks; k += update_threads) sum += partial[k];
  const double factor = max_norm / (sqrt(block_sum<update_threads>(sum)) + 1e-6);
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * update_threads + threadIdx.x) * n;
  if (!(factor < 1) || i >= size) return;
  const float scale = static_cast<float>(factor);
  float g[n];
  load(gradients + i, g);
#pragma unroll
  for (int k = 0; k < n; ++k) g[k] = g[k] * scale;
  store(gradients + i, g);
}

// An optimizer. All threads of a block call prepare(state), which gives the values common to all elements of a step. apply<n>(that, i) does
// elements i and after.
struct SgdUpdate {
  float *w, *buffer;  // buffer null: no momentum
  const float* gradients;
  const float* rates;
  float decay, momentum, damped;
  bool nesterov;

  struct Step {
    float rate;
    bool is_first;
  };
  __device__ __forceinline__ Step prepare(const StepState& state) const { return {rates[state.batch], state.step == state.optimizer_from}; }
  template <int n>
  __device__ __forceinline__ void apply(const Step& step, std::int64_t i) const {
    float old[n], g[n], d[n] = {};
    load(w + i, old);
    load(gradients + i, g);
    if (buffer) load(buffer + i, d);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      g[k] = fmaf(decay, old[k], g[k]);
      d[k] = !buffer || step.is_first ? g[k] : fmaf(damped, g[k], momentum * d[k]);
      old[k] = fmaf(-step.rate, buffer && nesterov ? fmaf(momentum, d[k], g[k]) : d[k], old[k]);
    }
    if (buffer) store(buffer + i, d);
    store(w + i, old);
  }
};

struct AdamUpdate {
  float *w, *m, *v;
  const float* gradients;
  const float* rates;
  double beta1, beta2, eps, weight_decay;
  bool decoupled;

  struct Step {
    float shrink, decay, beta1, beta2, rest1, rest2, step, correction, eps;
  };
  // The first thread works out powers in double for all.
  __device__ __forceinline__ const Step& prepare(const StepState& state) const {
    Step& step = shared<Step>();
    if (threadIdx.x == 0) {
      const double t = static_cast<double>(state.step - state.optimizer_from + 1), rate = static_cast<double>(rates[state.batch]);
      step = {static_cast<float>(decoupled ? 1 - rate * weight_decay : 1),
              static_cast<float>(decoupled ? 0 : weight_decay),
              static_cast<float>(beta1),
              static_cast<float>(beta2),
              static_cast<float>(1 - beta1),
              static_cast<float>(1 - beta2),
              static_cast<float>(rate / (1 - pow(beta1, t))),
              static_cast<float>(1 / sqrt(1 - pow(beta2, t))),
              static_cast<float>(eps)};
    }
    __syncthreads();
    return step;
  }
  template <int n>
  __device__ __forceinline__ void apply(const Step& a, std::int64_t i) const {
    float old[n], g[n], mean[n], square[n];
    load(w + i, old);
    load(gradients + i, g);
    load(m + i, mean);
    load(v + i, square);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      g[k] = fmaf(a.decay, old[k], g[k]);
      mean[k] = fmaf(a.rest1, g[k], a.beta1 * mean[k]);
      square[k] = fmaf(a.rest2 * g[k], g[k], a.beta2 * square[k]);
      old[k] = fmaf(-a.step, mean[k] / fmaf(sqrtf(square[k]), a.correction, a.eps), a.shrink * old[k]);
    }
    store(m + i, mean);
    store(v + i, square);
    store(w + i, old);
  }
};

struct RMSpropUpdate {
  float *w, *square, *average, *buffer;  // average null: not centered; buffer null: no momentum
  const float* gradients;
  const float* rates;
  float decay, alpha, rest, eps, momentum;

  __device__ __forceinline__ float prepare(const StepState& state) const { return rates[state.batch]; }
  template <int n>
  __device__ __forceinline__ void apply(float rate, std::int64_t i) const {
    float old[n], g[n], mean_square[n], mean[n] = {}, d[n] = {};
    load(w + i, old);
    load(gradients + i, g);
    load(square + i, mean_square);
    if (average) load(average + i, mean);
    if (buffer) load(buffer + i, d);
#pragma unroll
    for (int k = 0; k < n; ++k) {
      g[k] = fmaf(decay, old[k], g[k]);
      mean_square[k] = fmaf(rest * g[k], g[k], alpha * mean_square[k]);
      float variance = mean_square[k];
      if (average) {
        mean[k] = fmaf(rest, g[k], alpha * mean[k]);
        variance = fmaf(-mean[k], mean[k], mean_square[k]);
        variance = variance < 0.0f ? 0.0f : variance;
      }
      const float scaled = g[k] / (sqrtf(variance) + eps);
      d[k] = buffer ? fmaf(momentum, d[k], scaled) : scaled;
      old[k] = fmaf(-rate, d[k], old[k]);
    }
    store(square + i, mean_square);
    if (average) store(average + i, mean);
    if (buffer) store(buffer + i, d);
    store(w + i, old);
  }
};

template <int n, class Update>
__device__ __forceinline__ void update_block(std::int64_t block, std::int64_t size, const Update& update, const StepState& state) {
  const auto& step = update.prepare(state);
  const std::int64_t i = (block * update_threads + threadIdx.x) * n;
  if (i < size) update.template apply<n>(step, i);
}

template <int n, class Update>
__global__ void __launch_bounds__(update_threads) update_pass(std::int64_t size, Update update, const StepState* state) {
  if (state->status == 0) update_block<n>(blockIdx.x, size, update, *state);
}

struct Progress {
  StepState* state;
  const LossResult* loss;  // may be null
  std::int64_t samples;
  bool training;

  __device__ __forceinline__ void advance() const {
    state->position += samples;
    state->batch += 1;
    state->step += training ? 1 : 0;
    state->samples += samples;
    if (!loss) return;
    state->correct += loss->correct;
    state->counted += loss->counted;
    state->loss_sum += loss->loss_sum;
  }
};

__global__ void advance(Progress progress) {
  if (progress.state->status == 0) progress.advance();
}

// Updates all values that outlive a step. The first block moves the running statistics, the others the parameters. The last of them to be
// done moves the counters, which all have read by then. At least 4 blocks to a multiprocessor: without saying so the compiler takes too few
// registers.
template <int n, class Update>
__global__ void __launch_bounds__(update_threads, 4)
    end_step(std::int64_t size, Update update, const __grid_constant__ RunningUpdate running, Progress progress, unsigned* counter) {
  if (progress.state->status != 0) return;
  if (blockIdx.x == 0) running.run();
  else update_block<n>(blockIdx.x - 1, size, update, *progress.state);
  if (last_to_arrive(counter, gridDim.x) && threadIdx.x == 0) progress.advance();
}

SgdUpdate update_of(const Sgd& o, const Update& call, const Memory& memory) {
  return {.w = memory.at<float>(call.w),
          .buffer = o.momentum != 0 ? memory.at<float>(call.kept[0]) : nullptr,
          .gradients = memory.at<float>(call.gradients),
          .rates = memory.at<float>(call.rates),
          .decay = static_cast<float>(o.weight_decay),
          .momentum = static_cast<float>(o.momentum),
          .damped = static_cast<float>(1 - o.dampening),
          .nesterov = o.nesterov};
}
AdamUpdate update_of(const Adam& o, const Update& call, const Memory& memory) {
  return {.w = memory.at<float>(call.w),
          .m = memory.at<float>(call.kept[0]),
          .v = memory.at<float>(call.kept[1]),
          .gradients = memory.at<float>(call.gradients),
          .rates = memory.at<float>(call.rates),
          .beta1 = o.beta1,
          .beta2 = o.beta2,
          .eps = o.eps,
          .weight_decay = o.weight_decay,
          .decoupled = o.decoupled};
}

RMSpropUpdate update_of(const RMSprop& o, const Update& call, const Memory& memory) {
  return {.w = memory.at<float>(call.w),
          .square = memory.at<float>(call.kept[0]),
          .average = o.centered ? memory.at<float>(call.kept[1]) : nullptr,
          .buffer = o.momentum != 0 ? memory.at<float>(call.kept[2]) : nullptr,
          .gradients = memory.at<float>(call.gradients),
          .rates = memory.at<float>(call.rates),
          .decay = static_cast<float>(o.weight_decay),
          .alpha = static_cast<float>(o.alpha),
          .rest = static_cast<float>(1 - o.alpha),
          .eps = static_cast<float>(o.eps),
          .momentum = static_cast<float>(o.momentum)};
}

// f.operator()<n>(update, blocks), with n elements at a time, as many as the arrays allow.
template <class F>
void with_update(const Update& call, const Memory& memory, F f) {
  with_options(call.optimizer, [&](const auto& options) {
    const auto update = update_of(options, call, memory);
    const auto kept = [&](std::size_t i) { return memory.at<float>(call.kept[i]); };  // null is aligned
    with_vectors(
        call.n, [&]<int n>() { f.template operator()<n>(update, ceil_div(call.n, std::int64_t{update_threads} * n)); },
        memory.at<float>(call.w), memory.at<float>(call.gradients), kept(0), kept(1), kept(2));
  });
}

Progress progress_of(const Advance& call, const Memory& memory) {
  return {memory.at<StepState>(call.state), memory.at<LossResult>(call.loss), call.samples, call.training};
}

}  // namespace

Needs needs(const EndOfStep&) { return {0, 1}; }

void enqueue(const CheckFinite& call, const Memory& memory, const Queue& queue) {
  const float* const values = memory.at<float>(call.values);
  const std::int64_t size = values ? call.n : 0;
  with_vectors(
      size,
      [&]<int n>() {
        const std::int64_t blocks = ceil_div(size, std::int64_t{update_threads} * n);
        launch(named<check_finite<n>>(), blocks ? blocks : 1, update_threads, queue.stream, size, memory.at<StepState>(call.state),
               memory.at<LossResult>(call.loss), values);
      },
      values);
}

void enqueue(const ClipGradients& call, const Memory& memory, const Queue& queue) {
  float* const gradients = memory.at<float>(call.gradients);
  const StepState* const state = memory.at<StepState>(call.state);
  double* const partial = call.by_norm() ? memory.at<double>(call.partial) : nullptr;
  with_vectors(
      call.n,
      [&]<int n>() {
        launch(named<clip_values<n>>(), call.chunks(), update_threads, queue.stream, call.n, state, gradients, call.max_value, partial);
        if (partial)
          launch(named<clip_norm<n>>(), ceil_div(call.n, std::int64_t{update_threads} * n), update_threads, queue.stream, call.n, state,
                 gradients, call.max_norm, static_cast<const double*>(partial), call.chunks());
      },
      gradients);
}

void enqueue(const Update& call, const Memory& memory, const Queue& queue) {
  with_update(call, memory, [&]<int n>(const auto& update, std::int64_t blocks) {
    launch(named<update_pass<n, std::decay_t<decltype(update)>>>(), blocks, update_threads, queue.stream, call.n, update,
           memory.at<StepState>(call.state));
  });
}

void enqueue(const EndOfStep& call, const Memory& memory, const Queue& queue) {
  const Update& of = std::get<Update>(call.calls);
  with_update(of, memory, [&]<int n>(const auto& update, std::int64_t blocks) {
    launch(named<end_step<n, std::decay_t<decltype(update)>>>(), blocks + 1, update_threads, queue.stream, of.n, update,
           RunningUpdate(std::get<BatchNormRunningUpdate>(call.calls), memory), progress_of(std::get<Advance>(call.calls), memory),
           queue.counters);
  });
}

void enqueue(const Advance& call, const Memory& memory, const Queue& queue) {
  launch(named<advance>(), 1, 1, queue.stream, progress_of(call, memory));
}

}  // namespace norma::kernels::cuda
