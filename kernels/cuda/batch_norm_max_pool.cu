// Batch norm, activation and max pooling in one pass, and its adjoint.
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/windows.cuh"

namespace norma::kernels::cuda {
namespace {

struct Forward {
  Activation act;
  Windows windows;
  Normalisation normalisation;
  float* y;
  std::uint8_t* argmax;
  float* largest;
  const float* x;
  __device__ __forceinline__ void operator()(std::int64_t plane, std::int64_t channel, std::int64_t, std::uint32_t position) const {
    const Largest best = first_largest(windows, windows.place(position), x + plane * windows.x_plane, normalisation.channel(channel));
    const std::int64_t i = plane * windows.y_plane + position;
    y[i] = folded_activate(act, best.value);
    if (argmax) argmax[i] = static_cast<std::uint8_t>(best.tap);
    if (largest) largest[i] = best.x;
  }
};

struct Backward {
  Activation act;
  Windows windows;
  View view;  // of x
  BackwardNormalisation normalisation;
  float* dx;
  const float *dy, *y;
  const std::uint8_t* argmax;
  const float* x;
  __device__ __forceinline__ void operator()(std::int64_t plane, std::int64_t channel, std::int64_t pack, std::uint32_t position) const {
    const std::int64_t first = plane * windows.y_plane, i = plane * windows.x_plane + position;
    const float g = sum_won(windows, windows.place(position), argmax + first, [&](std::int64_t at) {
      return folded_gradient(act, dy[first + at], act == Activation::none ? 0.0f : y[first + at]);
    });
    dx[i] = view.valid(pack, position) ? normalisation.channel(channel)(g, x[i]) : 0.0f;
  }
};

}  // namespace

void enqueue(const BatchNormMaxPool& call, const Memory& memory, const Queue& queue) {
  const Normalisation normalisation{memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.gamma),
                                    memory.at<float>(call.beta)};
  launch_windows(call.shape.y, queue.stream,
                 Forward{call.act, Windows(call.shape, call.shape.y), normalisation, memory.at<float>(call.y),
                         memory.at<std::uint8_t>(call.argmax), memory.at<float>(call.largest), memory.at<float>(call.x)});
}

void enqueue(const BatchNormMaxPoolBackwardApply& call, const Memory& memory, const Queue& queue) {
  const BackwardNormalisation normalisation{memory.at<float>(call.mean),  memory.at<float>(call.rstd),
                                            memory.at<float>(call.gamma), call.batch_statistics ? memory.at<float>(call.dgamma) : nullptr,
                                            memory.at<float>(call.dbeta), 1 / static_cast<double>(call.count)};
  launch_windows(
      call.shape.x, queue.stream,
      Backward{call.act, Windows(call.shape, call.shape.x), View(call.shape.x), normalisation, memory.at<float>(call.dx),
               memory.at<float>(call.dy), memory.at<float>(call.y), memory.at<std::uint8_t>(call.argmax), memory.at<float>(call.x)});
}

}  // namespace norma::kernels::cuda
