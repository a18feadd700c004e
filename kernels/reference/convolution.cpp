// Reference: convolution and linear layers, in the order the sums are written.
#include <array>
#include <vector>

#include "kernels/reference/reference.h"
#include "kernels/round.h"

namespace norma::reference {

using namespace kernels;

namespace {

// f(index of x, index of w, index of y) for every product of a convolution.
template <class F>
void for_each_product(const ConvShape& s, F f) {
  const Window& win = s.window;
  const std::int64_t channels = s.channels_per_group();
  for_each_element(s.y, [&](std::int64_t n, std::int64_t k, std::int64_t p, std::int64_t q) {
    const std::int64_t first = k / s.filters_per_group() * channels;
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t r = 0; r < win.kernel_h; ++r)
        for (std::int64_t t = 0; t < win.kernel_w; ++t) {
          const std::int64_t h = p * win.stride_h - win.pad_h + r * win.dilation_h, w = q * win.stride_w - win.pad_w + t * win.dilation_w;
          if (h < 0 || h >= s.x.h || w < 0 || w >= s.x.w) continue;
          f(s.x.index(n, first + c, h, w), ((k * channels + c) * win.kernel_h + r) * win.kernel_w + t, s.y.index(n, k, p, q));
        }
  });
}

template <class T>
void set_zero(const Dims& d, T* a) {
  for_each_element(d, [&](auto n, auto c, auto h, auto w) { a[d.index(n, c, h, w)] = T(0); });
}

double rounded(double x, Precision p) { return round_to(static_cast<float>(x), p); }
// An error of what is rounded may take it to the next number of the precision.
Tracked rounded(const Tracked& x, Precision p) {
  const double to = rounded(x.v, p), step = to * (p == Precision::tf32 ? 0x1p-11 : 0x1p-8);
  return {to, x.e2 > 0 ? x.e2 + step * step : 0};
}

// The two factors of a Call as they are multiplied, in the order of factors().
template <class T>
class Factors {
 public:
  template <class C>
  Factors(const C& call, const Memory<T>& m) {
    const auto factors = call.factors();
    for (std::size_t i = 0; i < 2; ++i) {
      at_[i] = m.floats(factors[i].value);
      if (call.precision == Precision::fp32) continue;
      rounded_[i].assign(at_[i], at_[i] + factors[i].elements);
      for (T& x : rounded_[i]) x = rounded(x, call.precision);
      at_[i] = rounded_[i].data();
    }
  }
  const T* operator[](std::size_t i) const { return at_[i]; }

 private:
  std::array<const T*, 2> at_;
  std::array<std::vector<T>, 2> rounded_;
};

}  // namespace

template <class T>
void run(const Conv2dForward& call, const Memory<T>& m) {
  const ConvShape& s = call.shape;
  const Factors<T> factors(call, m);
  const T *x = factors[0], *w = factors[1], *b = m.floats(call.b);
  T* y = m.floats(call.y);
  for_each_element(s.y, [&](auto n, auto k, auto p, auto q) { y[s.y.index(n, k, p, q)] = b ? b[k] : T(0); });
  for_each_product(s, [&](auto i, auto j, auto o) { y[o] += w[j] * x[i]; });
}

template <class T>
void run(const Conv2dBackwardInput& call, const Memory<T>& m) {
  const Factors<T> factors(call, m);
  const T *dy = factors[0], *w = factors[1];
  T* dx = m.floats(call.dx);
  set_zero(call.shape.x, dx);
  for_each_product(call.shape, [&](auto i, auto j, auto o) { dx[i] += w[j] * dy[o]; });
}

template <class T>
void run(const Conv2dBackwardWeight& call, const Memory<T>& m) {
  const ConvShape& s = call.shape;
  const Factors<T> factors(call, m);
  const T *dy = factors[0], *x = factors[1];
  T *dw = m.floats(call.dw), *db = m.floats(call.db);
  for (std::int64_t j = 0; j < s.weights(); ++j) dw[j] = T(0);
  for_each_product(s, [&](auto i, auto j, auto o) { dw[j] += dy[o] * x[i]; });
  if (!db) return;
  for (std::int64_t k = 0; k < s.y.c; ++k) db[k] = T(0);
  for_each_element(s.y, [&](auto n, auto k, auto p, auto q) { db[k] += dy[s.y.index(n, k, p, q)]; });
}

template <class T>
void run(const LinearForward& call, const Memory<T>& m) {
  const Dims &xd = call.x_dims, &yd = call.y_dims;
  const Factors<T> factors(call, m);
  const T *x = factors[0], *w = factors[1], *b = m.floats(call.b);
  T* y = m.floats(call.y);
  for (std::int64_t n = 0; n < xd.n; ++n)
    for (std::int64_t o = 0; o < yd.c; ++o) {
      T sum = b ? b[o] : T(0);
      for (std::int64_t f = 0; f < xd.c; ++f) sum += w[o * xd.c + f] * x[xd.index(n, f, 0, 0)];
      y[yd.index(n, o, 0, 0)] = sum;
    }
}

template <class T>
void run(const LinearBackwardInput& call, const Memory<T>& m) {
  const Dims &xd = call.x_dims, &yd = call.y_dims;
  const Factors<T> factors(call, m);
  const T *dy = factors[0], *w = factors[1];
  T* dx = m.floats(call.dx);
  for (std::int64_t n = 0; n < xd.n; ++n)
    for (std::int64_t f = 0; f < xd.c; ++f) {
      T sum = 0;
      for (std::int64_t o = 0; o < yd.c; ++o) sum += w[o * xd.c + f] * dy[yd.index(n, o, 0, 0)];
      dx[xd.index(n, f, 0, 0)] = sum;
    }
}

template <class T>
void run(const LinearBackwardWeight& call, const Memory<T>& m) {
  const Dims &xd = call.x_dims, &yd = call.y_dims;
  const Factors<T> factors(call, m);
  const T *dy = factors[0], *x = factors[1];
  T *dw = m.floats(call.dw), *db = m.floats(call.db);
  for (std::int64_t o = 0; o < yd.c; ++o) {
    for (std::int64_t f = 0; f < xd.c; ++f) {
      T sum = 0;
      for (std::int64_t n = 0; n < xd.n; ++n) sum += dy[yd.index(n, o, 0, 0)] * x[xd.index(n, f, 0, 0)];
      dw[o * xd.c + f] = sum;
    }
    if (!db) continue;
    T sum = 0;
    for (std::int64_t n = 0; n < xd.n; ++n) sum += dy[yd.index(n, o, 0, 0)];
    db[o] = sum;
  }
}

// ---- both number types

template void run(const Conv2dForward&, const Memory<double>&);
template void run(const Conv2dForward&, const Memory<Tracked>&);
template void run(const Conv2dBackwardInput&, const Memory<double>&);
template void run(const Conv2dBackwardInput&, const Memory<Tracked>&);
template void run(const Conv2dBackwardWeight&, const Memory<double>&);
template void run(const Conv2dBackwardWeight&, const Memory<Tracked>&);
template void run(const LinearForward&, const Memory<double>&);
template void run(const LinearForward&, const Memory<Tracked>&);
template void run(const LinearBackwardInput&, const Memory<double>&);
template void run(const LinearBackwardInput&, const Memory<Tracked>&);
template void run(const LinearBackwardWeight&, const Memory<double>&);
template void run(const LinearBackwardWeight&, const Memory<Tracked>&);

}  // namespace norma::reference
