// Reference: convolutions, each sum in the order it is written.
#include "kernels/reference/factors.h"

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
  const T *dy = factors[0], *w = factors[1], *b = m.floats(call.b);
  const Dims& x = call.shape.x;
  T* dx = m.floats(call.dx);
  for_each_element(x, [&](auto n, auto c, auto h, auto v) { dx[x.index(n, c, h, v)] = b ? b[c] : T(0); });
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

// ---- both number types

template void run(const Conv2dForward&, const Memory<double>&);
template void run(const Conv2dForward&, const Memory<Tracked>&);
template void run(const Conv2dBackwardInput&, const Memory<double>&);
template void run(const Conv2dBackwardInput&, const Memory<Tracked>&);
template void run(const Conv2dBackwardWeight&, const Memory<double>&);
template void run(const Conv2dBackwardWeight&, const Memory<Tracked>&);

}  // namespace norma::reference
