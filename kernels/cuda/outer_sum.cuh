// Shared by the kernels of outer_sum.cu and outer_sum_tensor.cu: the sum, a thread's view of it, and the share of each block.
#pragma once
#include "kernels/cuda/backend.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

constexpr int outer_threads = 128, outer_warps = outer_threads / warp;

struct OuterSum {
  float *dw, *db;      // db may be null
  float* partial;      // [parts][filters][taps + (1: with bias)], or unused: one part
  unsigned* counters;  // [tiles], of parts that are made
  const float *dy, *x;
  std::int64_t groups = 1, filters = 0, channels = 0;  // of one group of channels
  std::int64_t taps = 0;                               // of a filter, with the bias
  std::int64_t columns = 0, parts = 1, y_plane = 0, x_plane = 0;
  std::int64_t filter_tiles = 0, tap_tiles = 0;  // of one group of channels
  Divisor by_plane, by_width, by_lanes;          // of y
  LargeDivisor samples_by_plane, by_area;        // of y; of a window
  LargeDivisor by_parts;
  Divisor by_kernel_w, by_tiles, by_tap_tiles, by_filter_tiles;
  std::int32_t lanes = 1, x_h = 1, x_w = 1;
  Window window;
  Precision precision = Precision::fp32;

  constexpr std::int64_t tiles() const { return groups * filter_tiles * tap_tiles; }
};

// One of a tile's taps. The bias is one more, whose x is 1.
struct TapOf {
  std::int64_t offset;  // from the window's corner
  std::int32_t h, w;
  enum Kind : std::int32_t { none, weight, bias } kind;
};

__device__ __forceinline__ TapOf tap_of(const OuterSum& g, std::int64_t tap) {
  const std::int64_t weights = g.channels * g.window.area();
  if (tap >= weights) return {0, 0, 0, g.db && tap == weights ? TapOf::bias : TapOf::none};
  const LargeDivisor::Result channel = g.by_area.divide(tap);
  const Divisor::Result at = g.by_kernel_w.divide(static_cast<std::uint32_t>(channel.remainder));
  const std::int32_t r = static_cast<std::int32_t>(at.quotient), s = static_cast<std::int32_t>(at.remainder);
  const std::int32_t h = r * g.window.dilation_h, w = s * g.window.dilation_w;
  return {channel.quotient * g.x_plane + (static_cast<std::int64_t>(h) * g.x_w + w) * g.lanes, h, w, TapOf::weight};
}

// The block's (filters) x (taps) tile of weights, and the part of the columns that it sums over. Tiles of one part are neighbours: they
// read the same columns.
template <int filters, int taps>
struct OuterTile {
  std::int64_t part, number, group, first_filter, first_tap;  // number: among the part's
  Range columns;
  std::int64_t first_sample;  // of the columns; and the first column's position in it
  std::uint32_t first_position;

  __device__ __forceinline__ explicit OuterTile(const OuterSum& g) {
    const Divisor::Result tile = g.by_tiles.divide(blockIdx.x), filter_tile = g.by_tap_tiles.divide(tile.remainder),
                          of_group = g.by_filter_tiles.divide(filter_tile.quotient);
    part = tile.quotient, number = tile.remainder, group = of_group.quotient;
    first_filter = std::int64_t{of_group.remainder} * filters, first_tap = std::int64_t{filter_tile.remainder} * taps;
    columns = {g.by_parts.divide(g.columns * part).quotient, g.by_parts.divide(g.columns * (part + 1)).quotient};  // chunk()
    const LargeDivisor::Result first = g.samples_by_plane.divide(columns.begin);
    first_sample = first.quotient, first_position = static_cast<std::uint32_t>(first.remainder);
  }

  // Puts output o = filter * taps + tap of the tile where it belongs, or in the part's sums, which the last part's block adds in order.
  // A thread has those from threadIdx.x on, every outer_threads, as sum(o). All threads must call.
  template <class Sum>
  __device__ __forceinline__ void put(const OuterSum& g, const Sum& sum) const {
    const std::int64_t sums = g.groups * g.filters * g.taps, weights = g.channels * g.window.area();
    const auto for_each = [&](const auto& f) {
      for (int o = static_cast<int>(threadIdx.x); o < filters * taps; o += outer_threads) {
        const std::int64_t filter = first_filter + o / taps, tap = first_tap + o % taps;
        if (filter < g.filters && tap < g.taps) f(o, group * g.filters + filter, tap);
      }
    };
    if (g.parts > 1) {
      for_each([&](int o, std::int64_t row, std::int64_t tap) { g.partial[part * sums + row * g.taps + tap] = sum(o); });
      if (!last_to_arrive(g.counters + number, g.parts)) return;
    }
    for_each([&](int o, std::int64_t row, std::int64_t tap) {
      float total = 0;
      if (g.parts == 1) total = sum(o);
      else
        for (std::int64_t k = 0; k < g.parts; ++k) total += g.partial[k * sums + row * g.taps + tap];
      if (tap < weights) g.dw[row * weights + tap] = total;
      else g.db[row] = total;
    });
  }
};

// A pixel of a sample, as the gradient and the window see it.
struct OuterColumn {
  const float *dy, *corner;
  std::int32_t h, w;  // of the corner

  // `position` is counted from the beginning of the tile's columns.
  template <class Tile>
  __device__ __forceinline__ OuterColumn(const OuterSum& g, const Tile& tile, std::uint32_t position) {
    const Divisor::Result plane = g.by_plane.divide(tile.first_position + position), at = g.by_lanes.divide(plane.remainder),
                          row = g.by_width.divide(at.quotient);
    const std::int64_t n = tile.first_sample + plane.quotient;
    h = static_cast<std::int32_t>(row.quotient) * g.window.stride_h - g.window.pad_h;
    w = static_cast<std::int32_t>(row.remainder) * g.window.stride_w - g.window.pad_w;
    dy = g.dy + ((n * g.groups + tile.group) * g.filters + tile.first_filter) * g.y_plane + plane.remainder;
    corner =
        g.x + (n * g.groups + tile.group) * g.channels * g.x_plane + (static_cast<std::int64_t>(h) * g.x_w + w) * g.lanes + at.remainder;
  }
  __device__ __forceinline__ float x(const OuterSum& g, const TapOf& tap) const {
    const bool inside = tap.kind == TapOf::weight && static_cast<std::uint32_t>(h + tap.h) < static_cast<std::uint32_t>(g.x_h) &&
                        static_cast<std::uint32_t>(w + tap.w) < static_cast<std::uint32_t>(g.x_w);
    return inside ? corner[tap.offset] : tap.kind == TapOf::bias ? 1.0f : 0.0f;
  }
};

// Launches g with precision tf32 or bf16: outer_sum_tensor.cu. Its blocks make tiles of this size.
inline constexpr int tensor_filters = 32, tensor_taps = 32;
void launch_on_tensor_cores(const OuterSum& g, const Queue& queue);

// conv2d.cu and linear.cu call these. Returns the OuterSum of tensors with these dims. Pointers are not set.
OuterSum outer_sum_over(const Dims& x, const Dims& y, const Window& window, std::int64_t groups, bool bias, Precision precision);
Needs needs(const OuterSum& g);
void launch_outer_sum(OuterSum g, const Queue& queue);

}  // namespace norma::kernels::cuda
