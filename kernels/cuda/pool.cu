// Max and average pooling.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/windows.cuh"

namespace norma::kernels::cuda {
namespace {

template <class Index>
struct MaxForward {
  Windows windows;
  float* y;
  Index* argmax;  // may be null
  const float* x;
  template <int n>
  __device__ __forceinline__ void apply(const WindowPlace& at) const {
    Largest best[n];
    first_largest(
        windows, windows.place(at.position), x + at.plane * windows.x_plane, [](float v) { return v; }, best);
    float largest[n];
    Index won[n];
#pragma unroll
    for (int k = 0; k < n; ++k) largest[k] = best[k].value, won[k] = static_cast<Index>(best[k].tap);
    const std::int64_t i = at.plane * windows.y_plane + at.position;
    store(y + i, largest);
    if (argmax) store_indices(argmax + i, won);
  }
};

template <class Index>
struct MaxBackward {
  Windows windows;
  float* dx;
  const float* dy;
  const Index* argmax;
  template <int n>
  __device__ __forceinline__ void apply(const WindowPlace& at) const {
    const float* const of_plane = dy + at.plane * windows.y_plane;
    float sum[n];
    sum_won(
        windows, windows.place(at.position), argmax + at.plane * windows.y_plane,
        [&](std::int64_t i, float(&shares)[n]) { load(of_plane + i, shares); }, sum);
    store(dx + at.plane * windows.x_plane + at.position, sum);
  }
};

// Returns the divisor of a window's sum: taps inside x, or inside x and its padding. An empty window's sum is 0.
__device__ __forceinline__ float divisor(const Windows& g, std::int32_t p, std::int32_t q, bool include_pad) {
  const Side::Span rows = g.h.taps(p, include_pad), columns = g.w.taps(q, include_pad);
  const std::int64_t taps = static_cast<std::int64_t>(rows.end - rows.begin) * (columns.end - columns.begin);
  return taps > 0 ? static_cast<float>(taps) : 1.0f;
}

struct AvgForward {
  Windows windows;
  float* y;
  const float* x;
  bool include_pad;
  template <int n>
  __device__ __forceinline__ void apply(const WindowPlace& of) const {
    const Windows& g = windows;
    const Windows::Place at = g.place(of.position);
    const Side::Span rows = g.h.taps(at.h), columns = g.w.taps(at.w);
    const float* const of_plane = x + of.plane * g.x_plane;
    float sum[n] = {};
#pragma unroll 1
    for (std::int32_t r = rows.begin; r < rows.end; ++r) {
      float line[n] = {}, v[n];
#pragma unroll 1
      for (std::int32_t s = columns.begin; s < columns.end; ++s) {
        load(of_plane + g.x_index(g.h.at(at.h, r), g.w.at(at.w, s), at.lane), v);
#pragma unroll
        for (int k = 0; k < n; ++k) line[k] += v[k];
      }
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] += line[k];
    }
    const float by = divisor(g, at.h, at.w, include_pad);
#pragma unroll
    for (int k = 0; k < n; ++k) sum[k] = sum[k] / by;
    store(y + of.plane * g.y_plane + of.position, sum);
  }
};

struct AvgBackward {
  Windows windows;
  float* dx;
  const float* dy;
  bool include_pad;
  template <int n>
  __device__ __forceinline__ void apply(const WindowPlace& at) const {
    const float* const of_plane = dy + at.plane * windows.y_plane;
    float sum[n] = {};
    for_windows_of(windows, windows.place(at.position), [&](std::int64_t i, std::int32_t p, std::int32_t q, std::int32_t) {
      const float by = divisor(windows, p, q, include_pad);
      float share[n];
      load(of_plane + i, share);
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] += share[k] / by;
    });
    store(dx + at.plane * windows.x_plane + at.position, sum);
  }
};

template <class Index>
void max_forward(const MaxPoolForward& call, const Memory& memory, const Queue& queue) {
  const MaxForward<Index> each{Windows(call.shape, call.shape.y), memory.at<float>(call.y), memory.at<Index>(call.argmax),
                               memory.at<float>(call.x)};
  launch_windows(call.shape.y, queue.stream, each, each.y, each.argmax, each.x);
}

template <class Index>
void max_backward(const MaxPoolBackward& call, const Memory& memory, const Queue& queue) {
  const MaxBackward<Index> each{Windows(call.shape, call.shape.x), memory.at<float>(call.dx), memory.at<float>(call.dy),
                                memory.at<Index>(call.argmax)};
  launch_windows(call.shape.x, queue.stream, each, each.dx, each.dy, each.argmax);
}

}  // namespace

void enqueue(const MaxPoolForward& call, const Memory& memory, const Queue& queue) {
  if (call.index_type == DType::u8) max_forward<std::uint8_t>(call, memory, queue);
  else max_forward<std::int32_t>(call, memory, queue);
}

void enqueue(const MaxPoolBackward& call, const Memory& memory, const Queue& queue) {
  if (call.index_type == DType::u8) max_backward<std::uint8_t>(call, memory, queue);
  else max_backward<std::int32_t>(call, memory, queue);
}

void enqueue(const AvgPoolForward& call, const Memory& memory, const Queue& queue) {
  const AvgForward each{Windows(call.shape, call.shape.y), memory.at<float>(call.y), memory.at<float>(call.x), call.include_pad};
  launch_windows(call.shape.y, queue.stream, each, each.y, each.x);
}

void enqueue(const AvgPoolBackward& call, const Memory& memory, const Queue& queue) {
  const AvgBackward each{Windows(call.shape, call.shape.x), memory.at<float>(call.dx), memory.at<float>(call.dy), call.include_pad};
  launch_windows(call.shape.x, queue.stream, each, each.dx, each.dy);
}

}  // namespace norma::kernels::cuda
