// The step: the check that it was finite, the update of all parameters in one flat pass, and the counters.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/flat.cuh"

namespace norma::kernels::cuda {
namespace {

// Writes only where something is wrong, and then always the same.
struct CheckValues {
  StepState* state;
  const float* values;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    float v[n], sum = 0;  // 0 times a finite number is 0, times any other NaN
    load(values + i, v);
#pragma unroll
    for (int k = 0; k < n; ++k) sum = fmaf(v[k], 0.0f, sum);
    if (sum != sum) state->status = 1;
  }
};

__global__ void check_loss(StepState* state, const LossResult* loss) {
  const double zero = loss->loss * 0;
  if (zero != zero) state->status = 1;
}

struct SgdUpdate {
  float *w, *velocity;  // velocity null: no momentum
  const float* gradients;
  const StepState* state;
  const float* rates;
  float decay, momentum, damped;
  bool nesterov;
  template <int n>
  __device__ __forceinline__ void operator()(std::int64_t i) const {
    if (state->status != 0) return;
    const float rate = rates[state->batch];
    float old[n], g[n], d[n] = {};
    load(w + i, old);
    load(gradients + i, g);
    if (velocity) load(velocity + i, d);
    const bool first_step = state->step == 0;
#pragma unroll
    for (int k = 0; k < n; ++k) {
      g[k] = fmaf(decay, old[k], g[k]);
      d[k] = !velocity || first_step ? g[k] : fmaf(damped, g[k], momentum * d[k]);
      old[k] = fmaf(-rate, velocity && nesterov ? fmaf(momentum, d[k], g[k]) : d[k], old[k]);
    }
    if (velocity) store(velocity + i, d);
    store(w + i, old);
  }
};

struct AdamParameters {
  double beta1, beta2, eps, weight_decay;
  bool decoupled;
};

// The same for all elements of a step.
struct AdamStep {
  float shrink, decay, beta1, beta2, rest1, rest2, step, correction, eps;
};

__device__ __forceinline__ AdamStep adam_step(const AdamParameters& a, const StepState& state, const float* rates) {
  const double t = static_cast<double>(state.step + 1), rate = static_cast<double>(rates[state.batch]);
  return {static_cast<float>(a.decoupled ? 1 - rate * a.weight_decay : 1),
          static_cast<float>(a.decoupled ? 0 : a.weight_decay),
          static_cast<float>(a.beta1),
          static_cast<float>(a.beta2),
          static_cast<float>(1 - a.beta1),
          static_cast<float>(1 - a.beta2),
          static_cast<float>(rate / (1 - pow(a.beta1, t))),
          static_cast<float>(1 / sqrt(1 - pow(a.beta2, t))),
          static_cast<float>(a.eps)};
}

// The block's first thread works out the step's constants, powers in double, for all.
template <int n>
__global__ void __launch_bounds__(flat_threads) adam(std::int64_t size, AdamParameters parameters, float* w, float* m, float* v,
                                                     const float* gradients, const StepState* state, const float* rates) {
  if (state->status != 0) return;
  AdamStep& a = shared<AdamStep>();
  if (threadIdx.x == 0) a = adam_step(parameters, *state, rates);
  __syncthreads();
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * flat_threads + threadIdx.x) * n;
  if (i >= size) return;
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

__global__ void advance(StepState* state, const LossResult* loss, std::int64_t samples, bool training) {
  if (state->status != 0) return;
  state->position += samples;
  state->batch += 1;
  state->step += training ? 1 : 0;
  state->samples += samples;
  if (!loss) return;
  state->correct += loss->correct;
  state->counted += loss->counted;
  state->loss_sum += loss->loss_sum;
}

}  // namespace

void enqueue(const CheckFinite& call, const Memory& memory, const Queue& queue) {
  StepState* const state = memory.at<StepState>(call.state);
  if (call.loss) launch(check_loss, 1, 1, queue.stream, state, memory.at<LossResult>(call.loss));
  const float* const values = memory.at<float>(call.values);
  if (values) launch_flat(call.n, queue.stream, CheckValues{state, values}, values);
}

void enqueue(const Sgd& call, const Memory& memory, const Queue& queue) {
  const SgdUpdate update{.w = memory.at<float>(call.w),
                         .velocity = call.momentum != 0 ? memory.at<float>(call.velocity) : nullptr,
                         .gradients = memory.at<float>(call.gradients),
                         .state = memory.at<StepState>(call.state),
                         .rates = memory.at<float>(call.rates),
                         .decay = static_cast<float>(call.weight_decay),
                         .momentum = static_cast<float>(call.momentum),
                         .damped = static_cast<float>(1 - call.dampening),
                         .nesterov = call.nesterov};
  launch_flat(call.n, queue.stream, update, update.w, update.velocity, update.gradients);
}

void enqueue(const Adam& call, const Memory& memory, const Queue& queue) {
  float *const w = memory.at<float>(call.w), *const m = memory.at<float>(call.m), *const v = memory.at<float>(call.v);
  const float* const gradients = memory.at<float>(call.gradients);
  const AdamParameters parameters{call.beta1, call.beta2, call.eps, call.weight_decay, call.decoupled};
  with_vectors(
      call.n,
      [&]<int n>() {
        launch(adam<n>, ceil_div(call.n, std::int64_t{flat_threads} * n), flat_threads, queue.stream, call.n, parameters, w, m, v,
               gradients, memory.at<StepState>(call.state), memory.at<float>(call.rates));
      },
      w, m, v, gradients);
}

void enqueue(const Advance& call, const Memory& memory, const Queue& queue) {
  launch(advance, 1, 1, queue.stream, memory.at<StepState>(call.state), memory.at<LossResult>(call.loss), call.samples, call.training);
}

}  // namespace norma::kernels::cuda
