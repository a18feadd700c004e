// Reference: pooling.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

namespace {

// Positions of an average's window: inside x, or with include_pad inside x and the padding around it.
double divisor(const PoolShape& shape, std::int64_t p, std::int64_t q, bool include_pad) {
  const Window& win = shape.window;
  const std::int64_t ph = include_pad ? win.pad_h : 0, pw = include_pad ? win.pad_w : 0;
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < win.kernel_h; ++r)
    for (std::int64_t s = 0; s < win.kernel_w; ++s) {
      const std::int64_t h = p * win.stride_h - win.pad_h + r, w = q * win.stride_w - win.pad_w + s;
      count += h >= -ph && h < shape.x.h + ph && w >= -pw && w < shape.x.w + pw;
    }
  return static_cast<double>(count);
}

template <class T>
void set_zero(const Dims& d, T* a) {
  for_each_element(d, [&](auto n, auto c, auto h, auto w) { a[d.index(n, c, h, w)] = T(0); });
}

}  // namespace

template <class T>
void run(const MaxPoolForward& call, const Memory<T>& m) {
  const T* x = m.floats(call.x);
  const Dims& yd = call.shape.y;
  for_each_element(yd, [&](auto n, auto c, auto p, auto q) {
    T best(-std::numeric_limits<double>::infinity());
    std::int64_t at = -1;
    for_each_in_window(call.shape, n, c, p, q, [&](auto r, auto s, auto i) {
      const bool greater = x[i] > best || (std::isnan(value(x[i])) && !std::isnan(value(best)));
      if (at >= 0 && !greater) return;
      best = x[i];
      at = r * call.shape.window.kernel_w + s;
    });
    m.floats(call.y)[yd.index(n, c, p, q)] = best;
    if (call.argmax) m.integers(call.argmax)[yd.index(n, c, p, q)] = at;
  });
}

template <class T>
void run(const MaxPoolBackward& call, const Memory<T>& m) {
  const Dims& yd = call.shape.y;
  T* dx = m.floats(call.dx);
  set_zero(call.shape.x, dx);
  for_each_element(yd, [&](auto n, auto c, auto p, auto q) {
    const auto o = yd.index(n, c, p, q);
    for_each_in_window(call.shape, n, c, p, q, [&](auto r, auto s, auto i) {
      if (r * call.shape.window.kernel_w + s == m.integers(call.argmax)[o]) dx[i] += m.floats(call.dy)[o];
    });
  });
}

template <class T>
void run(const AvgPoolForward& call, const Memory<T>& m) {
  const Dims& yd = call.shape.y;
  for_each_element(yd, [&](auto n, auto c, auto p, auto q) {
    T sum = 0;
    for_each_in_window(call.shape, n, c, p, q, [&](auto, auto, auto i) { sum += m.floats(call.x)[i]; });
    m.floats(call.y)[yd.index(n, c, p, q)] = sum / T(divisor(call.shape, p, q, call.include_pad));
  });
}

template <class T>
void run(const AvgPoolBackward& call, const Memory<T>& m) {
  const Dims& yd = call.shape.y;
  T* dx = m.floats(call.dx);
  set_zero(call.shape.x, dx);
  for_each_element(yd, [&](auto n, auto c, auto p, auto q) {
    const T share = m.floats(call.dy)[yd.index(n, c, p, q)] / T(divisor(call.shape, p, q, call.include_pad));
    for_each_in_window(call.shape, n, c, p, q, [&](auto, auto, auto i) { dx[i] += share; });
  });
}

// ---- both number types

template void run(const MaxPoolForward&, const Memory<double>&);
template void run(const MaxPoolForward&, const Memory<Tracked>&);
template void run(const MaxPoolBackward&, const Memory<double>&);
template void run(const MaxPoolBackward&, const Memory<Tracked>&);
template void run(const AvgPoolForward&, const Memory<double>&);
template void run(const AvgPoolForward&, const Memory<Tracked>&);
template void run(const AvgPoolBackward&, const Memory<double>&);
template void run(const AvgPoolBackward&, const Memory<Tracked>&);

}  // namespace norma::reference
