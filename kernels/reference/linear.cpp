// Reference: linear layers, each sum in the order it is written.
#include "kernels/reference/factors.h"

namespace norma::reference {

using namespace kernels;

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

template void run(const LinearForward&, const Memory<double>&);
template void run(const LinearForward&, const Memory<Tracked>&);
template void run(const LinearBackwardInput&, const Memory<double>&);
template void run(const LinearBackwardInput&, const Memory<Tracked>&);
template void run(const LinearBackwardWeight&, const Memory<double>&);
template void run(const LinearBackwardWeight&, const Memory<Tracked>&);

}  // namespace norma::reference
