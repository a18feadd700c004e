// Reference: layer, instance and group norm, statistics by two passes.
#include <cmath>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

namespace {

// f(index of x, index of gamma) for every element of one sample's group.
template <class F>
void for_each_of_group(const NormShape& s, std::int64_t n, std::int64_t group, F f) {
  const std::int64_t channels = s.x.c / s.groups;
  for (std::int64_t c = group * channels; c < (group + 1) * channels; ++c)
    for (std::int64_t h = 0; h < s.x.h; ++h)
      for (std::int64_t w = 0; w < s.x.w; ++w) f(s.x.index(n, c, h, w), s.by_element ? (c * s.x.h + h) * s.x.w + w : c);
}

// f(sample, group, index of its statistics)
template <class F>
void for_each_group(const NormShape& s, F f) {
  for (std::int64_t n = 0; n < s.x.n; ++n)
    for (std::int64_t g = 0; g < s.groups; ++g) f(n, g, s.statistics().index(n, g, 0, 0));
}

// dx of any of the backward Calls.
template <class T>
void backward_input(const NormShape& shape, T* dx, const T* dy, const T* x, const T* mean, const T* rstd, const T* gamma) {
  const T count(static_cast<double>(shape.group_elements()));
  for_each_group(shape, [&](std::int64_t n, std::int64_t g, std::int64_t at) {
    T sum = 0, product = 0;
    const auto slope = [&](std::int64_t i, std::int64_t a) { return gamma ? dy[i] * gamma[a] : dy[i]; };
    for_each_of_group(shape, n, g, [&](std::int64_t i, std::int64_t a) {
      sum += slope(i, a);
      product += slope(i, a) * ((x[i] - mean[at]) * rstd[at]);
    });
    for_each_of_group(shape, n, g, [&](std::int64_t i, std::int64_t a) {
      dx[i] = rstd[at] * (slope(i, a) - sum / count - (x[i] - mean[at]) * rstd[at] * product / count);
    });
  });
}

}  // namespace

// The corrected two-pass algorithm, as for batch norm.
template <class T>
void run(const GroupNormForward& call, const Memory<T>& m) {
  const T *x = m.floats(call.x), *gamma = m.floats(call.gamma), *beta = m.floats(call.beta);
  T *y = m.floats(call.y), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd), *var = m.floats(call.var);
  const double count = static_cast<double>(call.shape.group_elements());
  for_each_group(call.shape, [&](std::int64_t n, std::int64_t g, std::int64_t at) {
    double centre = 0;
    for_each_of_group(call.shape, n, g, [&](std::int64_t i, std::int64_t) { centre += value(x[i]); });
    centre /= count;
    T sum = 0, squares = 0;
    for_each_of_group(call.shape, n, g, [&](std::int64_t i, std::int64_t) {
      const T d = x[i] - T(centre);
      sum += d;
      squares += d * d;
    });
    mean[at] = T(centre) + sum / T(count);
    const T variance = (squares - sum * sum / T(count)) / T(count);
    if (var) var[at] = variance;
    rstd[at] = inverse_deviation(variance, call.eps);
    for_each_of_group(call.shape, n, g, [&](std::int64_t i, std::int64_t a) {
      T v = (x[i] - mean[at]) * rstd[at];
      if (gamma) v = gamma[a] * v;
      if (beta) v += beta[a];
      y[i] = v;
    });
  });
}

template <class T>
void run(const GroupNormBackward& call, const Memory<T>& m) {
  const T *dy = m.floats(call.dy), *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  T *dgamma = m.floats(call.dgamma), *dbeta = m.floats(call.dbeta);
  for (std::int64_t a = 0; a < call.shape.affine(); ++a) {
    if (dgamma) dgamma[a] = 0;
    if (dbeta) dbeta[a] = 0;
  }
  for_each_group(call.shape, [&](std::int64_t n, std::int64_t g, std::int64_t at) {
    for_each_of_group(call.shape, n, g, [&](std::int64_t i, std::int64_t a) {
      if (dgamma) dgamma[a] += dy[i] * ((x[i] - mean[at]) * rstd[at]);
      if (dbeta) dbeta[a] += dy[i];
    });
  });
  if (call.dx) backward_input(call.shape, m.floats(call.dx), dy, x, mean, rstd, static_cast<const T*>(m.floats(call.gamma)));
}

template <class T>
void run(const GroupNormBackwardInput& call, const Memory<T>& m) {
  const T *dy = m.floats(call.dy), *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  backward_input(call.shape, m.floats(call.dx), dy, x, mean, rstd, static_cast<const T*>(nullptr));
}

template <class T>
void run(const InstanceNormAverage& call, const Memory<T>& m) {
  const T *sample_mean = m.floats(call.sample_mean), *sample_var = m.floats(call.sample_var);
  const T count(static_cast<double>(call.dims.n));
  for (std::int64_t c = 0; c < call.dims.c; ++c) {
    T mean = 0, var = 0;
    for (std::int64_t n = 0; n < call.dims.n; ++n) {
      mean += sample_mean[call.dims.index(n, c, 0, 0)];
      var += sample_var[call.dims.index(n, c, 0, 0)];
    }
    m.floats(call.mean)[c] = mean / count;
    m.floats(call.var)[c] = var / count;
  }
}

// ---- both number types

template void run(const GroupNormForward&, const Memory<double>&);
template void run(const GroupNormForward&, const Memory<Tracked>&);
template void run(const GroupNormBackward&, const Memory<double>&);
template void run(const GroupNormBackward&, const Memory<Tracked>&);
template void run(const GroupNormBackwardInput&, const Memory<double>&);
template void run(const GroupNormBackwardInput&, const Memory<Tracked>&);
template void run(const InstanceNormAverage&, const Memory<double>&);
template void run(const InstanceNormAverage&, const Memory<Tracked>&);

}  // namespace norma::reference
