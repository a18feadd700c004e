// Shared by the kernels of correlate.cu and correlate_tensor.cu: the correlation, a thread's view of it, and the share of each block.
#pragma once
#include <type_traits>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/correlate_sums.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

//   out[n, group*outs + k, p, q] = bias[k] + sum over (c, r, s) of weight(k, c, r, s) * in[n, group*ins + c, row, column].
// A forward pass sees row = p*stride - pad + r*dilation. A backward pass (strided) sees (p + pad - r*dilation) / stride if that is whole.
// With stride 1 it is a forward pass with padding and dilation negated.
struct Correlation {
  float* out;
  const float *in, *weights, *bias;                              // bias may be null
  std::int64_t groups = 1, outs = 0, ins = 0;                    // channels of one group of channels
  std::int64_t weight_out = 0, weight_in = 0, weight_group = 0;  // from one output channel, input channel, group to the next
  std::int64_t columns = 0, out_plane = 0, in_plane = 0;         // pixels times lanes: all of out's, a plane's
  Divisor by_plane, by_width, by_lanes;                          // of out
  std::int64_t samples = 0;                                      // of the batch
  std::int32_t lanes = 1, in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  std::int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, first_h = 0, first_w = 0, step_h = 1, step_w = 1;
  Divisor by_stride_h, by_stride_w;
  Precision precision = Precision::fp32;

  constexpr std::int64_t area() const { return std::int64_t{kernel_h} * kernel_w; }
  // Returns true if no window, whose pixels are not strided, leaves the image: as with linear layers and without padding.
  constexpr bool stays_inside() const {
    const auto inside = [](std::int64_t size, std::int64_t stride, std::int64_t first, std::int64_t kernel, std::int64_t step,
                           std::int64_t image) {
      const std::int64_t last = (kernel - 1) * step;
      return first + (last < 0 ? last : 0) >= 0 && (size - 1) * stride + first + (last > 0 ? last : 0) < image;
    };
    return inside(out_h, stride_h, first_h, kernel_h, step_h, in_h) && inside(out_w, stride_w, first_w, kernel_w, step_w, in_w);
  }
};

// Pixels that a window sees.
struct Inside {};   // those of the image
struct Padded {};   // and those beyond its edges, which are 0
struct Strided {};  // and those between its pixels, which are 0: a backward pass by a stride
template <class Seen>
inline constexpr bool is_strided = std::is_same_v<Seen, Strided>;

struct alignas(16) Tap {
  std::int64_t offset;  // of its channel and, unless strided, its row and column
  std::int32_t h, w;
};

// Added to a row, no row of an image.
constexpr std::int32_t nowhere = INT32_MIN / 2;

// A thread's pixel: where its window begins. A thread without one has the first pixel of the first sample, beyond every edge.
struct Pixel {
  const float* origin;  // of its sample and lane, in the first channel; unless strided, of the window's corner
  std::int32_t h, w;
};

template <class Seen>
__device__ __forceinline__ float look(const Correlation& g, const Pixel& pixel, const Tap& tap) {
  const std::int32_t h = pixel.h + tap.h, w = pixel.w + tap.w;
  if constexpr (std::is_same_v<Seen, Inside>) {
    return pixel.origin[tap.offset];
  } else if constexpr (std::is_same_v<Seen, Padded>) {
    const bool inside = static_cast<std::uint32_t>(h) < static_cast<std::uint32_t>(g.in_h) &&
                        static_cast<std::uint32_t>(w) < static_cast<std::uint32_t>(g.in_w);
    return inside ? pixel.origin[tap.offset] : 0.0f;
  } else {
    if (h < 0 || w < 0) return 0.0f;
    const Divisor::Result row = g.by_stride_h.divide(static_cast<std::uint32_t>(h)),
                          column = g.by_stride_w.divide(static_cast<std::uint32_t>(w));
    if (row.remainder || column.remainder || row.quotient >= static_cast<std::uint32_t>(g.in_h) ||
        column.quotient >= static_cast<std::uint32_t>(g.in_w))
      return 0.0f;
    return pixel.origin[tap.offset + (static_cast<std::int64_t>(row.quotient) * g.in_w + column.quotient) * g.lanes];
  }
}

// The part of out that a block makes: `filters` channels of correlate_threads * positions columns.
template <int filters, int positions>
struct BlockOf {
  std::int64_t column_tile, filter_tile, group, first_filter;  // first_filter: in its group
  int live;                                                    // of the filters

  __device__ __forceinline__ explicit BlockOf(const Correlation& g) {
    const std::int64_t of_group = ceil_div(g.outs, filters), filter_tiles = g.groups * of_group;
    column_tile = blockIdx.x / filter_tiles, filter_tile = blockIdx.x - column_tile * filter_tiles;
    group = filter_tile / of_group, first_filter = filter_tile % of_group * filters;
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

  template <bool strided, int filters>
  static __device__ __forceinline__ Columns of(const Correlation& g, const BlockOf<filters, positions>& block) {
    Columns columns;
    const std::int64_t base = block.column_tile * (correlate_threads * positions), base_sample = base / g.out_plane;
    const std::uint32_t base_position = static_cast<std::uint32_t>(base - base_sample * g.out_plane);
#pragma unroll
    for (int i = 0; i < positions; ++i) {
      const std::uint32_t local = static_cast<std::uint32_t>(i) * correlate_threads + threadIdx.x;
      const Divisor::Result plane = g.by_plane.divide(base_position + local), at = g.by_lanes.divide(plane.remainder),
                            row = g.by_width.divide(at.quotient);
      const std::int64_t n = base_sample + plane.quotient;
      const bool exists = base + local < g.columns;
      Pixel& pixel = columns.pixel[i];
      pixel.h = exists ? static_cast<std::int32_t>(row.quotient) * g.stride_h + g.first_h : nowhere;
      pixel.w = static_cast<std::int32_t>(row.remainder) * g.stride_w + g.first_w;
      const std::int64_t corner = strided || !exists ? 0 : static_cast<std::int64_t>(pixel.h) * g.in_w + pixel.w;
      pixel.origin = g.in + (exists ? (n * g.groups + block.group) * g.ins * g.in_plane : 0) + corner * g.lanes + at.remainder;
      columns.out[i] = exists ? ((n * g.groups + block.group) * g.outs + block.first_filter) * g.out_plane + plane.remainder : -1;
      columns.counts[i] = exists && n * g.lanes + at.remainder < g.samples;
    }
    return columns;
  }
};

// Number `tap` of the flattened (channel, row, column).
struct TapAt {
  Tap tap;
  std::int64_t weight;  // from the first of the block's weights to that of its first filter
};
template <bool strided>
__device__ __forceinline__ TapAt tap_at(const Correlation& g, std::int64_t tap) {
  const std::int64_t channel = tap / g.area();
  const std::int32_t at = static_cast<std::int32_t>(tap - channel * g.area()), r = at / g.kernel_w, s = at - r * g.kernel_w;
  const std::int32_t h = r * g.step_h, w = s * g.step_w;
  return {{channel * g.in_plane + (strided ? 0 : (static_cast<std::int64_t>(h) * g.in_w + w) * g.lanes), h, w}, channel * g.weight_in + at};
}

// Writes a thread's outputs, and adds them to the batch norm's sums.
template <int filters, int positions, class Sums>
__device__ __forceinline__ void put(const Correlation& g, const Sums& sums, const BlockOf<filters, positions>& block,
                                    const Columns<positions>& columns, const float (&made)[positions][filters]) {
#pragma unroll
  for (int i = 0; i < positions; ++i) {
    if (columns.out[i] < 0) continue;
#pragma unroll
    for (int k = 0; k < filters; ++k)
      if (k < block.live) g.out[columns.out[i] + k * g.out_plane] = made[i][k];
  }
  if constexpr (!std::is_same_v<Sums, NoSums>) sums.add(made, columns.out, columns.counts, g.out_plane, block.sum_tile(g));
}

// As many positions to a thread as leave blocks for every multiprocessor of a large GPU. No output depends on it, but how a batch norm's
// sums are cut.
constexpr std::int64_t enough_blocks = 264;

struct Tiling {
  int filters, positions;
  std::int64_t filter_tiles, column_tiles;

  constexpr std::int64_t blocks() const { return filter_tiles * column_tiles; }
};

inline Tiling tiling_of(const Correlation& g, bool strided) {
  const auto tiling = [&](int filters, int positions) {
    return Tiling{filters, positions, g.groups * ceil_div(g.outs, filters),
                  ceil_div(g.columns, std::int64_t{correlate_threads} * positions)};
  };
  if (g.precision != Precision::fp32) return tiling(g.outs > 16 && tiling(64, 1).blocks() >= enough_blocks / 2 ? 64 : 16, 1);
  const int filters = strided || (g.outs > 4 && tiling(8, 1).blocks() >= enough_blocks / 2) ? 8 : 4;
  const Tiling large = tiling(filters, 4);
  return large.blocks() >= enough_blocks ? large : tiling(filters, 1);
}

// Launches g with precision tf32 or bf16: correlate_tensor.cu.
void launch_on_tensor_cores(const Correlation& g, bool strided, const Queue& queue);

// conv2d.cu and linear.cu call these. Returns the Correlation of tensors with these dims, out written and in read. Pointers, windows and
// weights are not set.
Correlation correlation(const Dims& out, const Dims& in, std::int64_t groups, Precision precision);
// strided: neighbouring outputs look at the input in steps that a thread has to find out.
void launch_correlation(const Correlation& g, bool strided, const Queue& queue);
// ... and the statistics of its output.
void launch_correlation(const Correlation& g, const BatchNormStatistics& statistics, const Memory& memory, const Queue& queue);
// ... and a batch norm's gradient sums over its output. features: outputs of the layer to one channel of the batch norm.
void launch_correlation(const Correlation& g, bool strided, const BatchNormBackwardReduce& reduce, std::int64_t features,
                        const Memory& memory, const Queue& queue);
Needs needs_of_statistics(const Correlation& g);
Needs needs_of_reduce(const Correlation& g, bool strided, std::int64_t features);

}  // namespace norma::kernels::cuda
