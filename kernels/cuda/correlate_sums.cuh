// A batch norm's sums over the values correlate has just made, while they are in registers. They are the statistics of its output, or the
// sums over the gradient that it is. Each block leaves a part for each of its filters; the last one of a channel adds up the channel's.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/batch_norm.cuh"

namespace norma::kernels::cuda {

inline constexpr int correlate_threads = 128, correlate_warps = correlate_threads / warp;

struct NoSums {
  static constexpr bool can_be_strided = true;
};

// Outputs of a block: filters first ... of all groups, `live` of them; and the number of its tile in either direction.
struct SumTile {
  std::int64_t column_tile, filter_tile, first;
  int live;
};

// partial[column tile][out]: `features` neighbouring outputs are one channel. With one feature the blocks of a filter tile count by
// themselves, otherwise all blocks together.
template <class Partial>
struct SumParts {
  Partial* partial;
  unsigned* counters;
  std::int64_t column_tiles, outs, features, arrivals;

  // The block's own sums are in the threads below `live`. All threads must call.
  template <class Result>
  __device__ __forceinline__ void finish(const SumTile& tile, const Partial& mine, const Result& result) const {
    if (static_cast<int>(threadIdx.x) < tile.live) partial[tile.column_tile * outs + tile.first + threadIdx.x] = mine;
    if (!last_to_arrive(counters + (features == 1 ? tile.filter_tile : 0), arrivals)) return;
    // Warp: one channel after the other. Each lane takes its share of the parts in order, then the lanes meet.
    const std::int64_t begin = features == 1 ? tile.first : 0, end = features == 1 ? tile.first + tile.live : outs / features;
    const Range share = chunk(column_tiles * features, warp, lane_index());
    for (std::int64_t channel = begin + warp_index(); channel < end; channel += correlate_warps) {
      Partial sum{};
      for (std::int64_t k = share.begin; k < share.end; ++k)
        sum = merge(sum, partial[k / features * outs + channel * features + k % features]);
      sum = warp_merge(sum);
      if (lane_index() == 0) result.write(channel, sum);
    }
  }
};

// Adds up every warp's sums for each filter; the threads below `filters` hold the block's sums.
template <int filters>
__device__ __forceinline__ Pair sum_over_block(const float (&a)[filters], const float (&b)[filters]) {
  struct Parts {
    Pair of_warp[correlate_warps][filters];
  };
  Parts& parts = shared<Parts>();
#pragma unroll
  for (int k = 0; k < filters; ++k) {
    const double sum_a = warp_sum(static_cast<double>(a[k])), sum_b = warp_sum(static_cast<double>(b[k]));
    if (lane_index() == 0) parts.of_warp[warp_index()][k] = {sum_a, sum_b};
  }
  __syncthreads();
  Pair sum{0, 0};
  if (static_cast<int>(threadIdx.x) < filters)
    for (int w = 0; w < correlate_warps; ++w) sum = merge(sum, parts.of_warp[w][threadIdx.x]);
  return sum;
}

struct StatisticsSums {
  static constexpr bool can_be_strided = false;
  SumParts<Moments> parts;
  Statistics result;

  // The pivot of a filter is the first value of the block's first thread. It is near the data, and equal to constant data.
  template <int positions, int filters>
  __device__ __forceinline__ void add(const float (&made)[positions][filters], const std::int64_t (&)[positions],
                                      const bool (&counts)[positions], std::int64_t, const SumTile& tile) const {
    struct Pivots {
      float of[filters];
    };
    Pivots& pivots = shared<Pivots>();
    if (threadIdx.x == 0)
      for (int k = 0; k < filters; ++k) pivots.of[k] = made[0][k];
    __syncthreads();
    float sums[filters] = {}, squares[filters] = {};
    double count = 0;
#pragma unroll
    for (int i = 0; i < positions; ++i) {
      count += counts[i];
#pragma unroll
      for (int k = 0; k < filters; ++k) {
        const float d = counts[i] ? made[i][k] - pivots.of[k] : 0.0f;
        sums[k] += d;
        squares[k] = fmaf(d, d, squares[k]);
      }
    }
    const double m = block_sum<correlate_threads>(count);
    const Pair sum = sum_over_block(sums, squares);
    Moments mine{0, 0, 0};
    if (m > 0 && static_cast<int>(threadIdx.x) < filters) {
      const double left = sum.b - sum.a * sum.a / m;
      mine = {m, static_cast<double>(pivots.of[threadIdx.x]) + sum.a / m, left < 0 ? 0 : left};  // below 0 by rounding only; NaN stays
    }
    parts.finish(tile, mine, result);
  }
};

struct ReduceSums {
  static constexpr bool can_be_strided = true;
  SumParts<Pair> parts;
  GradientSums result;
  Activation act;
  const float *y, *x, *mean, *rstd;

  // Padding lanes of the output are 0 and add 0.
  template <int positions, int filters>
  __device__ __forceinline__ void add(const float (&made)[positions][filters], const std::int64_t (&out)[positions],
                                      const bool (&)[positions], std::int64_t plane, const SumTile& tile) const {
    float gx[filters] = {}, g_sum[filters] = {};
#pragma unroll
    for (int k = 0; k < filters; ++k) {
      if (k >= tile.live) continue;
      const std::int64_t channel = (tile.first + k) / parts.features;
      const float m = mean[channel], r = rstd[channel];
#pragma unroll
      for (int i = 0; i < positions; ++i) {
        if (out[i] < 0) continue;
        const std::int64_t at = out[i] + k * plane;
        const float g = folded_gradient(act, made[i][k], act == Activation::none ? 0.0f : y[at]);
        gx[k] = fmaf(g, (x[at] - m) * r, gx[k]);
        g_sum[k] += g;
      }
    }
    parts.finish(tile, sum_over_block(gx, g_sum), result);
  }
};

}  // namespace norma::kernels::cuda
