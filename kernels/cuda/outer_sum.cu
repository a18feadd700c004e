// Weight gradients of convolutions and linear layers: sums over all samples and pixels of dy times what the window saw.
//
// A block makes an 8 x 8 tile of weights, (filters) x (taps of the flattened (channel, row, column)), over one part of the columns: the
// pixels of all samples. Each thread adds up its columns in 64 registers, the block's lanes and warps are summed in fixed order, and
// where a sum is cut in parts the tile's last block adds them in order. The bias is one more tap, whose x is 1.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int outer_threads = 128, tile_filters = 8, tile_taps = 8, tile = tile_filters * tile_taps;

struct OuterSum {
  float *dw, *db;      // db may be null
  float* partial;      // [parts][filters][taps + (1: with bias)], or unused: one part
  unsigned* counters;  // [tiles], of parts that are made
  const float *dy, *x;
  std::int64_t groups = 1, filters = 0, channels = 0;  // of one group of channels
  std::int64_t taps = 0;                               // of a filter, with the bias
  std::int64_t columns = 0, parts = 1, y_plane = 0, x_plane = 0;
  Divisor by_plane, by_width, by_lanes;  // of y
  std::int32_t lanes = 1, x_h = 1, x_w = 1;
  Window window;

  std::int64_t filter_tiles() const { return ceil_div(filters, tile_filters); }
  std::int64_t tap_tiles() const { return ceil_div(taps, tile_taps); }
  std::int64_t tiles() const { return groups * filter_tiles() * tap_tiles(); }
};

// One of a tile's taps.
struct TapOf {
  std::int64_t offset;  // from the window's corner
  std::int32_t h, w;
  enum Kind : std::int32_t { none, weight, bias } kind;
};

__device__ __forceinline__ TapOf tap_of(const OuterSum& g, std::int64_t tap) {
  const std::int64_t area = g.window.area(), weights = g.channels * area;
  if (tap >= weights) return {0, 0, 0, g.db && tap == weights ? TapOf::bias : TapOf::none};
  const std::int64_t channel = tap / area;
  const std::int32_t at = static_cast<std::int32_t>(tap - channel * area), r = at / g.window.kernel_w, s = at - r * g.window.kernel_w;
  const std::int32_t h = r * g.window.dilation_h, w = s * g.window.dilation_w;
  return {channel * g.x_plane + (static_cast<std::int64_t>(h) * g.x_w + w) * g.lanes, h, w, TapOf::weight};
}

__global__ void __launch_bounds__(outer_threads) outer_sum(OuterSum g, std::int64_t filter_tiles, std::int64_t tap_tiles) {
  struct Tile {
    TapOf tap[tile_taps];
    float sum[outer_threads / warp][tile];
  };
  Tile& block = shared<Tile>();
  // Tiles of one part are neighbours: they read the same columns.
  const std::int64_t tiles = g.groups * filter_tiles * tap_tiles, part = blockIdx.x / tiles, of_part = blockIdx.x - part * tiles;
  const std::int64_t tap_tile = of_part % tap_tiles, filter_tile = of_part / tap_tiles % filter_tiles,
                     group = of_part / tap_tiles / filter_tiles;
  const std::int64_t first_filter = filter_tile * tile_filters, first_tap = tap_tile * tile_taps;
  if (threadIdx.x < tile_taps) block.tap[threadIdx.x] = tap_of(g, first_tap + threadIdx.x);
  __syncthreads();

  const Range range = chunk(g.columns, g.parts, part);
  const std::int64_t base_sample = range.begin / g.y_plane;
  const std::uint32_t base_position = static_cast<std::uint32_t>(range.begin - base_sample * g.y_plane);
  const std::uint32_t count = static_cast<std::uint32_t>(range.end - range.begin);
  float sum[tile] = {};
  for (std::uint32_t i = threadIdx.x; i < count; i += outer_threads) {
    const Divisor::Result plane = g.by_plane.divide(base_position + i), at = g.by_lanes.divide(plane.remainder),
                          row = g.by_width.divide(at.quotient);
    const std::int64_t n = base_sample + plane.quotient;
    const std::int32_t h = static_cast<std::int32_t>(row.quotient) * g.window.stride_h - g.window.pad_h;
    const std::int32_t w = static_cast<std::int32_t>(row.remainder) * g.window.stride_w - g.window.pad_w;
    const float* const dy = g.dy + ((n * g.groups + group) * g.filters + first_filter) * g.y_plane + plane.remainder;
    const float* const corner =
        g.x + (n * g.groups + group) * g.channels * g.x_plane + (static_cast<std::int64_t>(h) * g.x_w + w) * g.lanes + at.remainder;
    float d[tile_filters], x[tile_taps];
#pragma unroll
    for (int k = 0; k < tile_filters; ++k) d[k] = first_filter + k < g.filters ? dy[k * g.y_plane] : 0.0f;
#pragma unroll
    for (int t = 0; t < tile_taps; ++t) {
      const TapOf tap = block.tap[t];
      const bool inside = tap.kind == TapOf::weight && static_cast<std::uint32_t>(h + tap.h) < static_cast<std::uint32_t>(g.x_h) &&
                          static_cast<std::uint32_t>(w + tap.w) < static_cast<std::uint32_t>(g.x_w);
      x[t] = inside ? corner[tap.offset] : tap.kind == TapOf::bias ? 1.0f : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < tile_filters; ++k)
#pragma unroll
      for (int t = 0; t < tile_taps; ++t) sum[k * tile_taps + t] = fmaf(d[k], x[t], sum[k * tile_taps + t]);
  }

  warp_sum_scatter(sum);
  block.sum[warp_index()][2 * lane_index()] = sum[0];
  block.sum[warp_index()][2 * lane_index() + 1] = sum[1];
  __syncthreads();
  const std::int64_t filter = first_filter + threadIdx.x / tile_taps, tap = first_tap + threadIdx.x % tile_taps;
  const std::int64_t row = group * g.filters + filter, sums = g.groups * g.filters * g.taps;
  const bool live = threadIdx.x < tile && filter < g.filters && tap < g.taps;
  float total = 0;
  if (live) {
    total = block.sum[0][threadIdx.x];
#pragma unroll
    for (int k = 1; k < outer_threads / warp; ++k) total += block.sum[k][threadIdx.x];
  }
  if (g.parts > 1) {
    if (live) g.partial[part * sums + row * g.taps + tap] = total;
    if (!last_to_arrive(g.counters + of_part, g.parts)) return;
    total = 0;
    if (live)
      for (std::int64_t k = 0; k < g.parts; ++k) total += g.partial[k * sums + row * g.taps + tap];
  }
  const std::int64_t weights = g.channels * g.window.area();
  if (!live) return;
  if (tap < weights) g.dw[row * weights + tap] = total;
  else g.db[row] = total;
}

// Enough blocks for a large GPU, eight columns to a thread at least, and 4096 at most, so that no sum is one long chain.
constexpr std::int64_t wanted_blocks = 528, min_columns = 8 * outer_threads, max_columns = 4096 * outer_threads;

OuterSum outer_sum_of(const Dims& x, const Dims& y, const Window& window, std::int64_t groups, bool bias) {
  const View y_view(y), x_view(x);
  OuterSum g{};
  g.groups = groups, g.filters = y.c / groups, g.channels = x.c / groups;
  g.taps = g.channels * window.area() + (bias ? 1 : 0);
  g.columns = y_view.outer * y_view.inner;
  g.y_plane = y_view.inner, g.x_plane = x_view.inner;
  g.by_plane = y_view.by_inner, g.by_width = Divisor(y.w), g.by_lanes = Divisor(y.lanes);
  g.lanes = x.lanes, g.x_h = static_cast<std::int32_t>(x.h), g.x_w = static_cast<std::int32_t>(x.w);
  g.window = window;
  const std::int64_t tiles = g.tiles(), most = ceil_div(g.columns, min_columns);
  const std::int64_t wanted = ceil_div(wanted_blocks, tiles), least = ceil_div(g.columns, max_columns);
  g.parts = wanted < most ? wanted : most;
  if (g.parts < least) g.parts = least;
  return g;
}

Needs needs(const OuterSum& g) {
  if (g.parts == 1) return {};
  return {static_cast<std::size_t>(g.parts * g.groups * g.filters * g.taps) * sizeof(float), static_cast<std::size_t>(g.tiles())};
}

OuterSum outer_sum_of(const Conv2dBackwardWeight& call) {
  return outer_sum_of(call.shape.x, call.shape.y, call.shape.window, call.shape.groups, static_cast<bool>(call.db));
}
OuterSum outer_sum_of(const LinearBackwardWeight& call) {
  return outer_sum_of(call.x_dims, call.y_dims, Window{}, 1, static_cast<bool>(call.db));
}

template <class C>
void enqueue_outer_sum(const C& call, const Memory& memory, const Queue& queue) {
  OuterSum g = outer_sum_of(call);
  g.dw = memory.at<float>(call.dw), g.db = memory.at<float>(call.db);
  g.dy = memory.at<float>(call.dy), g.x = memory.at<float>(call.x);
  g.partial = reinterpret_cast<float*>(queue.workspace), g.counters = queue.counters;
  launch(outer_sum, g.parts * g.tiles(), outer_threads, queue.stream, g, g.filter_tiles(), g.tap_tiles());
}

}  // namespace

Needs needs(const Conv2dBackwardWeight& call) { return needs(outer_sum_of(call)); }
Needs needs(const LinearBackwardWeight& call) { return needs(outer_sum_of(call)); }

void enqueue(const Conv2dBackwardWeight& call, const Memory& memory, const Queue& queue) { enqueue_outer_sum(call, memory, queue); }
void enqueue(const LinearBackwardWeight& call, const Memory& memory, const Queue& queue) { enqueue_outer_sum(call, memory, queue); }

}  // namespace norma::kernels::cuda
