// Reference, element by element: activations, addition, dropout, a constant.
#include "kernels/philox.h"
#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

template <class T>
void run(const ActivationForward& call, const Memory<T>& m) {
  for_each_element(call.dims, [&](auto n, auto c, auto h, auto w) {
    const auto i = call.dims.index(n, c, h, w);
    m.floats(call.y)[i] = activate(call.act, m.floats(call.x)[i], call.option);
  });
}

template <class T>
void run(const ActivationBackward& call, const Memory<T>& m) {
  for_each_element(call.dims, [&](auto n, auto c, auto h, auto w) {
    const auto i = call.dims.index(n, c, h, w);
    m.floats(call.dx)[i] = activation_gradient(call.act, m.floats(call.dy)[i], m.floats(call.saved)[i], call.option);
  });
}

template <class T>
void run(const Add& call, const Memory<T>& m) {
  for_each_element(call.dims, [&](auto n, auto c, auto h, auto w) {
    const auto i = call.dims.index(n, c, h, w);
    m.floats(call.y)[i] = m.floats(call.a)[i] + m.floats(call.b)[i];
  });
}

template <class T>
void run(const Dropout& call, const Memory<T>& m) {
  const StepState& state = *m.state(call.state);
  std::int64_t e = 0;  // the logical index
  for_each_element(call.dims, [&](auto n, auto c, auto h, auto w) {
    const auto i = call.dims.index(n, c, h, w);
    const bool keep = static_cast<double>(dropout_uniform(state.seed, state.step, call.layer, e++)) >= call.p;
    m.floats(call.y)[i] = keep ? m.floats(call.x)[i] * scalar<T>(1 / (1 - call.p)) : T(0);
  });
}

template <class T>
void run(const Fill& call, const Memory<T>& m) {
  for (std::int64_t i = 0; i < call.n; ++i) m.floats(call.y)[i] = T(static_cast<double>(call.value));
}

// ---- both number types

template void run(const ActivationForward&, const Memory<double>&);
template void run(const ActivationForward&, const Memory<Tracked>&);
template void run(const ActivationBackward&, const Memory<double>&);
template void run(const ActivationBackward&, const Memory<Tracked>&);
template void run(const Add&, const Memory<double>&);
template void run(const Add&, const Memory<Tracked>&);
template void run(const Dropout&, const Memory<double>&);
template void run(const Dropout&, const Memory<Tracked>&);
template void run(const Fill&, const Memory<double>&);
template void run(const Fill&, const Memory<Tracked>&);

}  // namespace norma::reference
