// Reference: batch norm (Ioffe and Szegedy 2015), statistics by two passes.
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

namespace {

// f(index) for every element of channel c.
template <class F>
void for_each_of_channel(const Dims& d, std::int64_t c, F f) {
  for (std::int64_t n = 0; n < d.n; ++n)
    for (std::int64_t h = 0; h < d.h; ++h)
      for (std::int64_t w = 0; w < d.w; ++w) f(d.index(n, c, h, w));
}

double elements_per_channel(const Dims& d) { return static_cast<double>(d.n * d.plane()); }

}  // namespace

// The corrected two-pass algorithm: the second pass also sums x - centre, which is what rounding left of the mean.
template <class T>
void run(const BatchNormStatistics& call, const Memory<T>& m) {
  const T* x = m.floats(call.x);
  T *mean = m.floats(call.mean), *var = m.floats(call.var), *rstd = m.floats(call.rstd);
  const double count = elements_per_channel(call.dims);
  for (std::int64_t c = 0; c < call.dims.c; ++c) {
    double centre = 0;
    for_each_of_channel(call.dims, c, [&](std::int64_t i) { centre += value(x[i]); });
    centre /= count;
    T sum = 0, squares = 0;
    for_each_of_channel(call.dims, c, [&](std::int64_t i) {
      const T d = x[i] - T(centre);
      sum += d;
      squares += d * d;
    });
    mean[c] = T(centre) + sum / T(count);
    var[c] = (squares - sum * sum / T(count)) / T(count);
    rstd[c] = inverse_deviation(var[c], call.eps);
  }
}

template <class T>
void run(const BatchNormRstd& call, const Memory<T>& m) {
  for (std::int64_t c = 0; c < call.channels; ++c) m.floats(call.rstd)[c] = inverse_deviation(m.floats(call.var)[c], call.eps);
}

template <class T>
void run(const BatchNormApply& call, const Memory<T>& m) {
  const T *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  const T *gamma = m.floats(call.gamma), *beta = m.floats(call.beta), *r = m.floats(call.r);
  T* y = m.floats(call.y);
  for (std::int64_t c = 0; c < call.dims.c; ++c)
    for_each_of_channel(call.dims, c, [&](std::int64_t i) {
      T v = (x[i] - mean[c]) * rstd[c];
      if (gamma) v = gamma[c] * v;
      if (beta) v += beta[c];
      if (r) v += r[i];
      y[i] = activate(call.act, v);
    });
}

template <class T>
void run(const BatchNormBackwardReduce& call, const Memory<T>& m) {
  const T *dy = m.floats(call.dy), *y = m.floats(call.y), *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  T *dgamma = m.floats(call.dgamma), *dbeta = m.floats(call.dbeta), *dr = m.floats(call.dr);
  for (std::int64_t c = 0; c < call.dims.c; ++c) {
    T sum = 0, product = 0;
    for_each_of_channel(call.dims, c, [&](std::int64_t i) {
      const T g = call.act == Activation::none ? dy[i] : activation_gradient(call.act, dy[i], y[i]);
      if (dr) dr[i] = g;
      sum += g;
      product += g * ((x[i] - mean[c]) * rstd[c]);
    });
    dgamma[c] = product;
    dbeta[c] = sum;
  }
}

template <class T>
void run(const BatchNormBackwardApply& call, const Memory<T>& m) {
  const T *dy = m.floats(call.dy), *y = m.floats(call.y), *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  const T *gamma = m.floats(call.gamma), *dgamma = m.floats(call.dgamma), *dbeta = m.floats(call.dbeta);
  T* dx = m.floats(call.dx);
  const T count(static_cast<double>(call.count));
  for (std::int64_t c = 0; c < call.dims.c; ++c)
    for_each_of_channel(call.dims, c, [&](std::int64_t i) {
      T g = call.act == Activation::none ? dy[i] : activation_gradient(call.act, dy[i], y[i]);
      if (call.batch_statistics) {
        const T xhat = (x[i] - mean[c]) * rstd[c];
        g = g - dbeta[c] / count - xhat * dgamma[c] / count;
      }
      dx[i] = (gamma ? gamma[c] * rstd[c] : rstd[c]) * g;
    });
}

template <class T>
void run(const BatchNormRunningUpdate& call, const Memory<T>& m) {
  if (const StepState* state = m.state(call.state); state && state->status != 0) return;
  for (std::size_t l = 0; l < static_cast<std::size_t>(call.used); ++l) {
    const BatchNormRunningUpdate::Layer& of = call.layers[l];
    std::int64_t& tracked = *m.integers(of.tracked);
    ++tracked;
    const double f = of.cumulative ? 1.0 / static_cast<double>(tracked) : of.momentum, n = static_cast<double>(of.count);
    for (std::int64_t c = 0; c < of.channels; ++c) {
      T &mean = m.floats(of.running_mean)[c], &var = m.floats(of.running_var)[c];
      mean = scalar<T>(1 - f) * mean + scalar<T>(f) * m.floats(of.mean)[c];
      var = scalar<T>(1 - f) * var + scalar<T>(f) * (m.floats(of.var)[c] * scalar<T>(n / (n - 1)));
    }
  }
}

namespace {

// f(window (n, p, q) of channel c as an index of y, position in it of its argmax as an index of x)
template <class T, class F>
void for_each_argmax(const PoolShape& s, std::int64_t c, const std::int64_t* argmax, F f) {
  for (std::int64_t n = 0; n < s.y.n; ++n)
    for (std::int64_t p = 0; p < s.y.h; ++p)
      for (std::int64_t q = 0; q < s.y.w; ++q) {
        const std::int64_t o = s.y.index(n, c, p, q);
        for_each_in_window(s, n, c, p, q, [&](auto i, auto j, auto at) {
          if (argmax[o] == i * s.window.kernel_w + j) f(o, at);
        });
      }
}

}  // namespace

template <class T>
void run(const BatchNormMaxPool& call, const Memory<T>& m) {
  const T *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  const T *gamma = m.floats(call.gamma), *beta = m.floats(call.beta);
  for_each_element(call.shape.y, [&](auto n, auto c, auto p, auto q) {
    T best(-std::numeric_limits<double>::infinity());
    std::int64_t at = -1, from = 0;
    for_each_in_window(call.shape, n, c, p, q, [&](auto r, auto s, auto i) {
      T z = (x[i] - mean[c]) * rstd[c];
      if (gamma) z = gamma[c] * z;
      if (beta) z += beta[c];
      const bool greater = z > best || (std::isnan(value(z)) && !std::isnan(value(best)));
      if (at >= 0 && !greater) return;
      best = z;
      at = r * call.shape.window.kernel_w + s;
      from = i;
    });
    m.floats(call.y)[call.shape.y.index(n, c, p, q)] = activate(call.act, best);
    if (call.argmax) m.integers(call.argmax)[call.shape.y.index(n, c, p, q)] = at;
    if (call.largest) m.floats(call.largest)[call.shape.y.index(n, c, p, q)] = x[from];
  });
}

template <class T>
void run(const BatchNormMaxPoolBackwardApply& call, const Memory<T>& m) {
  const T *dy = m.floats(call.dy), *y = m.floats(call.y), *x = m.floats(call.x), *mean = m.floats(call.mean), *rstd = m.floats(call.rstd);
  const T *gamma = m.floats(call.gamma), *dgamma = m.floats(call.dgamma), *dbeta = m.floats(call.dbeta);
  T* dx = m.floats(call.dx);
  const T count(static_cast<double>(call.count));
  for (std::int64_t c = 0; c < call.shape.x.c; ++c) {
    for_each_of_channel(call.shape.x, c, [&](std::int64_t i) { dx[i] = T(0); });
    for_each_argmax<T>(call.shape, c, m.integers(call.argmax), [&](std::int64_t o, std::int64_t i) {
      dx[i] += call.act == Activation::none ? dy[o] : activation_gradient(call.act, dy[o], y[o]);
    });
    for_each_of_channel(call.shape.x, c, [&](std::int64_t i) {
      T g = dx[i];
      if (call.batch_statistics) {
        const T xhat = (x[i] - mean[c]) * rstd[c];
        g = g - dbeta[c] / count - xhat * dgamma[c] / count;
      }
      dx[i] = (gamma ? gamma[c] * rstd[c] : rstd[c]) * g;
    });
  }
}

// ---- both number types

template void run(const BatchNormStatistics&, const Memory<double>&);
template void run(const BatchNormStatistics&, const Memory<Tracked>&);
template void run(const BatchNormRstd&, const Memory<double>&);
template void run(const BatchNormRstd&, const Memory<Tracked>&);
template void run(const BatchNormApply&, const Memory<double>&);
template void run(const BatchNormApply&, const Memory<Tracked>&);
template void run(const BatchNormBackwardReduce&, const Memory<double>&);
template void run(const BatchNormBackwardReduce&, const Memory<Tracked>&);
template void run(const BatchNormBackwardApply&, const Memory<double>&);
template void run(const BatchNormBackwardApply&, const Memory<Tracked>&);
template void run(const BatchNormMaxPool&, const Memory<double>&);
template void run(const BatchNormMaxPool&, const Memory<Tracked>&);
template void run(const BatchNormMaxPoolBackwardApply&, const Memory<double>&);
template void run(const BatchNormMaxPoolBackwardApply&, const Memory<Tracked>&);
template void run(const BatchNormRunningUpdate&, const Memory<double>&);
template void run(const BatchNormRunningUpdate&, const Memory<Tracked>&);

}  // namespace norma::reference
