// Shared by the kernels of correlate.cu and correlate_tensor.cu: the correlation, a thread's view of it, and the share of each block.
#pragma once
#include <type_traits>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/correlate_sums.cuh"
#include "kernels/cuda/edges.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

//   out[n, group*outs + k, p, q] = bias[k] + sum over (c, r, s) of weight(k, c, r, s) * in[n, group*ins + c, row, column].
// A forward pass sees row = p*stride - pad + r*dilation. A backward pass by a stride sees (p + pad - r*dilation) / stride if that is whole.
// With stride 1 it is a forward pass with padding and dilation negated.
struct Correlation {
  float* out;
  const float *in, *weights, *bias;                              // bias may be null
  std::int64_t groups = 1, outs = 0, ins = 0;                    // channels of one group of channels
  std::int64_t weight_out = 0, weight_in = 0, weight_group = 0;  // from one output channel, input channel, group to the next
  std::int64_t columns = 0, out_plane = 0, in_plane = 0;         // pixels times lanes: all of out's, a plane's
  Divisor by_plane, by_width, by_lanes;                          // of out
  LargeDivisor samples_by_plane;                                 // of out
  Divisor by_filter_tiles, by_tiles_of_group;                    // of the tiling
  std::int64_t samples = 0;                                      // of the batch
  std::int64_t tile_channels = 1;                                // of in, that 31 bits can count the elements of
  std::int32_t lanes = 1, in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  std::int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, first_h = 0, first_w = 0, step_h = 1, step_w = 1;
  Divisor by_stride_h, by_stride_w, by_area, by_kernel_w, by_step_h, by_step_w;
  Precision precision = Precision::fp32;

  // sign: 1 where windows are looked at forwards, -1 backwards.
  void set_window(const Window& window, std::int32_t sign) {
    kernel_h = window.kernel_h, kernel_w = window.kernel_w;
    step_h = sign * window.dilation_h, step_w = sign * window.dilation_w;
    by_area = Divisor(area()), by_kernel_w = Divisor(kernel_w);
    by_step_h = Divisor(window.dilation_h), by_step_w = Divisor(window.dilation_w);
  }
  constexpr std::int64_t area() const { return std::int64_t{kernel_h} * kernel_w; }
  // Returns true if windows are General: neighbouring outputs see in in steps, or a window is too large for Padded.
  constexpr bool is_general() const { return by_stride_h.d > 1 || by_stride_w.d > 1 || (!stays_inside() && !has_bits()); }
  // Returns true if a window's rows and columns have a bit each.
  constexpr bool has_bits() const { return kernel_h <= most_bits && kernel_w <= most_bits; }
  // Returns true if no window leaves the image: as with linear layers and without padding. Of windows that are not General.
  constexpr bool stays_inside() const {
    return windows_inside(out_h, stride_h, first_h, kernel_h, step_h, in_h) &&
           windows_inside(out_w, stride_w, first_w, kernel_w, step_w, in_w);
  }
};

struct Tap {
  std::int32_t offset;  // of its channel, from the tile's first, and, unless General, of its row and column
  std::int32_t h, w;    // where it is in the window; Padded: a bit for its row, and one for its column
};

// A tap that no pixel sees.
template <class Seen>
__device__ __forceinline__ Tap no_tap() {
  constexpr std::int32_t nowhere = is_padded<Seen> ? 0 : INT32_MIN / 2;
  return {0, nowhere, nowhere};
}

// A tile of taps in shared memory. Threads read four at a time.
template <int n>
struct alignas(16) Taps {
  std::int32_t offset[n], h[n], w[n];

  __device__ __forceinline__ void set(int t, const Tap& tap) { offset[t] = tap.offset, h[t] = tap.h, w[t] = tap.w; }
  __device__ __forceinline__ Tap at(int t) const { return {offset[t], h[t], w[t]}; }
  // first: a multiple of 4.
  template <bool only_offsets>
  __device__ __forceinline__ void four(int first, Tap* taps) const {
    const auto read = [&](const std::int32_t* p, auto set_one) {
      const int4 all = *reinterpret_cast<const int4*>(p + first);
      set_one(taps[0], all.x), set_one(taps[1], all.y), set_one(taps[2], all.z), set_one(taps[3], all.w);
    };
    read(offset, [](Tap& tap, int v) { tap.offset = v; });
    if constexpr (!only_offsets) {
      read(h, [](Tap& tap, int v) { tap.h = v; });
      read(w, [](Tap& tap, int v) { tap.w = v; });
    }
  }
};

// A thread's pixel. A thread without one has the first pixel of the first sample, and sees none.
struct Pixel {
  const float* origin;  // of its sample and lane, in the first channel of the tile of taps; unless General, of the window's corner
  std::int32_t h, w;    // where its window begins; Padded: the bits of the rows and columns that are in the image
};

template <class Seen>
__device__ __forceinline__ float look(const Correlation& g, const Pixel& pixel, const Tap& tap) {
  const float* const there = pixel.origin + tap.offset;
  if constexpr (std::is_same_v<Seen, Inside>) {
    return *there;
  } else if constexpr (is_padded<Seen>) {
    return (pixel.h & tap.h) != 0 && (pixel.w & tap.w) != 0 ? *there : 0.0f;
  } else {
    const std::int32_t h = pixel.h + tap.h, w = pixel.w + tap.w;
    if (h < 0 || w < 0) return 0.0f;
    const Divisor::Result row = g.by_stride_h.divide(static_cast<std::uint32_t>(h)),
                          column = g.by_stride_w.divide(static_cast<std::uint32_t>(w));
    if (row.remainder || column.remainder || row.quotient >= static_cast<std::uint32_t>(g.in_h) ||
        column.quotient >= static_cast<std::uint32_t>(g.in_w))
      return 0.0f;
    return there[(static_cast<std::int64_t>(row.quotient) * g.in_w + column.quotient) * g.lanes];
  }
}

// The part of out that a block makes: `filters` channels of correlate_threads * positions columns.
template <int filters, int positions>
struct BlockOf {
  std::int64_t column_tile, filter_tile, group, first_filter;  // first_filter: in its group
  int live;                                                    // of the filters

  __device__ __forceinline__ explicit BlockOf(const Correlation& g) {
    const Divisor::Result tile = g.by_filter_tiles.divide(blockIdx.x), of_group = g.by_tiles_of_group.divide(tile.remainder);
    column_tile = tile.quotient, filter_tile = tile.remainder;
    group = of_group.quotient, first_filter = std::int64_t{of_group.remainder} * filters;
    live = static_cast<int>(g.outs - first_filter < filters ? g.outs - first_filter : filters);
  }
  __device__ __forceinline__ const float* weights(const Correlation& g) const {
    return g.weights + group * g.weight_group + first_filter * g.weight_out;
  }
  __device__ __forceinline__ float bias(const Correlation& g, int k) const {
    return g.bias && k < live ? g.bias[group * g.outs + first_filter + k] : 0.0f;
  }
  __device__ __forceinline__ SumTile sum_tile(const Correlation& g) const {
    return {.column_tile = column_tile, .filter_tile = filter_tile, .first = group * g.outs + first_filter, .live = live};
  }
};

// A thread's columns of the block's: threadIdx.x, and every correlate_threads from there.
template <int positions>
struct Columns {
  Pixel pixel[positions];
  std::int64_t out[positions];  // index in out, of the first filter; -1: none
  bool counts[positions];       // a sample has it

  template <class Seen, int filters>
  static __device__ __forceinline__ Columns of(const Correlation& g, const BlockOf<filters, positions>& block) {
    Columns columns;
    const std::int64_t base = block.column_tile * (correlate_threads * positions);
    const LargeDivisor::Result of_base = g.samples_by_plane.divide(base);
    const std::int64_t base_sample = of_base.quotient;
    const std::uint32_t base_position = static_cast<std::uint32_t>(of_base.remainder);
#pragma unroll
    for (int i = 0; i < positions; ++i) {
      const std::uint32_t local = static_cast<std::uint32_t>(i) * correlate_threads + threadIdx.x;
      const Divisor::Result plane = g.by_plane.divide(base_position + local), at = g.by_lanes.divide(plane.remainder),
                            row = g.by_width.divide(at.quotient);
      const std::int64_t n = base_sample + plane.quotient;
      const bool exists = base + local < g.columns;
      Pixel& pixel = columns.pixel[i];
      pixel.h = static_cast<std::int32_t>(row.quotient) * g.stride_h + g.first_h;
      pixel.w = static_cast<std::int32_t>(row.remainder) * g.stride_w + g.first_w;
      const std::int64_t corner = is_general<Seen> || !exists ? 0 : static_cast<std::int64_t>(pixel.h) * g.in_w + pixel.w;
      if constexpr (is_padded<Seen>) {
        pixel.h = bits_inside(pixel.h, g.kernel_h, g.step_h, g.by_step_h, g.in_h);
        pixel.w = bits_inside(pixel.w, g.kernel_w, g.step_w, g.by_step_w, g.in_w);
      }
      if (!exists) pixel.h = no_tap<Seen>().h;
      pixel.origin = g.in + (exists ? (n * g.groups + block.group) * g.ins * g.in_plane : 0) + corner * g.lanes + at.remainder;
      columns.out[i] = exists ? ((n * g.groups + block.group) * g.outs + block.first_filter) * g.out_plane + plane.remainder : -1;
      columns.counts[i] = exists && n * g.lanes + at.remainder < g.samples;
    }
    return columns;
  }
};

struct TapAt {
  Tap tap;
  std::int64_t weight;  // from the first of the block's weights to that of its first filter
};

// A tile of the flattened taps (channel, row, column): it begins with number `tap`, smaller than the area, of `channel`.
struct TileOfTaps {
  std::int64_t channel = 0;
  std::int32_t tap = 0;

  // How many taps it has, at most `most`. No more than a Tap's offset can reach.
  __device__ __forceinline__ int count(const Correlation& g, int most) const {
    const std::int64_t channels = g.ins - channel < g.tile_channels ? g.ins - channel : g.tile_channels, taps = channels * g.area() - tap;
    return taps < most ? static_cast<int>(taps) : most;
  }
  template <class Seen>
  __device__ __forceinline__ TapAt at(const Correlation& g, int number) const {
    const Divisor::Result plane = g.by_area.divide(static_cast<std::uint32_t>(tap + number)), row = g.by_kernel_w.divide(plane.remainder);
    const std::int32_t r = static_cast<std::int32_t>(row.quotient), s = static_cast<std::int32_t>(row.remainder);
    const std::int64_t h = std::int64_t{r} * g.step_h, w = std::int64_t{s} * g.step_w,
                       offset = plane.quotient * g.in_plane + (is_general<Seen> ? 0 : (h * g.in_w + w) * g.lanes);
    const auto place = [](std::int32_t number_in_kernel, std::int64_t in_image) {
      return is_padded<Seen> ? static_cast<std::int32_t>(1u << number_in_kernel) : static_cast<std::int32_t>(in_image);
    };
    return {{static_cast<std::int32_t>(offset), place(r, h), place(s, w)}, (channel + plane.quotient) * g.weight_in + plane.remainder};
  }
  // Goes on to the next tile, `taps` later. The thread's pixels are then in its first channel.
  template <int positions>
  __device__ __forceinline__ void advance(const Correlation& g, int taps, Pixel (&pixels)[positions]) {
    const Divisor::Result at = g.by_area.divide(static_cast<std::uint32_t>(tap + taps));
    channel += at.quotient, tap = static_cast<std::int32_t>(at.remainder);
    const std::int64_t moved = channel < g.ins ? at.quotient * g.in_plane : 0;
#pragma unroll
    for (int i = 0; i < positions; ++i) pixels[i].origin += moved;
  }
};

// Writes a thread's outputs, and adds them to the batch norm's sums. Other blocks wait for the sums, so these come first.
template <int filters, int positions, class Sums>
__device__ __forceinline__ void put(const Correlation& g, const Sums& sums, const BlockOf<filters, positions>& block,
                                    const Columns<positions>& columns, const float (&made)[positions][filters]) {
  constexpr bool has_sums = !std::is_same_v<Sums, NoSums>;
  bool is_last = false;
  if constexpr (has_sums) is_last = sums.leave(made, columns.out, columns.counts, g.out_plane, block.sum_tile(g));
#pragma unroll
  for (int i = 0; i < positions; ++i) {
    if (columns.out[i] < 0) continue;
#pragma unroll
    for (int k = 0; k < filters; ++k)
      if (k < block.live) g.out[columns.out[i] + k * g.out_plane] = made[i][k];
  }
  if constexpr (has_sums)
    if (is_last) sums.finish(block.sum_tile(g));
}

// As many positions to a thread as leave blocks for every multiprocessor of a large GPU. No output depends on it, but how a batch norm's
// sums are cut.
constexpr std::int64_t enough_blocks = 264;

struct Tiling {
  int filters, positions;
  std::int64_t filter_tiles, column_tiles;

  constexpr std::int64_t blocks() const { return filter_tiles * column_tiles; }
};

inline Tiling tiling_of(const Correlation& g) {
  const auto tiling = [&](int filters, int positions) {
    return Tiling{filters, positions, g.groups * ceil_div(g.outs, filters),
                  ceil_div(g.columns, std::int64_t{correlate_threads} * positions)};
  };
  if (g.precision != Precision::fp32) return tiling(g.outs > 16 && tiling(64, 1).blocks() >= enough_blocks / 2 ? 64 : 16, 1);
  const int filters = g.is_general() || (g.outs > 4 && tiling(8, 1).blocks() >= enough_blocks / 2) ? 8 : 4;
  const Tiling large = tiling(filters, 4);
  return large.blocks() >= enough_blocks ? large : tiling(filters, 1);
}

// g, for the blocks of a tiling.
inline Correlation tiled(Correlation g, const Tiling& t) {
  g.by_filter_tiles = Divisor(t.filter_tiles), g.by_tiles_of_group = Divisor(t.filter_tiles / g.groups);
  return g;
}

// Launches g with precision tf32 or bf16: correlate_tensor.cu.
void launch_on_tensor_cores(const Correlation& g, const Queue& queue);

// conv2d.cu and linear.cu call these. Returns the Correlation of tensors with these dims, out written and in read. Pointers, windows and
// weights are not set.
Correlation correlation(const Dims& out, const Dims& in, std::int64_t groups, Precision precision);
void launch_correlation(const Correlation& g, const Queue& queue);
// ... and the statistics of its output.
void launch_correlation(const Correlation& g, const BatchNormStatistics& statistics, const Memory& memory, const Queue& queue);
// ... and a batch norm's gradient sums over its output. features: outputs of the layer to one channel of the batch norm.
void launch_correlation(const Correlation& g, const BatchNormBackwardReduce& reduce, std::int64_t features, const Memory& memory,
                        const Queue& queue);
Needs needs_of_statistics(const Correlation& g);
Needs needs_of_reduce(const Correlation& g, std::int64_t features);

}  // namespace norma::kernels::cuda
