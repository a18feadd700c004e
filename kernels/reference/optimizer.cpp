// Reference: the end of a step: the check for finite values, the update, the counters.
#include <cmath>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

template <class T>
void run(const CheckFinite& call, const Memory<T>& m) {
  bool finite = !call.loss || std::isfinite(value(m.loss(call.loss)->loss));
  for (std::int64_t i = 0; call.values && i < call.n; ++i) finite = finite && std::isfinite(value(m.floats(call.values)[i]));
  if (!finite) m.state(call.state)->status = 1;
}

// Which side of a bound a number lies on is the number's, not its error's.
template <class T>
void run(const ClipGradients& call, const Memory<T>& m) {
  if (m.state(call.state)->status != 0) return;
  T* const gradients = m.floats(call.gradients);
  const double bound = static_cast<double>(call.max_value);
  for (std::int64_t i = 0; i < call.n; ++i)
    if (std::abs(value(gradients[i])) > bound) gradients[i] = scalar<T>(std::copysign(bound, value(gradients[i])));
  if (!call.by_norm()) return;
  using std::sqrt;
  T squares = scalar<T>(0);
  for (std::int64_t i = 0; i < call.n; ++i) squares += gradients[i] * gradients[i];
  const T factor = scalar<T>(call.max_norm) / (sqrt(squares) + scalar<T>(1e-6));
  if (!(value(factor) < 1)) return;
  for (std::int64_t i = 0; i < call.n; ++i) gradients[i] = gradients[i] * factor;
}

namespace {

template <class T>
void update(const Sgd& o, const Update& call, const StepState& state, const Memory<T>& m) {
  const T rate = m.floats(call.rates)[state.batch], momentum = scalar<T>(o.momentum);
  for (std::int64_t i = 0; i < call.n; ++i) {
    T &w = m.floats(call.w)[i], d = m.floats(call.gradients)[i];
    if (o.weight_decay != 0) d += scalar<T>(o.weight_decay) * w;
    if (o.momentum != 0) {
      T& buffer = m.floats(call.kept[0])[i];
      buffer = state.step == state.optimizer_from ? d : momentum * buffer + scalar<T>(1 - o.dampening) * d;
      d = o.nesterov ? d + momentum * buffer : buffer;
    }
    w -= rate * d;
  }
}

template <class T>
void update(const Adam& o, const Update& call, const StepState& state, const Memory<T>& m) {
  using std::sqrt;
  const T rate = m.floats(call.rates)[state.batch];
  const double t = static_cast<double>(state.step - state.optimizer_from + 1);
  const T correction1 = scalar<T>(1 - std::pow(o.beta1, t)), correction2 = scalar<T>(std::sqrt(1 - std::pow(o.beta2, t)));
  for (std::int64_t i = 0; i < call.n; ++i) {
    T &w = m.floats(call.w)[i], &mean = m.floats(call.kept[0])[i], &square = m.floats(call.kept[1])[i];
    T g = m.floats(call.gradients)[i];
    if (o.weight_decay != 0) {
      if (o.decoupled) w -= rate * scalar<T>(o.weight_decay) * w;
      else g += scalar<T>(o.weight_decay) * w;
    }
    mean = scalar<T>(o.beta1) * mean + scalar<T>(1 - o.beta1) * g;
    square = scalar<T>(o.beta2) * square + scalar<T>(1 - o.beta2) * g * g;
    w -= rate / correction1 * mean / (sqrt(square) / correction2 + scalar<T>(o.eps));
  }
}

template <class T>
void update(const RMSprop& o, const Update& call, const StepState& state, const Memory<T>& m) {
  using std::sqrt;
  const T rate = m.floats(call.rates)[state.batch], alpha = scalar<T>(o.alpha), rest = scalar<T>(1 - o.alpha);
  for (std::int64_t i = 0; i < call.n; ++i) {
    T &w = m.floats(call.w)[i], &square = m.floats(call.kept[0])[i], g = m.floats(call.gradients)[i];
    if (o.weight_decay != 0) g += scalar<T>(o.weight_decay) * w;
    square = alpha * square + rest * g * g;
    T variance = square;
    if (o.centered) {
      T& average = m.floats(call.kept[1])[i];
      average = alpha * average + rest * g;
      variance = relu(square - average * average);
    }
    T d = g / (sqrt(variance) + scalar<T>(o.eps));
    if (o.momentum != 0) {
      T& buffer = m.floats(call.kept[2])[i];
      buffer = scalar<T>(o.momentum) * buffer + d;
      d = buffer;
    }
    w -= rate * d;
  }
}

}  // namespace

template <class T>
void run(const Update& call, const Memory<T>& m) {
  const StepState& state = *m.state(call.state);
  if (state.status != 0) return;
  with_options(call.optimizer, [&](const auto& options) { update(options, call, state, m); });
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

template void run(const CheckFinite&, const Memory<double>&);
template void run(const CheckFinite&, const Memory<Tracked>&);
template void run(const ClipGradients&, const Memory<double>&);
template void run(const ClipGradients&, const Memory<Tracked>&);
template void run(const Update&, const Memory<double>&);
template void run(const Update&, const Memory<Tracked>&);
template void run(const Advance&, const Memory<double>&);
template void run(const Advance&, const Memory<Tracked>&);

}  // namespace norma::reference
