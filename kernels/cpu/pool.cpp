// Max and average pooling. Forward passes work on output rows; backward passes on planes, since windows of one plane may overlap.
#include "kernels/chunks.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/parallel.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// One side, H or W, of a sliding window.
struct Side {
  std::int64_t size, kernel, stride, pad, dilation;

  constexpr std::int64_t start(std::int64_t out) const { return out * stride - pad; }
  // The taps of window `out` that fall inside x; begin == end if none does.
  constexpr Range taps(std::int64_t out) const {
    const std::int64_t at = start(out);
    if (at >= 0 && at + (kernel - 1) * dilation < size) return {0, kernel};
    const std::int64_t begin = at < 0 ? ceil_div(-at, dilation) : 0, end = at < size ? ceil_div(size - at, dilation) : 0;
    const std::int64_t stop = end < kernel ? end : kernel;
    return {begin < stop ? begin : stop, stop};
  }
  // The windows that lie wholly inside x.
  constexpr Range whole(std::int64_t outputs) const {
    const std::int64_t last_start = size - 1 - (kernel - 1) * dilation + pad;  // relative to -pad
    const std::int64_t begin = ceil_div(pad, stride), end = last_start < 0 ? 0 : last_start / stride + 1;
    const std::int64_t stop = end < outputs ? end : outputs;
    return {begin < stop ? begin : stop, stop};
  }
  // Windows do not overlap; and besides they leave nothing out.
  constexpr bool disjoint() const { return stride > (kernel - 1) * dilation; }
  constexpr bool tiles(std::int64_t outputs) const { return dilation == 1 && stride == kernel && pad == 0 && outputs * stride >= size; }
};

struct Geometry {
  Side h, w;
  std::int64_t planes, y_h, y_w;

  constexpr explicit Geometry(const PoolShape& s)
      : h{s.x.h, s.window.kernel_h, s.window.stride_h, s.window.pad_h, s.window.dilation_h},
        w{s.x.w, s.window.kernel_w, s.window.stride_w, s.window.pad_w, s.window.dilation_w},
        planes(s.x.groups() * s.x.c),
        y_h(s.y.h),
        y_w(s.y.w) {}
  constexpr bool disjoint() const { return h.disjoint() && w.disjoint(); }
  constexpr bool tiles() const { return h.tiles(y_h) && w.tiles(y_w); }
};

// The taps of one window that fall inside x: tap (r,s) is vector corner + r*step_r + s*step_s of the plane.
struct Taps {
  Range r, s;
  std::int64_t corner, step_r, step_s;

  constexpr std::int64_t at(std::int64_t i, std::int64_t j) const { return (corner + i * step_r + j * step_s) * 16; }
};

// f(q, taps) for the windows (p,q) of one row, in order. A window of `kernel` x `kernel` taps wholly inside x has them as
// constants; kernel = 0 stands for any size.
template <int kernel, class F>
NORMA_INLINE void for_windows(const Geometry& g, std::int64_t p, F f) {
  const Range r = g.h.taps(p), whole = g.w.whole(g.y_w);
  const bool constant = kernel > 0 && r.begin == 0 && r.end == kernel;
  const std::int64_t row = g.h.start(p) * g.w.size, step_r = g.h.dilation * g.w.size;
  std::int64_t q = 0;
  const auto general = [&](std::int64_t end) {
    for (; q < end; ++q) f(q, Taps{r, g.w.taps(q), row + g.w.start(q), step_r, g.w.dilation});
  };
  general(whole.begin);
  if (constant)
    for (; q < whole.end; ++q) f(q, Taps{{0, kernel}, {0, kernel}, row + g.w.start(q), step_r, g.w.dilation});
  else
    for (; q < whole.end; ++q) f(q, Taps{r, {0, g.w.kernel}, row + g.w.start(q), step_r, g.w.dilation});
  general(g.y_w);
}

// f.operator()<kernel>() with the kernel sizes that are worth their own code: 2x2 and 3x3.
template <class F>
inline void with_kernel(const Geometry& g, F f) {
  if (g.h.kernel == 2 && g.w.kernel == 2) return f.template operator()<2>();
  if (g.h.kernel == 3 && g.w.kernel == 3) return f.template operator()<3>();
  f.template operator()<0>();
}

NORMA_INLINE I load_index(const std::uint8_t* p) { return load_u8(p); }
NORMA_INLINE I load_index(const std::int32_t* p) { return load_i32(p); }
NORMA_INLINE void store_index(std::uint8_t* p, I a) { store_u8(p, a); }
NORMA_INLINE void store_index(std::int32_t* p, I a) { store_i32(p, a); }

NORMA_INLINE I tap_index(const Geometry& g, std::int64_t r, std::int64_t s) { return set1(static_cast<std::int32_t>(r * g.w.kernel + s)); }

// with dx the plane's: clears what scatter() will not write.
template <bool disjoint>
NORMA_INLINE void clear(const Geometry& g, float* dx) {
  if (disjoint && g.tiles()) return;
  for (std::int64_t i = 0; i < g.h.size * g.w.size; ++i) store(dx + i * 16, zero());
}
// dx += value; where windows are disjoint there is nothing to add to.
template <bool disjoint>
NORMA_INLINE void scatter(float* dx, V value) {
  store(dx, disjoint ? value : load(dx) + value);
}

template <class Index>
inline void max_forward(const MaxPoolForward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const y = memory.at<float>(call.y);
  Index* const argmax = memory.at<Index>(call.argmax);
  const float* const x = memory.at<float>(call.x);
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes * g.y_h, [=](std::int64_t row) {
      const float* const plane = x + row / g.y_h * g.h.size * g.w.size * 16;
      for_windows<kernel>(g, row % g.y_h, [&](std::int64_t q, const Taps& taps) {
        // From the last tap to the first, so that the first of equals wins, and the first NaN.
        V best = set1(-__builtin_inff());
        I index = set1(std::int32_t{0});
        for (std::int64_t r = taps.r.end; r-- > taps.r.begin;)
          for (std::int64_t s = taps.s.end; s-- > taps.s.begin;) {
            const V v = load(plane + taps.at(r, s));
            const M wins = ge(v, best) | isnan(v);
            best = select(wins, v, best);
            index = select(wins, tap_index(g, r, s), index);
          }
        const std::int64_t at = (row * g.y_w + q) * 16;
        store(y + at, best);
        if (argmax) store_index(argmax + at, index);
      });
    });
  });
}

template <class Index, bool disjoint>
inline void max_backward(const MaxPoolBackward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const Index* const argmax = memory.at<Index>(call.argmax);
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes, [=](std::int64_t n) {
      float* const plane = dx + n * g.h.size * g.w.size * 16;
      clear<disjoint>(g, plane);
      for (std::int64_t p = 0; p < g.y_h; ++p)
        for_windows<kernel>(g, p, [&](std::int64_t q, const Taps& taps) {
          const std::int64_t at = ((n * g.y_h + p) * g.y_w + q) * 16;
          const V d = load(dy + at);
          const I index = load_index(argmax + at);
          for (std::int64_t r = taps.r.begin; r < taps.r.end; ++r)
            for (std::int64_t s = taps.s.begin; s < taps.s.end; ++s)
              scatter<disjoint>(plane + taps.at(r, s), select(eq(index, tap_index(g, r, s)), d, zero()));
        });
    });
  });
}

// What a window's sum is divided by: a product of the two sides' counts of taps inside x, or inside x and its padding.
inline std::int64_t counted_taps(const Side& side, std::int64_t out, bool include_pad) {
  const Side padded{side.size + 2 * side.pad, side.kernel, side.stride, 0, side.dilation};
  const Range taps = include_pad ? padded.taps(out) : side.taps(out);
  return taps.end - taps.begin;
}
inline float divisor(const Geometry& g, std::int64_t p, std::int64_t q, bool include_pad) {
  const std::int64_t taps = counted_taps(g.h, p, include_pad) * counted_taps(g.w, q, include_pad);
  return taps > 0 ? static_cast<float>(taps) : 1.0f;  // an empty window's sum is 0
}

template <bool disjoint>
inline void avg_backward(const AvgPoolBackward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const bool include_pad = call.include_pad;
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes, [=](std::int64_t n) {
      float* const plane = dx + n * g.h.size * g.w.size * 16;
      clear<disjoint>(g, plane);
      for (std::int64_t p = 0; p < g.y_h; ++p)
        for_windows<kernel>(g, p, [&](std::int64_t q, const Taps& taps) {
          const V d = load(dy + ((n * g.y_h + p) * g.y_w + q) * 16) / set1(divisor(g, p, q, include_pad));
          for (std::int64_t r = taps.r.begin; r < taps.r.end; ++r)
            for (std::int64_t s = taps.s.begin; s < taps.s.end; ++s) scatter<disjoint>(plane + taps.at(r, s), d);
        });
    });
  });
}

}  // namespace

void run(const MaxPoolForward& call, const Memory& memory) {
  if (call.index_type == DType::u8) max_forward<std::uint8_t>(call, memory);
  else max_forward<std::int32_t>(call, memory);
}

void run(const MaxPoolBackward& call, const Memory& memory) {
  const bool disjoint = Geometry(call.shape).disjoint();
  if (call.index_type == DType::u8)
    disjoint ? max_backward<std::uint8_t, true>(call, memory) : max_backward<std::uint8_t, false>(call, memory);
  else disjoint ? max_backward<std::int32_t, true>(call, memory) : max_backward<std::int32_t, false>(call, memory);
}

void run(const AvgPoolForward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const bool include_pad = call.include_pad;
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes * g.y_h, [=](std::int64_t row) {
      const std::int64_t p = row % g.y_h;
      const float* const plane = x + row / g.y_h * g.h.size * g.w.size * 16;
      for_windows<kernel>(g, p, [&](std::int64_t q, const Taps& taps) {
        V sum = zero();
        for (std::int64_t r = taps.r.begin; r < taps.r.end; ++r) {
          V line = zero();
          for (std::int64_t s = taps.s.begin; s < taps.s.end; ++s) line = line + load(plane + taps.at(r, s));
          sum = sum + line;
        }
        store(y + (row * g.y_w + q) * 16, sum / set1(divisor(g, p, q, include_pad)));
      });
    });
  });
}

void run(const AvgPoolBackward& call, const Memory& memory) {
  if (Geometry(call.shape).disjoint()) avg_backward<true>(call, memory);
  else avg_backward<false>(call, memory);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
