// Sliding windows over planes, as pooling sees them: which taps of a window lie inside x, and loops over windows.
#pragma once
#include <cstdint>

#include "kernels/chunks.h"
#include "kernels/shapes.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

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
        planes(s.x.packs() * s.x.c),
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

// Taps of a window that has all kernel x kernel of them: loops have constant bounds and unroll.
template <int kernel>
struct WholeTaps {
  static constexpr Range r{0, kernel}, s{0, kernel};
  std::int64_t corner, step_r, step_s;

  constexpr std::int64_t at(std::int64_t i, std::int64_t j) const { return (corner + i * step_r + j * step_s) * 16; }
};

// The windows q of row p that f sees as WholeTaps<kernel>; kernel = 0 stands for any size.
template <int kernel>
NORMA_INLINE Range whole_windows(const Geometry& g, std::int64_t p) {
  const Range r = g.h.taps(p), none{g.y_w, g.y_w};
  return kernel == 0 || r.begin != 0 || r.end != kernel ? none : g.w.whole(g.y_w);
}

template <int kernel>
NORMA_INLINE bool has_edges(const Geometry& g, std::int64_t p) {
  const Range whole = whole_windows<kernel>(g, p);
  return whole.end - whole.begin < g.y_w;
}

// f(q, taps) for the windows (p,q) of one row whose taps all lie inside x.
template <int kernel, class F>
NORMA_INLINE void for_whole_windows(const Geometry& g, std::int64_t p, F f) {
  if constexpr (kernel > 0) {
    const Range whole = whole_windows<kernel>(g, p);
    const std::int64_t row = g.h.start(p) * g.w.size, step_r = g.h.dilation * g.w.size;
    for (std::int64_t q = whole.begin; q < whole.end; ++q) f(q, WholeTaps<kernel>{row + g.w.start(q), step_r, g.w.dilation});
  }
}

// Calls f for the other windows, which are few: one copy of f, not inlined.
template <int kernel, class F>
[[gnu::noinline]] inline void for_edge_windows(const Geometry& g, std::int64_t p, F f) {
  const Range whole = whole_windows<kernel>(g, p), r = g.h.taps(p);
  const std::int64_t row = g.h.start(p) * g.w.size, step_r = g.h.dilation * g.w.size;
  for (std::int64_t q = 0; q < g.y_w; ++q)
    if (q < whole.begin || q >= whole.end) f(q, Taps{r, g.w.taps(q), row + g.w.start(q), step_r, g.w.dilation});
}

template <int kernel, class F>
NORMA_INLINE void for_windows(const Geometry& g, std::int64_t p, F f) {
  if (has_edges<kernel>(g, p)) for_edge_windows<kernel>(g, p, f);
  for_whole_windows<kernel>(g, p, f);
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

struct Largest {
  V value;  // f(x)
  I index;  // of its tap
  V x;
};

// Returns the largest f(x) over the taps of a window, -infinity if it has none. It is the first of equals and the first NaN, since taps are
// taken from the last to the first.
template <class T, class F>
NORMA_INLINE Largest first_largest(const Geometry& g, const T& taps, const float* plane, F f) {
  Largest best{set1(-__builtin_inff()), set1(std::int32_t{0}), zero()};
  for (std::int64_t r = taps.r.end; r-- > taps.r.begin;)
    for (std::int64_t s = taps.s.end; s-- > taps.s.begin;) {
      const V x = load(plane + taps.at(r, s)), v = f(x);
      const M wins = ge(v, best.value) | isnan(v);
      best = {select(wins, v, best.value), select(wins, tap_index(g, r, s), best.index), select(wins, x, best.x)};
    }
  return best;
}

// Returns the divisor of a window's sum. It is a product of the two sides' counts of taps inside x, or inside x and its padding.
inline std::int64_t counted_taps(const Side& side, std::int64_t out, bool include_pad) {
  const Side padded{side.size + 2 * side.pad, side.kernel, side.stride, 0, side.dilation};
  const Range taps = include_pad ? padded.taps(out) : side.taps(out);
  return taps.end - taps.begin;
}
inline float divisor(const Geometry& g, std::int64_t p, std::int64_t q, bool include_pad) {
  const std::int64_t taps = counted_taps(g.h, p, include_pad) * counted_taps(g.w, q, include_pad);
  return taps > 0 ? static_cast<float>(taps) : 1.0f;  // an empty window's sum is 0
}

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

}  // namespace norma::kernels::cpu::NORMA_ISA
