// A batch norm's sums over the values correlate has just made, while they are in registers. They are the statistics of its output, or the
// sums over the gradient that it is. Each block leaves a part for each of its filters; the last one of a channel adds up the channel's.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/batch_norm.cuh"

namespace norma::kernels::cuda {

inline constexpr int correlate_threads = 128, correlate_warps = correlate_threads / warp;

struct NoSums {};

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
  Divisor by_features;

  // The block's own sums are in the threads below `live`. Returns true, in every thread, if all blocks of its channels have left theirs.
  // All threads must call.
  __device__ __forceinline__ bool leave(const SumTile& tile, const Partial& mine) const {
    if (static_cast<int>(threadIdx.x) < tile.live) partial[tile.column_tile * outs + tile.first + threadIdx.x] = mine;
    return last_to_arrive(counters + (features == 1 ? tile.filter_tile : 0), arrivals);
  }

  // As many lanes to a channel as let the block add up all channels at once, 4 to 32.
  template <class Result>
  __device__ __forceinline__ void finish(const SumTile& tile, const Result& result) const {
    const std::int64_t begin = features == 1 ? tile.first : 0, end = features == 1 ? tile.first + tile.live : outs / features;
    int width = warp;
    while (width > 4 && (end - begin) * width > correlate_threads) width /= 2;
    const int lane = static_cast<int>(threadIdx.x) & (width - 1), channels = correlate_threads / width;
    const std::uint32_t parts = static_cast<std::uint32_t>(column_tiles * features);
    for (std::int64_t first = begin; first < end; first += channels) {
      const std::int64_t channel = first + threadIdx.x / static_cast<unsigned>(width);
      const Partial* const of_channel = partial + channel * features;
      const auto part = [&](std::uint32_t k) {
        const Divisor::Result at = by_features.divide(k);
        return of_channel[at.quotient * outs + at.remainder];
      };
      const Partial sum = merge_parts(part, channel < end ? parts : 0, lane, width);
      if (lane == 0 && channel < end) result.write(channel, sum);
    }
  }
};

// Adds up every warp's sums for each filter; the threads below `filters` hold the block's sums.
template <int filters>
__device__ __forceinline__ Pair sum_over_block(const float (&a)[filters], const float (&b)[filters]) {
  constexpr int sums = 2 * filters, lanes_of_sum = warp / sums;
  struct Parts {
    double of_warp[correlate_warps][sums];
  };
  Parts& parts = shared<Parts>();
  double both[sums];
#pragma unroll
  for (int k = 0; k < filters; ++k) both[k] = static_cast<double>(a[k]), both[filters + k] = static_cast<double>(b[k]);
  warp_sum_scatter(both);
  if (lane_index() % lanes_of_sum == 0) parts.of_warp[warp_index()][lane_index() / lanes_of_sum] = both[0];
  __syncthreads();
  Pair sum{0, 0};
  if (static_cast<int>(threadIdx.x) < filters)
#pragma unroll
    for (int w = 0; w < correlate_warps; ++w) sum = merge(sum, {parts.of_warp[w][threadIdx.x], parts.of_warp[w][filters + threadIdx.x]});
  return sum;
}

struct StatisticsSums {
  SumParts<Moments> parts;
  Statistics result;

  // The pivot of a filter is the first value of the block's first thread. It is near the data, and equal to constant data.
  template <int positions, int filters>
  __device__ __forceinline__ bool leave(const float (&made)[positions][filters], const std::int64_t (&)[positions],
                                        const bool (&counts)[positions], std::int64_t, const SumTile& tile) const {
    struct Shared {
      float pivot[filters];
      int count[correlate_warps];
    };
    Shared& common = shared<Shared>();
    int count = 0;
#pragma unroll
    for (int i = 0; i < positions; ++i) count += __popc(__ballot_sync(all_lanes, counts[i]));
    if (lane_index() == 0) common.count[warp_index()] = count;
    if (threadIdx.x == 0)
#pragma unroll
      for (int k = 0; k < filters; ++k) common.pivot[k] = made[0][k];
    __syncthreads();
    float sums[filters] = {}, squares[filters] = {};
#pragma unroll
    for (int k = 0; k < filters; ++k) {
      const float pivot = common.pivot[k];
#pragma unroll
      for (int i = 0; i < positions; ++i) {
        const float d = counts[i] ? made[i][k] - pivot : 0.0f;
        sums[k] += d;
        squares[k] = fmaf(d, d, squares[k]);
      }
    }
    const Pair sum = sum_over_block(sums, squares);
    Moments mine{0, 0, 0};
    count = 0;
#pragma unroll
    for (int w = 0; w < correlate_warps; ++w) count += common.count[w];
    if (count > 0 && static_cast<int>(threadIdx.x) < filters) {
      const double m = static_cast<double>(count), mean = sum.a / m, left = sum.b - sum.a * mean;
      mine = {m, static_cast<double>(common.pivot[threadIdx.x]) + mean, left < 0 ? 0 : left};  // below 0 by rounding only; NaN stays
    }
    return parts.leave(tile, mine);
  }
  __device__ __forceinline__ void finish(const SumTile& tile) const { parts.finish(tile, result); }
};

struct ReduceSums {
  SumParts<Pair> parts;
  GradientSums result;
  Activation act;
  const float *y, *x, *mean, *rstd;

  // Padding lanes of the output are 0 and add 0.
  template <int positions, int filters>
  __device__ __forceinline__ bool leave(const float (&made)[positions][filters], const std::int64_t (&out)[positions],
                                        const bool (&)[positions], std::int64_t plane, const SumTile& tile) const {
    float gx[filters] = {}, g_sum[filters] = {};
#pragma unroll
    for (int k = 0; k < filters; ++k) {
      if (k >= tile.live) continue;
      const std::uint32_t channel = parts.by_features.quotient(static_cast<std::uint32_t>(tile.first + k));
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
    return parts.leave(tile, sum_over_block(gx, g_sum));
  }
  __device__ __forceinline__ void finish(const SumTile& tile) const { parts.finish(tile, result); }
};

}  // namespace norma::kernels::cuda
