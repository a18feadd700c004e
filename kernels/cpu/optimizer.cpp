// The step: the check that it was finite, the update of all parameters in one flat pass, and the counters.
#include <cmath>

#include "kernels/cpu/calls.h"
#include "kernels/cpu/flat.h"

namespace norma::kernels::cpu::NORMA_ISA {

void run(const CheckFinite& call, const Memory& memory) {
  StepState& state = *memory.at<StepState>(call.state);
  if (call.loss && !__builtin_isfinite(memory.at<LossResult>(call.loss)->loss)) state.status = 1;
  if (!call.values) return;
  const float* const values = memory.at<float>(call.values);
  constexpr std::int64_t max_parts = 64;
  const std::int64_t vectors = ceil_div(call.n, 16), chunks = ceil_div(call.n, flat_chunk);
  const std::int64_t parts = chunks < max_parts ? chunks : max_parts, n = call.n;
  bool finite[max_parts];
  parallel_for(parts, [=, &finite](std::int64_t part) {
    const Range range = chunk(vectors, parts, part);
    V sum = zero();  // 0 times a finite number is 0, times any other NaN
    for_vectors(range.begin * 16, range.end * 16 < n ? range.end * 16 : n,
                [&](std::int64_t i, auto access) { sum = fma(access.load(values + i), zero(), sum); });
    finite[part] = !any(isnan(sum));
  });
  for (std::int64_t part = 0; part < parts; ++part)
    if (!finite[part]) state.status = 1;
}

// Squares are summed in 16 chains of double, one a lane.
void run(const ClipGradients& call, const Memory& memory) {
  if (memory.at<StepState>(call.state)->status != 0) return;
  float* const gradients = memory.at<float>(call.gradients);
  double* const partial = memory.at<double>(call.partial);
  const V high = set1(call.max_value), low = set1(-call.max_value);
  const bool by_norm = call.by_norm();
  const std::int64_t n = call.n, chunks = call.chunks();
  parallel_for(chunks, [=](std::int64_t k) {
    double squares[16] = {};
    const std::int64_t begin = k * flat_chunk, end = begin + flat_chunk < n ? begin + flat_chunk : n;
    for_vectors(begin, end, [&](std::int64_t i, auto access) {
      const V g = access.load(gradients + i), clipped = min(high, max(low, g));  // a NaN stays
      access.store(gradients + i, clipped);
      alignas(64) float lane[16];
      store(lane, clipped);
      for (int l = 0; l < 16; ++l) squares[l] += static_cast<double>(lane[l]) * static_cast<double>(lane[l]);
    });
    for (int width = 8; width > 0; width /= 2)
      for (int l = 0; l < width; ++l) squares[l] += squares[l + width];
    if (by_norm) partial[k] = squares[0];
  });
  if (!by_norm) return;
  double sum = 0;
  for (std::int64_t k = 0; k < chunks; ++k) sum += partial[k];
  const double factor = call.max_norm / (std::sqrt(sum) + 1e-6);
  if (!(factor < 1)) return;
  const V scale = set1(static_cast<float>(factor));
  parallel_for_vectors(n, [=](std::int64_t i, auto access) { access.store(gradients + i, access.load(gradients + i) * scale); });
}

namespace {

void update(const Sgd& o, const Update& call, const StepState& state, const Memory& memory) {
  float* const w = memory.at<float>(call.w);
  const float* const gradients = memory.at<float>(call.gradients);
  const V rate = set1(memory.at<float>(call.rates)[state.batch]), decay = set1(static_cast<float>(o.weight_decay));
  if (o.momentum == 0) {
    parallel_for_vectors(call.n, [=](std::int64_t i, auto access) {
      const V old = access.load(w + i);
      access.store(w + i, fma(-rate, fma(decay, old, access.load(gradients + i)), old));
    });
    return;
  }
  float* const buffer = memory.at<float>(call.kept[0]);
  const V momentum = set1(static_cast<float>(o.momentum)), damped = set1(static_cast<float>(1 - o.dampening));
  const bool first_step = state.step == state.optimizer_from, nesterov = o.nesterov;
  parallel_for_vectors(call.n, [=](std::int64_t i, auto access) {
    const V old = access.load(w + i), g = fma(decay, old, access.load(gradients + i));
    const V v = first_step ? g : fma(damped, g, momentum * access.load(buffer + i));
    access.store(buffer + i, v);
    access.store(w + i, fma(-rate, nesterov ? fma(momentum, v, g) : v, old));
  });
}

void update(const Adam& o, const Update& call, const StepState& state, const Memory& memory) {
  float* const w = memory.at<float>(call.w);
  float* const m = memory.at<float>(call.kept[0]);
  float* const v = memory.at<float>(call.kept[1]);
  const float* const gradients = memory.at<float>(call.gradients);
  const double t = static_cast<double>(state.step - state.optimizer_from + 1);
  const double rate = static_cast<double>(memory.at<float>(call.rates)[state.batch]);
  const auto broadcast = [](double x) { return set1(static_cast<float>(x)); };
  const V shrink = broadcast(o.decoupled ? 1 - rate * o.weight_decay : 1), decay = broadcast(o.decoupled ? 0 : o.weight_decay);
  const V beta1 = broadcast(o.beta1), beta2 = broadcast(o.beta2), rest1 = broadcast(1 - o.beta1), rest2 = broadcast(1 - o.beta2);
  const V step = broadcast(rate / (1 - std::pow(o.beta1, t))), correction = broadcast(1 / std::sqrt(1 - std::pow(o.beta2, t)));
  const V eps = broadcast(o.eps);
  parallel_for_vectors(call.n, [=](std::int64_t i, auto access) {
    const V old = access.load(w + i), g = fma(decay, old, access.load(gradients + i));
    const V mean = fma(rest1, g, beta1 * access.load(m + i)), square = fma(rest2 * g, g, beta2 * access.load(v + i));
    access.store(m + i, mean);
    access.store(v + i, square);
    access.store(w + i, fma(-step, mean / fma(sqrt(square), correction, eps), shrink * old));
  });
}

void update(const RMSprop& o, const Update& call, const StepState& state, const Memory& memory) {
  float* const w = memory.at<float>(call.w);
  float* const square = memory.at<float>(call.kept[0]);
  float* const average = o.centered ? memory.at<float>(call.kept[1]) : nullptr;
  float* const buffer = o.momentum != 0 ? memory.at<float>(call.kept[2]) : nullptr;
  const float* const gradients = memory.at<float>(call.gradients);
  const auto broadcast = [](double x) { return set1(static_cast<float>(x)); };
  const V rate = set1(memory.at<float>(call.rates)[state.batch]), decay = broadcast(o.weight_decay), alpha = broadcast(o.alpha),
          rest = broadcast(1 - o.alpha), eps = broadcast(o.eps), momentum = broadcast(o.momentum);
  parallel_for_vectors(call.n, [=](std::int64_t i, auto access) {
    const V old = access.load(w + i), g = fma(decay, old, access.load(gradients + i));
    const V mean_square = fma(rest * g, g, alpha * access.load(square + i));
    access.store(square + i, mean_square);
    V variance = mean_square;
    if (average) {
      const V mean = fma(rest, g, alpha * access.load(average + i));
      access.store(average + i, mean);
      variance = max(zero(), fma(-mean, mean, mean_square));
    }
    V d = g / (sqrt(variance) + eps);
    if (buffer) {
      d = fma(momentum, access.load(buffer + i), d);
      access.store(buffer + i, d);
    }
    access.store(w + i, fma(-rate, d, old));
  });
}

}  // namespace

void run(const Update& call, const Memory& memory) {
  const StepState& state = *memory.at<StepState>(call.state);
  if (state.status != 0) return;
  with_options(call.optimizer, [&](const auto& options) { update(options, call, state, memory); });
}

void run(const Advance& call, const Memory& memory) {
  StepState& state = *memory.at<StepState>(call.state);
  if (state.status != 0) return;
  state.position += call.samples;
  state.batch += 1;
  state.step += call.training ? 1 : 0;
  state.samples += call.samples;
  if (const LossResult* loss = memory.at<LossResult>(call.loss)) {
    state.correct += loss->correct;
    state.counted += loss->counted;
    state.loss_sum += loss->loss_sum;
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
