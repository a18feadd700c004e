// The engine of convolutions and linear layers, forward and backward to their input. It adds up weights times the inputs in a window.
//
// A thread makes `positions` pixels of one sample each and `filters` channels of the output. Neighbouring threads are neighbouring samples
// of a pack, or neighbouring pixels if a pack is one sample. The block's weights pass through shared memory, where all threads read the
// same four at a time. Every output is one chain of fused multiply-adds in the order (channel, row, column).
// If a batch norm sums over the result, the block sums it while it is in registers (correlate_sums.cuh).
#include "kernels/cuda/correlate.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int taps_per_tile = 128;

// Aligned so that four weights are one load.
template <int filters>
struct alignas(16) Tile {
  float weight[taps_per_tile][filters];
  Tap tap[taps_per_tile];
};

// At least 4 blocks to a multiprocessor: without saying so compute capability 7.5 is given too few registers.
template <int filters, int positions, class Seen, class Sums>
__global__ void __launch_bounds__(correlate_threads, 4) correlate(Correlation g, Sums sums) {
  Tile<filters>& tile = shared<Tile<filters>>();
  const BlockOf<filters, positions> block(g);
  const auto columns = Columns<positions>::template of<is_strided<Seen>>(g, block);
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
      const TapAt at = tap_at<is_strided<Seen>>(g, first_tap + t);
      tile.tap[t] = at.tap;
#pragma unroll
      for (int k = 0; k < filters; ++k) tile.weight[t][k] = k < block.live ? weights[k * g.weight_out + at.weight] : 0.0f;
    }
    __syncthreads();
    // Some taps at once: all their inputs are on the way before the first is multiplied.
    const auto add = [&]<int taps_at_once>(int first) {
      float x[taps_at_once][positions];
#pragma unroll
      for (int t = 0; t < taps_at_once; ++t)
#pragma unroll
        for (int i = 0; i < positions; ++i) x[t][i] = look<Seen>(g, columns.pixel[i], tile.tap[first + t]);
#pragma unroll
      for (int t = 0; t < taps_at_once; ++t)
#pragma unroll
        for (int k = 0; k < filters; ++k)
#pragma unroll
          for (int i = 0; i < positions; ++i) sum[i][k] = fmaf(tile.weight[first + t][k], x[t][i], sum[i][k]);
    };
    constexpr int many = positions == 1 ? 16 : 4;
    int t = 0;
    for (; t + many <= count; t += many) add.template operator()<many>(t);
    if constexpr (many > 4)
      for (; t + 4 <= count; t += 4) add.template operator()<4>(t);
    for (; t < count; ++t) add.template operator()<1>(t);
  }
  put(g, sums, block, columns, sum);
}

template <class Sums>
void launch_summing(const Correlation& g, bool strided, const Queue& queue, const Sums& sums) {
  const Tiling t = tiling_of(g, strided);
  const auto start = [&](auto kernel) { launch(kernel, t.column_tiles * t.filter_tiles, correlate_threads, queue.stream, g, sums); };
  if constexpr (Sums::can_be_strided)
    if (strided) return t.positions == 4 ? start(named<correlate<8, 4, Strided, Sums>>()) : start(named<correlate<8, 1, Strided, Sums>>());
  const auto start_for = [&]<class Seen>(Seen) {
    if (t.filters == 8) t.positions == 4 ? start(named<correlate<8, 4, Seen, Sums>>()) : start(named<correlate<8, 1, Seen, Sums>>());
    else t.positions == 4 ? start(named<correlate<4, 4, Seen, Sums>>()) : start(named<correlate<4, 1, Seen, Sums>>());
  };
  g.stays_inside() ? start_for(Inside{}) : start_for(Padded{});
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

template <class Partial>
Needs needs_of(const Correlation& g, bool strided, std::int64_t features) {
  const Tiling t = tiling_of(g, strided);
  return {static_cast<std::size_t>(t.column_tiles * g.groups * g.outs) * sizeof(Partial),
          static_cast<std::size_t>(features == 1 ? t.filter_tiles : 1)};
}

}  // namespace

Correlation correlation(const Dims& out, const Dims& in, std::int64_t groups, Precision precision) {
  const View out_view(out), in_view(in);  // for their checks
  Correlation g{};
  g.precision = precision, g.groups = groups;
  g.outs = out.c / groups, g.ins = in.c / groups;
  g.samples = out.n, g.lanes = out.lanes;
  g.in_h = static_cast<std::int32_t>(in.h), g.in_w = static_cast<std::int32_t>(in.w);
  g.out_h = static_cast<std::int32_t>(out.h), g.out_w = static_cast<std::int32_t>(out.w);
  g.out_plane = out_view.inner, g.in_plane = in_view.inner;
  g.columns = out_view.outer * out_view.inner;
  g.by_plane = out_view.by_inner, g.by_width = Divisor(out.w), g.by_lanes = Divisor(out.lanes);
  return g;
}

void launch_correlation(const Correlation& g, bool strided, const Queue& queue) {
  if (g.precision == Precision::fp32) launch_summing(g, strided, queue, NoSums{});
  else launch_on_tensor_cores(g, strided, queue);
}

void launch_correlation(const Correlation& g, const BatchNormStatistics& statistics, const Memory& memory, const Queue& queue) {
  launch_summing(g, false, queue, StatisticsSums{parts_of<Moments>(g, false, 1, queue), statistics_of(statistics, memory)});
}

void launch_correlation(const Correlation& g, bool strided, const BatchNormBackwardReduce& reduce, std::int64_t features,
                        const Memory& memory, const Queue& queue) {
  launch_summing(g, strided, queue,
                 ReduceSums{.parts = parts_of<Pair>(g, strided, features, queue),
                            .result = gradient_sums_of(reduce, memory),
                            .act = reduce.act,
                            .y = memory.at<float>(reduce.y),
                            .x = memory.at<float>(reduce.x),
                            .mean = memory.at<float>(reduce.mean),
                            .rstd = memory.at<float>(reduce.rstd)});
}

Needs needs_of_statistics(const Correlation& g) { return needs_of<Moments>(g, false, 1); }
Needs needs_of_reduce(const Correlation& g, bool strided, std::int64_t features) { return needs_of<Pair>(g, strided, features); }

}  // namespace norma::kernels::cuda
