// Reference: the way from the data set to a batch.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/batch_order.h"
#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

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

template void run(const Gather&, const Memory<double>&);
template void run(const Gather&, const Memory<Tracked>&);
template void run(const Resize&, const Memory<double>&);
template void run(const Resize&, const Memory<Tracked>&);

}  // namespace norma::reference
