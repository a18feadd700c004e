// Sliding windows over planes, as pooling sees them. Forward passes give a thread one output element, backward passes one input element. A
// thread looks up the windows its input lies in, so no element is added to from two sides.
#pragma once
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

// One side, H or W.
struct Side {
  std::int32_t size, outputs, kernel, stride, pad, dilation;  // size: of x

  __device__ __forceinline__ std::int32_t at(std::int32_t out, std::int32_t tap) const { return out * stride - pad + tap * dilation; }
  struct Span {
    std::int32_t begin, end;
  };
  // The taps of window `out` that fall inside x, or inside x and its padding.
  __device__ __forceinline__ Span taps(std::int32_t out, bool padding = false) const {
    const std::int32_t first = at(out, 0) + (padding ? pad : 0), width = padding ? size + 2 * pad : size;
    const std::int32_t begin = first < 0 ? (-first + dilation - 1) / dilation : 0;
    const std::int32_t end = first < width ? (width - first + dilation - 1) / dilation : 0, stop = end < kernel ? end : kernel;
    return {begin < stop ? begin : stop, stop};
  }
  // The windows that position `in` of x may lie in; which tap of one it is, or -1.
  __device__ __forceinline__ Span windows(std::int32_t in) const {
    const std::int32_t first = in + pad - (kernel - 1) * dilation, last = (in + pad) / stride + 1;
    return {first > 0 ? (first + stride - 1) / stride : 0, last < outputs ? last : outputs};
  }
  __device__ __forceinline__ std::int32_t tap_of(std::int32_t in, std::int32_t out) const {
    const std::int32_t from_first = in + pad - out * stride, tap = from_first / dilation;
    return tap * dilation == from_first ? tap : -1;
  }
};

struct Windows {
  Side h, w;
  std::int32_t lanes;
  std::int64_t x_plane, y_plane;  // elements
  Divisor by_width, by_lanes;     // of the plane that threads go over

  // over: the tensor whose elements are threads, x or y.
  Windows(const PoolShape& s, const Dims& over)
      : h{static_cast<std::int32_t>(s.x.h),
          static_cast<std::int32_t>(s.y.h),
          s.window.kernel_h,
          s.window.stride_h,
          s.window.pad_h,
          s.window.dilation_h},
        w{static_cast<std::int32_t>(s.x.w),
          static_cast<std::int32_t>(s.y.w),
          s.window.kernel_w,
          s.window.stride_w,
          s.window.pad_w,
          s.window.dilation_w},
        lanes(s.x.lanes),
        x_plane(s.x.plane() * s.x.lanes),
        y_plane(s.y.plane() * s.y.lanes),
        by_width(over.w),
        by_lanes(over.lanes) {}

  // Place of element `position` of a row.
  struct Place {
    std::int32_t h, w, lane;
  };
  __device__ __forceinline__ Place place(std::uint32_t position) const {
    const Divisor::Result pixel = by_lanes.divide(position), row = by_width.divide(pixel.quotient);
    return {static_cast<std::int32_t>(row.quotient), static_cast<std::int32_t>(row.remainder), static_cast<std::int32_t>(pixel.remainder)};
  }
  __device__ __forceinline__ std::int64_t x_index(std::int32_t row, std::int32_t column, std::int32_t lane) const {
    return (static_cast<std::int64_t>(row) * w.size + column) * lanes + lane;
  }
  __device__ __forceinline__ std::int64_t y_index(std::int32_t row, std::int32_t column, std::int32_t lane) const {
    return (static_cast<std::int64_t>(row) * w.outputs + column) * lanes + lane;
  }
  __device__ __forceinline__ std::int32_t tap(std::int32_t r, std::int32_t s) const { return r * w.kernel + s; }
};

struct Largest {
  float value;  // f(x)
  std::int32_t tap;
  float x;
};

// Returns the largest f(x) over the taps of window (p, q) of a plane, -infinity if it has none. It is the first of equals, and the first
// NaN.
template <class F>
__device__ __forceinline__ Largest first_largest(const Windows& g, const Windows::Place& at, const float* plane, F f) {
  Largest best{-__int_as_float(0x7F800000), 0, 0.0f};
  const Side::Span rows = g.h.taps(at.h), columns = g.w.taps(at.w);
  // From the last tap to the first, as on the CPU: what wins over its equals comes last.
  for (std::int32_t r = rows.end; r-- > rows.begin;)
    for (std::int32_t s = columns.end; s-- > columns.begin;) {
      const float x = plane[g.x_index(g.h.at(at.h, r), g.w.at(at.w, s), at.lane)], v = f(x);
      if (v >= best.value || v != v) best = {v, g.tap(r, s), x};
    }
  return best;
}

// f(index in y, p, q, tap) for the windows that position (h, w) of x lies in, (p, q) in order.
template <class F>
__device__ __forceinline__ void for_windows_of(const Windows& g, const Windows::Place& at, F f) {
  const Side::Span rows = g.h.windows(at.h), columns = g.w.windows(at.w);
  for (std::int32_t p = rows.begin; p < rows.end; ++p) {
    const std::int32_t r = g.h.tap_of(at.h, p);
    for (std::int32_t q = columns.begin; q < columns.end; ++q) {
      const std::int32_t s = g.w.tap_of(at.w, q);
      if (r >= 0 && s >= 0) f(g.y_index(p, q, at.lane), p, q, g.tap(r, s));
    }
  }
}

// The sum of share(index in y) over the windows whose argmax this position of x is.
template <class Index, class Share>
__device__ __forceinline__ float sum_won(const Windows& g, const Windows::Place& at, const Index* argmax, Share share) {
  float sum = 0;
  for_windows_of(g, at, [&](std::int64_t i, std::int32_t, std::int32_t, std::int32_t tap) {
    if (static_cast<std::int32_t>(argmax[i]) == tap) sum += share(i);
  });
  return sum;
}

inline constexpr int window_threads = 256;

// each(plane, channel, pack, position): one element of a tensor viewed as (outer, C, inner), by one thread.
// At least 3 blocks to a multiprocessor: without saying so compute capability 8.0 is given too few registers.
template <class Each>
__global__ void __launch_bounds__(window_threads, 3) window_pass(View view, Each each) {
  const std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * window_threads;
  if (base + threadIdx.x >= view.stored()) return;
  const std::int64_t base_plane = base / view.inner;
  const Divisor::Result at = view.by_inner.divide(static_cast<std::uint32_t>(base - base_plane * view.inner) + threadIdx.x);
  const std::int64_t plane = base_plane + at.quotient, pack = plane / view.channels;
  each(plane, plane - pack * view.channels, pack, at.remainder);
}

template <class Each>
void launch_windows(const Dims& over, CUstream_st* stream, const Each& each) {
  const View view(over);
  launch(named<window_pass<Each>>(), ceil_div(view.stored(), window_threads), window_threads, stream, view, each);
}

}  // namespace norma::kernels::cuda
