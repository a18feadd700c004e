// Pooling of one sample, and batch norm with the pooling that follows.
#include "kernels/cpu/activate.h"
#include "kernels/cpu/flat.h"
#include "kernels/cpu/sample/norm.h"
#include "kernels/cpu/sample/sample.h"
#include "kernels/cpu/windows.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// f(plane, p, q, at) for every output of every plane, `at` its place in y. `plane` counts those of all samples.
template <class F>
NORMA_INLINE void for_outputs(const PoolShape& s, F f) {
  std::int64_t at = 0;
  for (std::int64_t plane = 0; plane < s.x.n * s.x.c; ++plane)
    for (std::int64_t p = 0; p < s.y.h; ++p)
      for (std::int64_t q = 0; q < s.y.w; ++q, ++at) f(plane, p, q, at);
}

// As first_largest (kernels/cpu/windows.h).
template <class F>
NORMA_INLINE float largest(const Geometry& g, const float* plane, std::int64_t p, std::int64_t q, F f) {
  const Range rows = g.h.taps(p), columns = g.w.taps(q);
  const float* const corner = plane + g.h.start(p) * g.w.size + g.w.start(q);
  float best = -__builtin_inff();
  for (std::int64_t r = rows.end; r-- > rows.begin;)
    for (std::int64_t s = columns.end; s-- > columns.begin;) {
      const float v = f(corner[r * g.h.dilation * g.w.size + s * g.w.dilation]);
      best = v >= best || v != v ? v : best;
    }
  return best;
}

// Windows of 2x2 that tile x, the usual ones: rows at a time.
inline void largest_of_four(const PoolShape& s, float* y, const float* x) {
  for (std::int64_t plane = 0; plane < s.x.n * s.x.c; ++plane)
    for (std::int64_t p = 0; p < s.y.h; ++p) {
      const float* const row = x + (plane * s.x.h + 2 * p) * s.x.w;
      const float* const below = row + s.x.w;
      float* const out = y + (plane * s.y.h + p) * s.y.w;
#pragma omp simd
      for (std::int64_t q = 0; q < s.y.w; ++q) {
        float best = below[2 * q + 1];  // the last first, as above
        const float c = below[2 * q], b = row[2 * q + 1], a = row[2 * q];
        best = c >= best || c != c ? c : best;
        best = b >= best || b != b ? b : best;
        out[q] = a >= best || a != a ? a : best;
      }
    }
}

}  // namespace

void run_sample(const MaxPoolForward& call, const Memory& memory) {
  const PoolShape& s = call.shape;
  const Geometry g(s);
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const Window two{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
  if (s.window == two && 2 * s.y.h <= s.x.h && 2 * s.y.w <= s.x.w) return largest_of_four(s, y, x);
  for_outputs(s, [&](std::int64_t plane, std::int64_t p, std::int64_t q, std::int64_t at) {
    y[at] = largest(g, x + plane * s.x.plane(), p, q, [](float v) { return v; });
  });
}

void run_sample(const AvgPoolForward& call, const Memory& memory) {
  const PoolShape& s = call.shape;
  const Geometry g(s);
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  for_outputs(s, [&](std::int64_t plane, std::int64_t p, std::int64_t q, std::int64_t at) {
    const Range rows = g.h.taps(p), columns = g.w.taps(q);
    const float* const corner = x + plane * s.x.plane() + g.h.start(p) * g.w.size + g.w.start(q);
    float sum = 0;
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      float line = 0;
      for (std::int64_t t = columns.begin; t < columns.end; ++t) line += corner[r * g.h.dilation * g.w.size + t * g.w.dilation];
      sum += line;
    }
    y[at] = sum / divisor(g, p, q, call.include_pad);
  });
}

void run_sample(const BatchNormMaxPool& call, const Memory& memory) {
  const PoolShape& s = call.shape;
  const Geometry g(s);
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  for_outputs(s, [&](std::int64_t plane, std::int64_t p, std::int64_t q, std::int64_t at) {
    const NormaliseOne z(memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.gamma),
                         memory.at<float>(call.beta), plane % s.x.c);
    y[at] = largest(g, x + plane * s.x.plane(), p, q, z);
  });
  with_folded_activation(call.act, [&]<Activation act>() {
    if constexpr (act != Activation::none)
      for_vectors(0, s.y.stored(), [=](std::int64_t i, auto access) { access.store(y + i, activate(act, access.load(y + i))); });
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
