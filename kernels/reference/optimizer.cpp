// Reference: the end of a step: the check for finite values, SGD, Adam, the counters.
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

template void run(const CheckFinite&, const Memory<double>&);
template void run(const CheckFinite&, const Memory<Tracked>&);
template void run(const Sgd&, const Memory<double>&);
template void run(const Sgd&, const Memory<Tracked>&);
template void run(const Adam&, const Memory<double>&);
template void run(const Adam&, const Memory<Tracked>&);
template void run(const Advance&, const Memory<double>&);
template void run(const Advance&, const Memory<Tracked>&);

}  // namespace norma::reference
