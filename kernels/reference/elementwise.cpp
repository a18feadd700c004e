// Reference: elementwise Calls, dropout, and the way from the data set to the input.
#include <algorithm>
#include <limits>

#include "kernels/batch_order.h"
#include "kernels/philox.h"
#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

template <class T>
void run(const ActivationForward& call, const Memory<T>& m) {
  for_each_element(call.dims, [&](auto n, auto c, auto h, auto w) {
    const auto i = call.dims.index(n, c, h, w);
    m.floats(call.y)[i] = activate(call.act, m.floats(call.x)[i]);
  });
}

template <class T>
void run(const ActivationBackward& call, const Memory<T>& m) {
  for_each_element(call.dims, [&](auto n, auto c, auto h, auto w) {
    const auto i = call.dims.index(n, c, h, w);
    m.floats(call.dx)[i] = m.floats(call.dy)[i] * activation_slope(call.act, m.floats(call.y)[i]);
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

template <class T>
void run(const Gather& call, const Memory<T>& m) {
  const Dims &d = call.dims, &t = call.target_dims;
  const BatchOrder order(*m.state(call.state), call.shuffle);
  for_each_element(d, [&](auto n, auto c, auto h, auto w) {
    const auto k = ((order[n] * d.c + c) * d.h + h) * d.w + w;
    T v = call.source_type == DType::f32 ? m.floats(call.source)[k] : T(static_cast<double>(m.integers(call.source)[k]));
    if (call.scale) v = m.floats(call.scale)[c] * v;
    if (call.offset) v += m.floats(call.offset)[c];
    m.floats(call.y)[d.index(n, c, h, w)] = v;
  });
  if (call.labels_out)
    for (std::int64_t n = 0; n < d.n; ++n) m.integers(call.labels_out)[n] = m.integers(call.labels)[order[n]];
  if (call.targets_out)
    for_each_element(t, [&](auto n, auto c, auto h, auto w) {
      m.floats(call.targets_out)[t.index(n, c, h, w)] = m.floats(call.targets)[((order[n] * t.c + c) * t.h + h) * t.w + w];
    });
}

namespace {

// Weights with which the `in` positions enter output position i of `out`: a triangle around its centre, as wide as the scale.
std::vector<double> resize_weights(std::int64_t in, std::int64_t out, std::int64_t i) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), support = std::max(scale, 1.0);
  const double centre = (static_cast<double>(i) + 0.5) * scale;
  std::vector<double> weights;
  double sum = 0;
  for (std::int64_t j = 0; j < in; ++j) {
    weights.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(j) + 0.5 - centre) / support));
    sum += weights.back();
  }
  for (double& w : weights) w /= sum;
  return weights;
}

}  // namespace

template <class T>
void run(const Resize& call, const Memory<T>& m) {
  const Dims &xd = call.x_dims, &yd = call.y_dims;
  for_each_element(yd, [&](auto n, auto c, auto h, auto w) {
    const std::vector<double> rows = resize_weights(xd.h, yd.h, h), columns = resize_weights(xd.w, yd.w, w);
    T sum = 0;
    for (std::int64_t i = 0; i < xd.h; ++i) {
      if (rows[static_cast<std::size_t>(i)] == 0) continue;
      T row = 0;
      for (std::int64_t j = 0; j < xd.w; ++j)
        row += scalar<T>(columns[static_cast<std::size_t>(j)]) * m.floats(call.x)[xd.index(n, c, i, j)];
      sum += scalar<T>(rows[static_cast<std::size_t>(i)]) * row;
    }
    m.floats(call.y)[yd.index(n, c, h, w)] = sum;
  });
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
template void run(const Gather&, const Memory<double>&);
template void run(const Gather&, const Memory<Tracked>&);
template void run(const Resize&, const Memory<double>&);
template void run(const Resize&, const Memory<Tracked>&);

}  // namespace norma::reference
