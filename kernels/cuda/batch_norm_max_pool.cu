// Batch norm, activation and max pooling in one pass, and its adjoint.
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/windows.cuh"

namespace norma::kernels::cuda {
namespace {

// The channels of a block's rows. A thread works out one row's constants, once for all elements: in double, which most GPUs are slow at.
template <class Channel>
struct ChannelOfRow {
  Channel of[window_threads];
};
template <class Normalisation>
__device__ __forceinline__ void find_channels(const Normalisation& normalisation, const View& view, const View::Place& first,
                                              std::uint32_t rows) {
  if (threadIdx.x < rows)
    shared<ChannelOfRow<typename Normalisation::Channel>>().of[threadIdx.x] =
        normalisation.channel(view.by_channels.divide(first.channel + threadIdx.x).remainder);
  __syncthreads();
}
template <class Normalisation>
__device__ __forceinline__ typename Normalisation::Channel channel_of(const Normalisation&, const WindowPlace& at) {
  return shared<ChannelOfRow<typename Normalisation::Channel>>().of[at.row];
}

struct Forward {
  Activation act;
  Windows windows;
  Normalisation normalisation;
  float* y;
  std::uint8_t* argmax;  // may be null
  float* largest;        // may be null
  const float* x;
  __device__ __forceinline__ void begin(const View& view, const View::Place& first, std::uint32_t rows) const {
    find_channels(normalisation, view, first, rows);
  }
  template <int n>
  __device__ __forceinline__ void apply(const WindowPlace& at) const {
    Largest best[n];
    first_largest(windows, windows.place(at.position), x + at.plane * windows.x_plane, channel_of(normalisation, at), best);
    float out[n], in[n];
    std::uint8_t won[n];
#pragma unroll
    for (int k = 0; k < n; ++k)
      out[k] = folded_activate(act, best[k].value), in[k] = best[k].x, won[k] = static_cast<std::uint8_t>(best[k].tap);
    const std::int64_t i = at.plane * windows.y_plane + at.position;
    store(y + i, out);
    if (argmax) store_indices(argmax + i, won);
    if (largest) store(largest + i, in);
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
  __device__ __forceinline__ void begin(const View& view_of_x, const View::Place& first, std::uint32_t rows) const {
    find_channels(normalisation, view_of_x, first, rows);
  }
  template <int n>
  __device__ __forceinline__ void apply(const WindowPlace& at) const {
    const std::int64_t first = at.plane * windows.y_plane, i = at.plane * windows.x_plane + at.position;
    float g[n], in[n];
    load(x + i, in);
    sum_won(
        windows, windows.place(at.position), argmax + first,
        [&](std::int64_t of, float(&shares)[n]) {
          float out[n] = {};
          load(dy + first + of, shares);
          if (act != Activation::none) load(y + first + of, out);
#pragma unroll
          for (int k = 0; k < n; ++k) shares[k] = folded_gradient(act, shares[k], out[k]);
        },
        g);
    const BackwardNormalisation::Channel channel = channel_of(normalisation, at);
#pragma unroll
    for (int k = 0; k < n; ++k) g[k] = view.valid(at.pack, at.position + static_cast<std::uint32_t>(k)) ? channel(g[k], in[k]) : 0.0f;
    store(dx + i, g);
  }
};

}  // namespace

void enqueue(const BatchNormMaxPool& call, const Memory& memory, const Queue& queue) {
  const Normalisation normalisation{memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.gamma),
                                    memory.at<float>(call.beta)};
  const Forward each{call.act,
                     Windows(call.shape, call.shape.y),
                     normalisation,
                     memory.at<float>(call.y),
                     memory.at<std::uint8_t>(call.argmax),
                     memory.at<float>(call.largest),
                     memory.at<float>(call.x)};
  launch_windows(call.shape.y, queue.stream, each, each.y, each.argmax, each.largest, each.x);
}

void enqueue(const BatchNormMaxPoolBackwardApply& call, const Memory& memory, const Queue& queue) {
  const BackwardNormalisation normalisation{memory.at<float>(call.mean),  memory.at<float>(call.rstd),
                                            memory.at<float>(call.gamma), call.batch_statistics ? memory.at<float>(call.dgamma) : nullptr,
                                            memory.at<float>(call.dbeta), 1 / static_cast<double>(call.count)};
  const Backward each{call.act,
                      Windows(call.shape, call.shape.x),
                      View(call.shape.x),
                      normalisation,
                      memory.at<float>(call.dx),
                      memory.at<float>(call.dy),
                      memory.at<float>(call.y),
                      memory.at<std::uint8_t>(call.argmax),
                      memory.at<float>(call.x)};
  launch_windows(call.shape.x, queue.stream, each, each.dx, each.dy, each.y, each.argmax, each.x);
}

}  // namespace norma::kernels::cuda
