// Reference: losses and the step: check, SGD, Adam, counters.
#include <cmath>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

template <class T>
void run(const SoftmaxCrossEntropy& call, const Memory<T>& m) {
  using std::exp, std::log;
  const Dims& d = call.dims;
  const T* logits = m.floats(call.logits);
  const std::int64_t* labels = m.integers(call.labels);
  Loss<T> loss;
  for (std::int64_t n = 0; n < d.n; ++n) loss.counted += labels[n] != call.ignore_index;
  const T weight = call.reduction == Reduction::mean ? T(1) / T(static_cast<double>(loss.counted)) : T(1);
  for (std::int64_t n = 0; n < d.n; ++n) {
    const bool ignored = labels[n] == call.ignore_index;
    std::int64_t top = 0;
    for (std::int64_t c = 1; c < d.c; ++c)
      if (logits[d.index(n, c, 0, 0)] > logits[d.index(n, top, 0, 0)]) top = c;
    const T largest = logits[d.index(n, top, 0, 0)];
    T sum = 0;
    for (std::int64_t c = 0; c < d.c; ++c) sum += exp(logits[d.index(n, c, 0, 0)] - largest);
    const T log_sum = log(sum);
    for (std::int64_t c = 0; c < d.c; ++c) {
      const std::int64_t i = d.index(n, c, 0, 0);
      const T shifted = logits[i] - largest;
      const T q = scalar<T>(call.smoothing / static_cast<double>(d.c) + (c == labels[n] ? 1 - call.smoothing : 0));
      if (!ignored) loss.loss_sum += q * (log_sum - shifted);
      if (call.dlogits) m.floats(call.dlogits)[i] = ignored ? T(0) : (exp(shifted) / sum - q) * weight;
    }
    if (!ignored) loss.correct += top == labels[n];
  }
  loss.loss = call.reduction == Reduction::mean ? loss.loss_sum / T(static_cast<double>(loss.counted)) : loss.loss_sum;
  *m.loss(call.loss) = loss;
}

template <class T>
void run(const MeanSquaredError& call, const Memory<T>& m) {
  const Dims& d = call.dims;
  const bool mean = call.reduction == Reduction::mean;
  const T features(mean ? static_cast<double>(d.features()) : 1), elements(mean ? static_cast<double>(d.count()) : 1);
  Loss<T> loss;
  T sum = 0;
  for_each_element(d, [&](auto n, auto c, auto h, auto w) {
    const auto i = d.index(n, c, h, w);
    const T difference = m.floats(call.x)[i] - m.floats(call.target)[i];
    sum += difference * difference;
    if (call.dx) m.floats(call.dx)[i] = T(2) * difference / elements;
  });
  const auto first_largest = [&](ValueId v, std::int64_t n) {
    const auto at = [&](std::int64_t f) { return m.floats(v)[d.index(n, f / d.plane(), f % d.plane() / d.w, f % d.w)]; };
    std::int64_t top = 0;
    for (std::int64_t f = 1; f < d.features(); ++f)
      if (at(f) > at(top)) top = f;
    return top;
  };
  for (std::int64_t n = 0; n < d.n && d.features() > 1; ++n) loss.correct += first_largest(call.x, n) == first_largest(call.target, n);
  loss.loss = sum / elements;
  loss.loss_sum = sum / features;
  loss.counted = d.n;
  *m.loss(call.loss) = loss;
}

template <class T>
void run(const CheckFinite& call, const Memory<T>& m) {
  bool finite = !call.loss || std::isfinite(value(m.loss(call.loss)->loss));
  for (std::int64_t i = 0; call.values && i < call.n; ++i) finite = finite && std::isfinite(value(m.floats(call.values)[i]));
  if (!finite) m.state(call.state)->status = 1;
}

template <class T>
void run(const Sgd& call, const Memory<T>& m) {
  const StepState& state = *m.state(call.state);
  if (state.status != 0) return;
  const T rate = m.floats(call.rates)[state.batch], momentum = scalar<T>(call.momentum);
  for (std::int64_t i = 0; i < call.n; ++i) {
    T &w = m.floats(call.w)[i], d = m.floats(call.gradients)[i];
    if (call.weight_decay != 0) d += scalar<T>(call.weight_decay) * w;
    if (call.velocity) {
      T& velocity = m.floats(call.velocity)[i];
      velocity = state.step == 0 ? d : momentum * velocity + scalar<T>(1 - call.dampening) * d;
      d = call.nesterov ? d + momentum * velocity : velocity;
    }
    w -= rate * d;
  }
}

template <class T>
void run(const Adam& call, const Memory<T>& m) {
  using std::sqrt;
  const StepState& state = *m.state(call.state);
  if (state.status != 0) return;
  const T rate = m.floats(call.rates)[state.batch];
  const double t = static_cast<double>(state.step + 1);
  const T correction1 = scalar<T>(1 - std::pow(call.beta1, t)), correction2 = scalar<T>(std::sqrt(1 - std::pow(call.beta2, t)));
  for (std::int64_t i = 0; i < call.n; ++i) {
    T &w = m.floats(call.w)[i], &mean = m.floats(call.m)[i], &square = m.floats(call.v)[i];
    T g = m.floats(call.gradients)[i];
    if (call.weight_decay != 0) {
      if (call.decoupled) w -= rate * scalar<T>(call.weight_decay) * w;
      else g += scalar<T>(call.weight_decay) * w;
    }
    mean = scalar<T>(call.beta1) * mean + scalar<T>(1 - call.beta1) * g;
    square = scalar<T>(call.beta2) * square + scalar<T>(1 - call.beta2) * g * g;
    w -= rate / correction1 * mean / (sqrt(square) / correction2 + scalar<T>(call.eps));
  }
}

template <class T>
void run(const Advance& call, const Memory<T>& m) {
  StepState& state = *m.state(call.state);
  if (state.status != 0) return;
  state.position += call.samples;
  state.batch += 1;
  state.step += call.training;
  state.samples += call.samples;
  if (!call.loss) return;
  const Loss<T>& loss = *m.loss(call.loss);
  state.correct += loss.correct;
  state.counted += loss.counted;
  state.loss_sum += value(loss.loss_sum);
}

// ---- both number types

template void run(const SoftmaxCrossEntropy&, const Memory<double>&);
template void run(const SoftmaxCrossEntropy&, const Memory<Tracked>&);
template void run(const MeanSquaredError&, const Memory<double>&);
template void run(const MeanSquaredError&, const Memory<Tracked>&);
template void run(const CheckFinite&, const Memory<double>&);
template void run(const CheckFinite&, const Memory<Tracked>&);
template void run(const Sgd&, const Memory<double>&);
template void run(const Sgd&, const Memory<Tracked>&);
template void run(const Adam&, const Memory<double>&);
template void run(const Adam&, const Memory<Tracked>&);
template void run(const Advance&, const Memory<double>&);
template void run(const Advance&, const Memory<Tracked>&);

}  // namespace norma::reference
