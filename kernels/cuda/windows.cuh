// Sliding windows over planes, as pooling sees them. Forward passes give a thread one output element, backward passes one input element. A
// thread looks up the windows its input lies in, so no element is added to from two sides.
#pragma once
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

// One side, H or W.
struct Side {
  std::int32_t size, outputs, kernel, stride, pad, dilation;  // size: of x
  Divisor by_stride, by_dilation;

  Side(std::int64_t size_, std::int64_t outputs_, std::int32_t kernel_, std::int32_t stride_, std::int32_t pad_, std::int32_t dilation_)
      : size(static_cast<std::int32_t>(size_)),
        outputs(static_cast<std::int32_t>(outputs_)),
        kernel(kernel_),
        stride(stride_),
        pad(pad_),
        dilation(dilation_),
        by_stride(stride_),
        by_dilation(dilation_) {}

  __device__ __forceinline__ std::int32_t at(std::int32_t out, std::int32_t tap) const { return out * stride - pad + tap * dilation; }
  struct Span {
    std::int32_t begin, end;
  };
  // The taps of window `out` that fall inside x, or inside x and its padding.
  __device__ __forceinline__ Span taps(std::int32_t out, bool padding = false) const {
    const std::int32_t first = at(out, 0) + (padding ? pad : 0), width = padding ? size + 2 * pad : size;
    const std::int32_t begin = first < 0 ? quotient(by_dilation, -first + dilation - 1) : 0;
    const std::int32_t end = first < width ? quotient(by_dilation, width - first + dilation - 1) : 0, stop = end < kernel ? end : kernel;
    return {begin < stop ? begin : stop, stop};
  }
  // The windows that position `in` of x may lie in; which tap of one it is, or -1.
  __device__ __forceinline__ Span windows(std::int32_t in) const {
    const std::int32_t first = in + pad - (kernel - 1) * dilation, last = quotient(by_stride, in + pad) + 1;
    return {first > 0 ? quotient(by_stride, first + stride - 1) : 0, last < outputs ? last : outputs};
  }
  __device__ __forceinline__ std::int32_t tap_of(std::int32_t in, std::int32_t out) const {
    const std::int32_t from_first = in + pad - out * stride, tap = quotient(by_dilation, from_first);
    return tap * dilation == from_first ? tap : -1;
  }

 private:
  static __device__ __forceinline__ std::int32_t quotient(const Divisor& by, std::int32_t n) {
    return static_cast<std::int32_t>(by.quotient(static_cast<std::uint32_t>(n)));
  }
};

struct Windows {
  Side h, w;
  std::int32_t lanes;
  std::int64_t x_plane, y_plane;  // elements
  Divisor by_width, by_lanes;     // of the plane that threads go over

  // over: the tensor whose elements are threads, x or y.
  Windows(const PoolShape& s, const Dims& over)
      : h(s.x.h, s.y.h, s.window.kernel_h, s.window.stride_h, s.window.pad_h, s.window.dilation_h),
        w(s.x.w, s.y.w, s.window.kernel_w, s.window.stride_w, s.window.pad_w, s.window.dilation_w),
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

// For `vector` neighbouring lanes: the largest f(x) over the taps of window (p, q) of a plane, -infinity if it has none. It is the first of
// equals, and the first NaN.
template <int vector, class F>
__device__ __forceinline__ void first_largest(const Windows& g, const Windows::Place& at, const float* plane, F f,
                                              Largest (&best)[vector]) {
#pragma unroll
  for (int k = 0; k < vector; ++k) best[k] = {-__int_as_float(0x7F800000), 0, 0.0f};
  const Side::Span rows = g.h.taps(at.h), columns = g.w.taps(at.w);
  const auto see = [&](std::int32_t r, std::int32_t s, float(&x)[vector]) {
    load(plane + g.x_index(g.h.at(at.h, r), g.w.at(at.w, s), at.lane), x);
  };
  // From the last tap to the first, as on the CPU: what wins over its equals comes last.
  const auto take = [&](std::int32_t r, std::int32_t s, const float(&x)[vector]) {
#pragma unroll
    for (int k = 0; k < vector; ++k)
      if (const float v = f(x[k]); v >= best[k].value || v != v) best[k] = {v, g.tap(r, s), x[k]};
  };
  if (rows.end - rows.begin == 2 && columns.end - columns.begin == 2) {  // what most windows are: all loads at once
    float x[2][2][vector];
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int s = 0; s < 2; ++s) see(rows.begin + r, columns.begin + s, x[r][s]);
#pragma unroll
    for (int r = 1; r >= 0; --r)
#pragma unroll
      for (int s = 1; s >= 0; --s) take(rows.begin + r, columns.begin + s, x[r][s]);
    return;
  }
#pragma unroll 1
  for (std::int32_t r = rows.end; r-- > rows.begin;)
#pragma unroll 1
    for (std::int32_t s = columns.end; s-- > columns.begin;) {
      float x[vector];
      see(r, s, x);
      take(r, s, x);
    }
}

// f(index in y, p, q, tap) for the windows that position (h, w) of x lies in, (p, q) in order.
template <class F>
__device__ __forceinline__ void for_windows_of(const Windows& g, const Windows::Place& at, F f) {
  const Side::Span rows = g.h.windows(at.h), columns = g.w.windows(at.w);
#pragma unroll 1
  for (std::int32_t p = rows.begin; p < rows.end; ++p) {
    const std::int32_t r = g.h.tap_of(at.h, p);
#pragma unroll 1
    for (std::int32_t q = columns.begin; q < columns.end; ++q) {
      const std::int32_t s = g.w.tap_of(at.w, q);
      if (r >= 0 && s >= 0) f(g.y_index(p, q, at.lane), p, q, g.tap(r, s));
    }
  }
}

// For `vector` neighbouring lanes: the sums of the shares of the windows whose argmax this position of x is. share(index in y, shares)
// sets the lanes' shares.
template <int vector, class Index, class Share>
__device__ __forceinline__ void sum_won(const Windows& g, const Windows::Place& at, const Index* argmax, Share share,
                                        float (&sum)[vector]) {
#pragma unroll
  for (int k = 0; k < vector; ++k) sum[k] = 0;
  for_windows_of(g, at, [&](std::int64_t i, std::int32_t, std::int32_t, std::int32_t tap) {
    Index won[vector];
    float shares[vector];
    load_indices(argmax + i, won);
    share(i, shares);
#pragma unroll
    for (int k = 0; k < vector; ++k)
      if (static_cast<std::int32_t>(won[k]) == tap) sum[k] += shares[k];
  });
}

inline constexpr int window_threads = 256;

// An element of a tensor viewed as (outer, C, inner), the first of neighbouring lanes.
struct WindowPlace {
  std::int64_t plane, pack;
  std::uint32_t row, position;  // row: counted from the block's first
};

// each.apply<vector>(place) for every element, `vector` neighbouring lanes by one thread. All threads of a block call
// each.begin(view, first, rows) before: its elements begin at `first` and lie in `rows` rows, at most one for each thread.
// At least 3 blocks to a multiprocessor: without saying so compute capability 8.0 is given too few registers.
template <int vector, class Each>
__global__ void __launch_bounds__(window_threads, 3) window_pass(View view, Each each) {
  constexpr std::uint32_t elements = window_threads * vector;
  const std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * elements;
  const View::Place first = view.place(base);
  if constexpr (requires { &Each::begin; }) each.begin(view, first, view.by_inner.quotient(first.position + elements - 1) + 1);
  const std::uint32_t local = threadIdx.x * vector;
  if (base + local >= view.stored()) return;
  const Divisor::Result row = view.by_inner.divide(first.position + local);
  const Divisor::Result channel = view.by_channels.divide(first.channel + row.quotient);
  each.template apply<vector>(
      WindowPlace{first.outer * view.channels + first.channel + row.quotient, first.outer + channel.quotient, row.quotient, row.remainder});
}

// Runs it; `arrays` begin where each reads and writes.
template <class Each, class... T>
void launch_windows(const Dims& over, CUstream_st* stream, const Each& each, const T*... arrays) {
  const View view(over);
  with_vectors(
      over.lanes,
      [&]<int vector>() {
        launch(named<window_pass<vector, Each>>(), ceil_div(view.stored(), std::int64_t{window_threads} * vector), window_threads, stream,
               view, each);
      },
      arrays...);
}

}  // namespace norma::kernels::cuda
