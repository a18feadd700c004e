// Convolutions and linear layers, forward and backward to their input: all of them add up weights times what a window sees.
//
// A thread makes `positions` pixels of one sample each and `filters` channels of the output; neighbouring threads are neighbouring
// samples of a group, or neighbouring pixels where a group is one sample. The block's weights pass through shared memory, where all
// threads read the same four at a time. Every output is one chain of fused multiply-adds in the order (channel, row, column).
// Where a batch norm sums over what is made, the block sums it while it is in registers (correlate_sums.cuh).
#include "kernels/cuda/calls.h"
#include "kernels/cuda/correlate.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int taps_per_tile = 128;

template <int filters>
struct Tile {
  float weight[taps_per_tile][filters];
  Tap tap[taps_per_tile];
};

// At least 4 blocks to a multiprocessor: without saying so compute capability 7.5 is given too few registers.
template <int filters, int positions, bool strided, class Sums>
__global__ void __launch_bounds__(correlate_threads, 4) correlate(Correlation g, Sums sums) {
  Tile<filters>& tile = shared<Tile<filters>>();
  const BlockOf<filters, positions> block(g);
  const auto columns = Columns<positions>::template of<strided>(g, block);
  const float* const weights = block.weights(g);

  float sum[positions][filters];
#pragma unroll
  for (int k = 0; k < filters; ++k) {
    const float b = block.bias(g, k);
#pragma unroll
    for (int i = 0; i < positions; ++i) sum[i][k] = b;
  }

  const std::int64_t taps = g.ins * g.area();
  for (std::int64_t first_tap = 0; first_tap < taps; first_tap += taps_per_tile) {
    const int count = static_cast<int>(taps - first_tap < taps_per_tile ? taps - first_tap : taps_per_tile);
    __syncthreads();
    for (int t = static_cast<int>(threadIdx.x); t < count; t += correlate_threads) {
      const TapAt at = tap_at<strided>(g, first_tap + t);
      tile.tap[t] = at.tap;
#pragma unroll
      for (int k = 0; k < filters; ++k) tile.weight[t][k] = k < block.live ? weights[k * g.weight_out + at.weight] : 0.0f;
    }
    __syncthreads();
#pragma unroll 4
    for (int t = 0; t < count; ++t) {
      const Tap tap = tile.tap[t];
      float x[positions];
#pragma unroll
      for (int i = 0; i < positions; ++i) x[i] = look<strided>(g, columns.pixel[i], tap);
#pragma unroll
      for (int k = 0; k < filters; ++k) {
        const float w = tile.weight[t][k];
#pragma unroll
        for (int i = 0; i < positions; ++i) sum[i][k] = fmaf(w, x[i], sum[i][k]);
      }
    }
  }
  put(g, sums, block, columns, sum);
}

template <class Sums = NoSums>
void launch_correlation(const Correlation& g, bool strided, const Queue& queue, const Sums& sums = {}) {
  const Tiling t = tiling_of(g, strided);
  const auto start = [&](auto kernel) { launch(kernel, t.column_tiles * t.filter_tiles, correlate_threads, queue.stream, g, sums); };
  if constexpr (Sums::can_be_strided)
    if (strided) return t.positions == 4 ? start(correlate<8, 4, true, Sums>) : start(correlate<8, 1, true, Sums>);
  if (t.filters == 8) t.positions == 4 ? start(correlate<8, 4, false, Sums>) : start(correlate<8, 1, false, Sums>);
  else t.positions == 4 ? start(correlate<4, 4, false, Sums>) : start(correlate<4, 1, false, Sums>);
}

// out and in: the tensors that are written and read.
Correlation correlation(const Dims& out, const Dims& in, std::int64_t groups, Precision precision) {
  const View out_view(out), in_view(in);  // for their checks
  Correlation g{};
  g.precision = precision, g.groups = groups;
  g.outs = out.c / groups, g.ins = in.c / groups;
  g.samples = out.n, g.lanes = out.lanes;
  g.in_h = static_cast<std::int32_t>(in.h), g.in_w = static_cast<std::int32_t>(in.w);
  g.out_plane = out_view.inner, g.in_plane = in_view.inner;
  g.columns = out_view.outer * out_view.inner;
  g.by_plane = out_view.by_inner, g.by_width = Divisor(out.w), g.by_lanes = Divisor(out.lanes);
  return g;
}

Correlation linear(const Dims& out, const Dims& in, std::int64_t weight_out, std::int64_t weight_in, Precision precision) {
  Correlation g = correlation(out, in, 1, precision);
  g.weight_out = weight_out, g.weight_in = weight_in;
  return g;
}

Correlation correlation_of(const Conv2dForward& call) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  Correlation g = correlation(s.y, s.x, s.groups, call.precision);
  g.kernel_h = k.kernel_h, g.kernel_w = k.kernel_w;
  g.weight_in = k.area(), g.weight_out = g.ins * k.area(), g.weight_group = g.outs * g.weight_out;
  g.stride_h = k.stride_h, g.stride_w = k.stride_w, g.first_h = -k.pad_h, g.first_w = -k.pad_w;
  g.step_h = k.dilation_h, g.step_w = k.dilation_w;
  return g;
}

Correlation correlation_of(const Conv2dBackwardInput& call) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  Correlation g = correlation(s.x, s.y, s.groups, call.precision);
  g.kernel_h = k.kernel_h, g.kernel_w = k.kernel_w;
  g.weight_out = k.area(), g.weight_in = g.outs * k.area(), g.weight_group = g.ins * g.weight_in;
  g.first_h = k.pad_h, g.first_w = k.pad_w, g.step_h = -k.dilation_h, g.step_w = -k.dilation_w;
  g.by_stride_h = Divisor(k.stride_h), g.by_stride_w = Divisor(k.stride_w);
  return g;
}

Correlation correlation_of(const LinearForward& call) { return linear(call.y_dims, call.x_dims, call.x_dims.c, 1, call.precision); }
Correlation correlation_of(const LinearBackwardInput& call) { return linear(call.x_dims, call.y_dims, 1, call.x_dims.c, call.precision); }

// Whether neighbouring outputs look at the input in steps that a thread has to find out.
bool strided(const Conv2dBackwardInput& call) { return call.shape.window.stride_h > 1 || call.shape.window.stride_w > 1; }
template <class C>
bool strided(const C&) {
  return false;
}

void place(Correlation& g, const Conv2dForward& call, const Memory& memory) {
  g.out = memory.at<float>(call.y), g.in = memory.at<float>(call.x);
  g.weights = memory.at<float>(call.w), g.bias = memory.at<float>(call.b);
}
void place(Correlation& g, const LinearForward& call, const Memory& memory) {
  g.out = memory.at<float>(call.y), g.in = memory.at<float>(call.x);
  g.weights = memory.at<float>(call.w), g.bias = memory.at<float>(call.b);
}
template <class C>
void place(Correlation& g, const C& call, const Memory& memory) {
  g.out = memory.at<float>(call.dx), g.in = memory.at<float>(call.dy), g.weights = memory.at<float>(call.w);
}

template <class C>
void enqueue_alone(const C& call, const Memory& memory, const Queue& queue) {
  Correlation g = correlation_of(call);
  place(g, call, memory);
  if (g.precision == Precision::fp32) launch_correlation(g, strided(call), queue);
  else launch_on_tensor_cores(g, strided(call), queue);
}

template <class Partial>
SumParts<Partial> parts_of(const Correlation& g, bool strided, std::int64_t features, const Queue& queue) {
  const Tiling t = tiling_of(g, strided);
  return {.partial = reinterpret_cast<Partial*>(queue.workspace),
          .counters = queue.counters,
          .column_tiles = t.column_tiles,
          .outs = g.groups * g.outs,
          .features = features,
          .arrivals = features == 1 ? t.column_tiles : t.column_tiles * t.filter_tiles};
}

template <class Partial, class C>
Needs needs_of_sums(const C& call, std::int64_t features) {
  const Correlation g = correlation_of(call);
  const Tiling t = tiling_of(g, strided(call));
  return {static_cast<std::size_t>(t.column_tiles * g.groups * g.outs) * sizeof(Partial),
          static_cast<std::size_t>(features == 1 ? t.filter_tiles : 1)};
}

template <class C>
void enqueue_with_statistics(const Together<C, BatchNormStatistics>& call, const Memory& memory, const Queue& queue) {
  const C& of = std::get<C>(call.calls);
  Correlation g = correlation_of(of);
  place(g, of, memory);
  launch_correlation(
      g, false, queue,
      StatisticsSums{parts_of<Moments>(g, false, 1, queue), statistics_of(std::get<BatchNormStatistics>(call.calls), memory)});
}

// Outputs of the layer that are one channel of the batch norm before: a Flatten may lie between them.
std::int64_t features_of(const Conv2dBackwardInput&, const BatchNormBackwardReduce&) { return 1; }
std::int64_t features_of(const LinearBackwardInput&, const BatchNormBackwardReduce& reduce) { return reduce.dims.plane(); }

template <class C>
void enqueue_with_reduce(const Together<C, BatchNormBackwardReduce>& call, const Memory& memory, const Queue& queue) {
  const C& of = std::get<C>(call.calls);
  const BatchNormBackwardReduce& reduce = std::get<BatchNormBackwardReduce>(call.calls);
  Correlation g = correlation_of(of);
  place(g, of, memory);
  launch_correlation(g, strided(of), queue,
                     ReduceSums{.parts = parts_of<Pair>(g, strided(of), features_of(of, reduce), queue),
                                .result = gradient_sums_of(reduce, memory),
                                .act = reduce.act,
                                .y = memory.at<float>(reduce.y),
                                .x = memory.at<float>(reduce.x),
                                .mean = memory.at<float>(reduce.mean),
                                .rstd = memory.at<float>(reduce.rstd)});
}

template <class C>
Needs needs_with_reduce(const Together<C, BatchNormBackwardReduce>& call) {
  const C& of = std::get<C>(call.calls);
  return needs_of_sums<Pair>(of, features_of(of, std::get<BatchNormBackwardReduce>(call.calls)));
}

}  // namespace

Needs needs(const Conv2dForwardStatistics& call) { return needs_of_sums<Moments>(std::get<Conv2dForward>(call.calls), 1); }
Needs needs(const LinearForwardStatistics& call) { return needs_of_sums<Moments>(std::get<LinearForward>(call.calls), 1); }
Needs needs(const Conv2dBackwardInputReduce& call) { return needs_with_reduce(call); }
Needs needs(const LinearBackwardInputReduce& call) { return needs_with_reduce(call); }

void enqueue(const Conv2dForward& call, const Memory& memory, const Queue& queue) { enqueue_alone(call, memory, queue); }
void enqueue(const Conv2dBackwardInput& call, const Memory& memory, const Queue& queue) { enqueue_alone(call, memory, queue); }
void enqueue(const LinearForward& call, const Memory& memory, const Queue& queue) { enqueue_alone(call, memory, queue); }
void enqueue(const LinearBackwardInput& call, const Memory& memory, const Queue& queue) { enqueue_alone(call, memory, queue); }
void enqueue(const Conv2dForwardStatistics& call, const Memory& memory, const Queue& queue) {
  enqueue_with_statistics(call, memory, queue);
}
void enqueue(const LinearForwardStatistics& call, const Memory& memory, const Queue& queue) {
  enqueue_with_statistics(call, memory, queue);
}
void enqueue(const Conv2dBackwardInputReduce& call, const Memory& memory, const Queue& queue) { enqueue_with_reduce(call, memory, queue); }
void enqueue(const LinearBackwardInputReduce& call, const Memory& memory, const Queue& queue) { enqueue_with_reduce(call, memory, queue); }

}  // namespace norma::kernels::cuda
