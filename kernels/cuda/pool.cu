// Max and average pooling.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/windows.cuh"

namespace norma::kernels::cuda {
namespace {

template <class Index>
struct MaxForward {
  Windows windows;
  float* y;
  Index* argmax;
  const float* x;
  __device__ __forceinline__ void operator()(std::int64_t plane, std::int64_t, std::int64_t, std::uint32_t position) const {
    const Largest best = first_largest(windows, windows.place(position), x + plane * windows.x_plane, [](float v) { return v; });
    const std::int64_t i = plane * windows.y_plane + position;
    y[i] = best.value;
    if (argmax) argmax[i] = static_cast<Index>(best.tap);
  }
};

template <class Index>
struct MaxBackward {
  Windows windows;
  float* dx;
  const float* dy;
  const Index* argmax;
  __device__ __forceinline__ void operator()(std::int64_t plane, std::int64_t, std::int64_t, std::uint32_t position) const {
    const float* const of_plane = dy + plane * windows.y_plane;
    dx[plane * windows.x_plane + position] =
        sum_won(windows, windows.place(position), argmax + plane * windows.y_plane, [&](std::int64_t i) { return of_plane[i]; });
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
  __device__ __forceinline__ void operator()(std::int64_t plane, std::int64_t, std::int64_t, std::uint32_t position) const {
    const Windows& g = windows;
    const Windows::Place at = g.place(position);
    const Side::Span rows = g.h.taps(at.h), columns = g.w.taps(at.w);
    const float* const of_plane = x + plane * g.x_plane;
    float sum = 0;
    for (std::int32_t r = rows.begin; r < rows.end; ++r) {
      float line = 0;
      for (std::int32_t s = columns.begin; s < columns.end; ++s) line += of_plane[g.x_index(g.h.at(at.h, r), g.w.at(at.w, s), at.lane)];
      sum += line;
    }
    y[plane * g.y_plane + position] = sum / divisor(g, at.h, at.w, include_pad);
  }
};

struct AvgBackward {
  Windows windows;
  float* dx;
  const float* dy;
  bool include_pad;
  __device__ __forceinline__ void operator()(std::int64_t plane, std::int64_t, std::int64_t, std::uint32_t position) const {
    const float* const of_plane = dy + plane * windows.y_plane;
    float sum = 0;
    for_windows_of(windows, windows.place(position), [&](std::int64_t i, std::int32_t p, std::int32_t q, std::int32_t) {
      sum += of_plane[i] / divisor(windows, p, q, include_pad);
    });
    dx[plane * windows.x_plane + position] = sum;
  }
};

template <class Index>
void max_forward(const MaxPoolForward& call, const Memory& memory, const Queue& queue) {
  launch_windows(call.shape.y, queue.stream,
                 MaxForward<Index>{Windows(call.shape, call.shape.y), memory.at<float>(call.y), memory.at<Index>(call.argmax),
                                   memory.at<float>(call.x)});
}

template <class Index>
void max_backward(const MaxPoolBackward& call, const Memory& memory, const Queue& queue) {
  launch_windows(call.shape.x, queue.stream,
                 MaxBackward<Index>{Windows(call.shape, call.shape.x), memory.at<float>(call.dx), memory.at<float>(call.dy),
                                    memory.at<Index>(call.argmax)});
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
  launch_windows(call.shape.y, queue.stream,
                 AvgForward{Windows(call.shape, call.shape.y), memory.at<float>(call.y), memory.at<float>(call.x), call.include_pad});
}

void enqueue(const AvgPoolBackward& call, const Memory& memory, const Queue& queue) {
  launch_windows(call.shape.x, queue.stream,
                 AvgBackward{Windows(call.shape, call.shape.x), memory.at<float>(call.dx), memory.at<float>(call.dy), call.include_pad});
}

}  // namespace norma::kernels::cuda
