// The engine of the weight gradients of convolutions and linear layers. It sums dy times the window's inputs over all samples and pixels.
//
// A block makes an 8 x 8 tile of weights, (filters) x (taps of the flattened (channel, row, column)). It does so over one part of the
// columns, which are the pixels of all samples. Each thread adds up its columns in 64 registers. The block's lanes and warps are summed in
// fixed order. If a sum is cut in parts the tile's last block adds them in order. The bias is one more tap, whose x is 1.
#include "kernels/cuda/outer_sum.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int tile_filters = 8, tile_taps = 8, tile = tile_filters * tile_taps;

__global__ void __launch_bounds__(outer_threads) outer_sum(OuterSum g) {
  struct Tile {
    TapOf tap[tile_taps];
    float sum[outer_warps][tile];
  };
  Tile& shared_tile = shared<Tile>();
  const OuterTile<tile_filters, tile_taps> block(g);
  if (threadIdx.x < tile_taps) shared_tile.tap[threadIdx.x] = tap_of(g, block.first_tap + threadIdx.x);
  __syncthreads();

  const std::uint32_t count = static_cast<std::uint32_t>(block.columns.end - block.columns.begin);
  float sum[tile] = {};
  for (std::uint32_t i = threadIdx.x; i < count; i += outer_threads) {
    const OuterColumn column(g, block, i);
    float d[tile_filters], x[tile_taps];
#pragma unroll
    for (int k = 0; k < tile_filters; ++k) d[k] = block.first_filter + k < g.filters ? column.dy[k * g.y_plane] : 0.0f;
#pragma unroll
    for (int t = 0; t < tile_taps; ++t) x[t] = column.x(g, shared_tile.tap[t]);
#pragma unroll
    for (int k = 0; k < tile_filters; ++k)
#pragma unroll
      for (int t = 0; t < tile_taps; ++t) sum[k * tile_taps + t] = fmaf(d[k], x[t], sum[k * tile_taps + t]);
  }

  warp_sum_scatter(sum);
  shared_tile.sum[warp_index()][2 * lane_index()] = sum[0];
  shared_tile.sum[warp_index()][2 * lane_index() + 1] = sum[1];
  __syncthreads();
  block.put(g, [&](int o) {
    float total = shared_tile.sum[0][o];
#pragma unroll
    for (int k = 1; k < outer_warps; ++k) total += shared_tile.sum[k][o];
    return total;
  });
}

// Enough blocks for a large GPU, with eight columns to a thread at least. The most is 4096, so that no sum is one long chain; 512 on tensor
// cores, which add without rounding to nearest.
constexpr std::int64_t wanted_blocks = 528, min_columns = 8 * outer_threads, max_columns = 4096 * outer_threads,
                       max_tensor_columns = 512 * outer_threads;

}  // namespace

OuterSum outer_sum_over(const Dims& x, const Dims& y, const Window& window, std::int64_t groups, bool bias, Precision precision) {
  const bool on_tensor_cores = precision != Precision::fp32;
  const View y_view(y), x_view(x);
  OuterSum g{};
  g.precision = precision;
  g.groups = groups, g.filters = y.c / groups, g.channels = x.c / groups;
  g.taps = g.channels * window.area() + (bias ? 1 : 0);
  g.filter_tiles = ceil_div(g.filters, on_tensor_cores ? tensor_filters : tile_filters);
  g.tap_tiles = ceil_div(g.taps, on_tensor_cores ? tensor_taps : tile_taps);
  g.columns = y_view.outer * y_view.inner;
  g.y_plane = y_view.inner, g.x_plane = x_view.inner;
  g.samples_by_plane = y_view.rows_by_inner, g.by_area = LargeDivisor(window.area()), g.by_kernel_w = Divisor(window.kernel_w);
  g.by_tiles = Divisor(g.tiles()), g.by_tap_tiles = Divisor(g.tap_tiles), g.by_filter_tiles = Divisor(g.filter_tiles);
  g.by_plane = y_view.by_inner, g.by_width = Divisor(y.w), g.by_lanes = Divisor(y.lanes);
  g.lanes = x.lanes, g.x_h = static_cast<std::int32_t>(x.h), g.x_w = static_cast<std::int32_t>(x.w);
  g.window = window;
  const std::int64_t tiles = g.tiles(), most = ceil_div(g.columns, min_columns);
  const std::int64_t wanted = ceil_div(wanted_blocks, tiles),
                     least = ceil_div(g.columns, on_tensor_cores ? max_tensor_columns : max_columns);
  g.parts = wanted < most ? wanted : most;
  if (g.parts < least) g.parts = least;
  g.by_parts = LargeDivisor(g.parts);
  return g;
}

Needs needs(const OuterSum& g) {
  if (g.parts == 1) return {};
  return {static_cast<std::size_t>(g.parts * g.groups * g.filters * g.taps) * sizeof(float), static_cast<std::size_t>(g.tiles())};
}

void launch_outer_sum(OuterSum g, const Queue& queue) {
  g.partial = reinterpret_cast<float*>(queue.workspace), g.counters = queue.counters;
  if (g.precision != Precision::fp32) return launch_on_tensor_cores(g, queue);
  launch(named<outer_sum>(), g.parts * g.tiles(), outer_threads, queue.stream, g);
}

}  // namespace norma::kernels::cuda
