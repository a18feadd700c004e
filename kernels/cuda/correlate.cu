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
  Taps<taps_per_tile> taps;
};

// At least 4 blocks to a multiprocessor: without saying so compute capability 7.5 is given too few registers.
template <int filters, int positions, class Seen, class Sums>
__global__ void __launch_bounds__(correlate_threads, 4) correlate(Correlation g, Sums sums) {
  Tile<filters>& tile = shared<Tile<filters>>();
  const BlockOf<filters, positions> block(g);
  auto columns = Columns<positions>::template of<Seen>(g, block);
  const float* const weights = block.weights(g);

  float sum[positions][filters];
#pragma unroll
  for (int k = 0; k < filters; ++k) {
    const float b = block.bias(g, k);
#pragma unroll
    for (int i = 0; i < positions; ++i) sum[i][k] = b;
  }

  const auto look_at = [&]<int n>(float(&x)[n][positions], int first) {
    Tap taps[n];
    if constexpr (n % 4 == 0)
#pragma unroll
      for (int t = 0; t < n; t += 4) tile.taps.template four<std::is_same_v<Seen, Inside>>(first + t, taps + t);
    else taps[0] = tile.taps.at(first);
#pragma unroll
    for (int t = 0; t < n; ++t)
#pragma unroll
      for (int i = 0; i < positions; ++i) x[t][i] = look<Seen>(g, columns.pixel[i], taps[t]);
  };
  const auto add = [&]<int n>(const float(&x)[n][positions], int first) {
#pragma unroll
    for (int t = 0; t < n; ++t)
#pragma unroll
      for (int k = 0; k < filters; ++k)
#pragma unroll
        for (int i = 0; i < positions; ++i) sum[i][k] = fmaf(tile.weight[first + t][k], x[t][i], sum[i][k]);
  };
  for (TileOfTaps taps; taps.channel < g.ins;) {
    const int count = taps.count(g, taps_per_tile);
    __syncthreads();
    for (int t = static_cast<int>(threadIdx.x); t < count; t += correlate_threads) {
      const TapAt at = taps.template at<Seen>(g, t);
      tile.taps.set(t, at.tap);
#pragma unroll
      for (int k = 0; k < filters; ++k) tile.weight[t][k] = k < block.live ? weights[k * g.weight_out + at.weight] : 0.0f;
    }
    __syncthreads();
    // Some taps at once: all their inputs are on the way before the first is multiplied.
    int t = 0;
    if constexpr (is_general<Seen> && positions == 1) {
      for (float x[16][1]; t + 16 <= count; t += 16) {
        look_at(x, t);
        add(x, t);
      }
    } else if constexpr (positions == 1) {
      // And those of the next taps, while these are multiplied.
      float x[16][1], ahead[16][1];
      if (count >= 16) look_at(x, 0);
      for (; t + 32 <= count; t += 32) {
        look_at(ahead, t + 16);
        add(x, t);
        if (t + 48 <= count) look_at(x, t + 32);
        add(ahead, t + 16);
      }
      if (t + 16 <= count) {
        add(x, t);
        t += 16;
      }
    }
    float x[4][positions], one[1][positions];
    for (; t + 4 <= count; t += 4) {
      look_at(x, t);
      add(x, t);
    }
    for (; t < count; ++t) {
      look_at(one, t);
      add(one, t);
    }
    taps.advance(g, count, columns.pixel);
  }
  put(g, sums, block, columns, sum);
}

template <class Sums>
void launch_summing(const Correlation& g, const Queue& queue, const Sums& sums) {
  const Tiling t = tiling_of(g);
  const auto start = [&](auto kernel) { launch(kernel, t.blocks(), correlate_threads, queue.stream, tiled(g, t), sums); };
  const auto start_for = [&]<class Seen>(Seen) {
    if constexpr (!is_general<Seen>)
      if (t.filters == 4)
        return t.positions == 4 ? start(named<correlate<4, 4, Seen, Sums>>()) : start(named<correlate<4, 1, Seen, Sums>>());
    t.positions == 4 ? start(named<correlate<8, 4, Seen, Sums>>()) : start(named<correlate<8, 1, Seen, Sums>>());
  };
  if (g.is_general()) start_for(General{});
  else if (g.stays_inside()) start_for(Inside{});
  else start_for(Padded{});
}

template <class Partial>
SumParts<Partial> parts_of(const Correlation& g, std::int64_t features, const Queue& queue) {
  const Tiling t = tiling_of(g);
  return {.partial = reinterpret_cast<Partial*>(queue.workspace),
          .counters = queue.counters,
          .column_tiles = t.column_tiles,
          .outs = g.groups * g.outs,
          .features = features,
          .arrivals = features == 1 ? t.column_tiles : t.column_tiles * t.filter_tiles,
          .by_features = Divisor(features)};
}

template <class Partial>
Needs needs_of(const Correlation& g, std::int64_t features) {
  const Tiling t = tiling_of(g);
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
  g.tile_channels = INT32_MAX / g.in_plane < taps_per_tile ? INT32_MAX / g.in_plane : taps_per_tile;
  g.by_plane = out_view.by_inner, g.samples_by_plane = out_view.rows_by_inner, g.by_width = Divisor(out.w), g.by_lanes = Divisor(out.lanes);
  return g;
}

void launch_correlation(const Correlation& g, const Queue& queue) {
  if (g.precision == Precision::fp32) launch_summing(g, queue, NoSums{});
  else launch_on_tensor_cores(g, queue);
}

void launch_correlation(const Correlation& g, const BatchNormStatistics& statistics, const Memory& memory, const Queue& queue) {
  launch_summing(g, queue, StatisticsSums{parts_of<Moments>(g, 1, queue), statistics_of(statistics, memory)});
}

void launch_correlation(const Correlation& g, const BatchNormBackwardReduce& reduce, std::int64_t features, const Memory& memory,
                        const Queue& queue) {
  launch_summing(g, queue,
                 ReduceSums{.parts = parts_of<Pair>(g, features, queue),
                            .result = gradient_sums_of(reduce, memory),
                            .act = reduce.act,
                            .y = memory.at<float>(reduce.y),
                            .x = memory.at<float>(reduce.x),
                            .mean = memory.at<float>(reduce.mean),
                            .rstd = memory.at<float>(reduce.rstd)});
}

Needs needs_of_statistics(const Correlation& g) { return needs_of<Moments>(g, 1); }
Needs needs_of_reduce(const Correlation& g, std::int64_t features) { return needs_of<Pair>(g, features); }

}  // namespace norma::kernels::cuda
