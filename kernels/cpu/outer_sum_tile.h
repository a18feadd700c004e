// Blocks of weight gradients for Conv2dBackwardWeight, a tile of positions at a time. The part of x it reads is packed with its zero
// padding, so that no position is at an edge. A block's sums stay in L2 from tile to tile. Each sum is one chain of fma a lane in the order
// n, tile, p, q; then reduce_add over the lanes.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/chunks.h"
#include "kernels/cpu/axis.h"
#include "kernels/cpu/buffers.h"
#include "kernels/cpu/outer_sum.h"
#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Cut of weights and positions. Only the order of positions, which rows and columns here make, shows in the results.
struct WeightCut {
  std::int64_t filters, channels;            // at most, per index
  std::int64_t kernel_rows, kernel_columns;  // taps per index: all, or one row's, or one
  std::int64_t rows, columns;                // positions per tile: whole rows, or a part of one
  std::int64_t packed_channels;              // packed at a time
};

// Limit (512 KB) on x and dy of one pack of samples. Up to it L2 holds both when their weight gradient is due.
inline constexpr std::int64_t max_near_floats = std::int64_t{1} << 17;

inline WeightCut cut_weights(const ConvShape& s, Axis rows, Axis columns, std::int64_t chunks) {
  const std::int64_t most = 96;  // a tile's dy of one register block of filters is to stay in L1: 4 x 96 lines are 24 KB
  WeightCut cut{1, 1, s.window.kernel_h, s.window.kernel_w, 1, s.y.w, 1};
  if (s.y.w > most + most / 3) cut.columns = ceil_div(s.y.w, ceil_div(s.y.w, most));
  else if (s.y.w < most) cut.rows = most / s.y.w;
  if (cut.rows > s.y.h) cut.rows = s.y.h;
  const auto lines = [&] {
    rows.taps = cut.kernel_rows;
    columns.taps = cut.kernel_columns;
    return rows.reads({0, cut.rows}).count * columns.reads({0, cut.columns}).count;
  };
  // First the tile, whose cut shows in the results, then the kernel, whose does not.
  while (lines() > max_weight_lines) {
    if (cut.kernel_rows > 1) cut.kernel_rows = 1;
    else cut.kernel_columns = 1;
  }
  if (cut.kernel_rows * cut.kernel_columns > max_weight_sums / 64) cut.kernel_rows = 1;
  if (cut.kernel_columns > max_weight_sums / 64) cut.kernel_columns = 1;

  // x is read once per block of filters, dy once per block of channels: blocks as square as the sums allow.
  const std::int64_t taps = cut.kernel_rows * cut.kernel_columns, channels = s.channels_per_group(), filters = s.filters_per_group();
  const auto at_most = [](std::int64_t a, std::int64_t b) { return a < b ? a : b; };
  std::int64_t side = 1;
  while (side < 64 && (side + 1) * (side + 1) * taps <= max_weight_sums) ++side;
  cut.channels = at_most(channels, side);
  cut.filters = at_most(at_most(filters, 128), max_weight_sums / (cut.channels * taps));
  cut.channels = at_most(at_most(channels, 64), max_weight_sums / (cut.filters * taps));
  // At least two indices a thread where there are as many.
  const std::int64_t threads = loop_threads();
  const auto items = [&] { return chunks * s.groups * ceil_div(filters, cut.filters) * ceil_div(channels, cut.channels); };
  while (threads > 1 && items() < 2 * threads) {
    if (cut.filters > max_outs && cut.filters * taps > cut.channels) cut.filters = (cut.filters + 1) / 2;
    else if (cut.channels > 1) cut.channels = (cut.channels + 1) / 2;
    else break;
  }
  cut.packed_channels = at_most(cut.channels, max_weight_lines / lines());
  return cut;
}

// The weights of filters o, channels c and taps u x v of one convolution group, for the packs n.
struct WeightBlock {
  const float *dy, *x;  // of the convolution group, first sample
  float* out;
  Range n, o, c, u, v;
};

inline void sum_weights(const ConvShape& s, Axis rows, Axis columns, const WeightCut& cut, const WeightBlock& block,
                        ConvWeightBuffer& buffer, Upcoming* upcoming) {
  constexpr std::int64_t lanes = 16;
  float *const packed = buffer.x, *const sums = buffer.sums;
  std::int32_t *const position = buffer.position, *const stream = buffer.stream;
  const std::int64_t x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes;
  const std::int64_t filters = block.o.end - block.o.begin, channels = block.c.end - block.c.begin;
  rows.first += block.u.begin * rows.step;
  rows.taps = block.u.end - block.u.begin;
  columns.first += block.v.begin * columns.step;
  columns.taps = block.v.end - block.v.begin;
  const std::int64_t taps = rows.taps * columns.taps, streams = channels * taps;
  const std::int64_t out_blocks = ceil_div(filters, max_outs), packs = ceil_div(channels, cut.packed_channels);
  const std::int64_t row_tiles = ceil_div(s.y.h, cut.rows), column_tiles = ceil_div(s.y.w, cut.columns), tiles = row_tiles * column_tiles;

  struct Shape {
    std::int64_t rows, columns, channels;
    bool direct;
    bool operator==(const Shape&) const = default;
  } addressed{};
  OuterSum a{};
  a.dy_out = y_plane;
  a.position = position;
  a.sum_out = streams * lanes;
  for (std::int64_t i = block.n.begin * tiles; i < block.n.end * tiles; ++i) {
    const std::int64_t n = i / tiles, tile = i % tiles;
    const Range p = chunk(s.y.h, row_tiles, tile / column_tiles), q = chunk(s.y.w, column_tiles, tile % column_tiles);
    const Axis::Reads r = rows.reads(p), c = columns.reads(q);
    const float* dy = block.dy + (n * s.y.c + block.o.begin) * y_plane + (p.begin * s.y.w + q.begin) * lanes;
    a.resume = i > block.n.begin * tiles;
    for (std::int64_t pack = 0; pack < packs; ++pack) {
      const Range k = chunk(channels, packs, pack);
      const float* x = block.x + (n * s.x.c + block.c.begin + k.begin) * x_plane;
      // Without padding a few channels are read where they lie; more would share L1's sets.
      const bool direct = channels <= 8 && rows.inside(r) && columns.inside(c);
      a.x = direct ? x + (r.low * s.x.w + c.low) * lanes : packed;
      if (!direct)
        for (std::int64_t j = 0; j < k.end - k.begin; ++j)
          pack_plane(packed + j * r.count * c.count * lanes, x + j * x_plane, rows, columns, r, c);

      const Shape shape{p.end - p.begin, q.end - q.begin, k.end - k.begin, direct};
      if (shape != addressed) {  // all tiles of a shape share this
        addressed = shape;
        const std::int64_t x_channel = direct ? x_plane : r.count * c.count * lanes;
        const std::int64_t x_row = (direct ? r.spacing * s.x.w : c.count) * lanes, x_column = (direct ? c.spacing : 1) * lanes;
        const Axis::Places row = rows.places(r), column = columns.places(c);
        a.positions = 0;
        for (std::int64_t j = 0; j < shape.rows; ++j)
          for (std::int64_t l = 0; l < shape.columns; ++l)
            position[a.positions++] =
                static_cast<std::int32_t>((row.first + j * row.output) * x_row + (column.first + l * column.output) * x_column);
        for (std::int64_t j = 0, t = 0; j < shape.channels; ++j)
          for (std::int64_t u = 0; u < rows.taps; ++u)
            for (std::int64_t v = 0; v < columns.taps; ++v)
              stream[t++] = static_cast<std::int32_t>(j * x_channel + u * row.tap * x_row + v * column.tap * x_column);
      }
      const std::int64_t first = k.begin * taps, count = (k.end - k.begin) * taps, stream_blocks = ceil_div(count, max_streams);
      // Meanwhile the next tile's x and dy come into L2, unless a pack's fit it. They follow this tile's except at the end of a plane.
      const std::int64_t calls = out_blocks * stream_blocks, x_row = s.x.w * lanes;
      const bool far = x_plane * s.x.c + y_plane * s.y.c > max_near_floats;
      Ahead x_ahead(x + (r.low + cut.rows * rows.stride) * x_row + (c.low > 0 ? c.low : 0) * lanes, x_plane, far ? k.end - k.begin : 0,
                    r.spacing * x_row, r.count, (c.count - 1) * c.spacing + 1, calls);
      Ahead dy_ahead(dy + a.positions * lanes, y_plane, far && pack == 0 ? filters : 0, 0, 1, a.positions, calls);
      for (std::int64_t m = 0; m < out_blocks; ++m) {
        const Range o = chunk(filters, out_blocks, m);
        a.dy = dy + o.begin * y_plane;
        for (std::int64_t j = 0; j < stream_blocks; ++j) {
          const Range t = chunk(count, stream_blocks, j);
          a.stream = stream + t.begin;
          a.sum = sums + (o.begin * streams + first + t.begin) * lanes;
          x_ahead.fetch();
          dy_ahead.fetch();
          a.soon = upcoming ? upcoming->take(static_cast<std::size_t>(a.positions), position)
                            : Upcoming::Lines{reinterpret_cast<const std::byte*>(position), 0};
          outer_sum(a, o.end - o.begin, t.end - t.begin);
        }
      }
    }
  }

  const Window& k = s.window;
  const std::int64_t run = rows.taps == k.kernel_h && columns.taps == k.kernel_w ? streams : columns.taps;  // weights that lie together
  alignas(64) float values[lanes];
  for (std::int64_t o = 0; o < filters; ++o) {
    float* out = block.out + ((block.o.begin + o) * s.channels_per_group() + block.c.begin) * k.area();
    for (std::int64_t t = 0; t < streams; t += run) {
      float* to = out + t / taps * k.area() + (block.u.begin + t % taps / columns.taps) * k.kernel_w + block.v.begin;
      const float* from = sums + (o * streams + t) * lanes;
      std::int64_t i = 0;
      for (; i + lanes <= run; i += lanes) storeu(to + i, reduce_add_rows(from + i * lanes));
      if (i == run) continue;
      store(values, reduce_add_rows(from + i * lanes));
      std::memcpy(to + i, values, static_cast<std::size_t>(run - i) * sizeof(float));
    }
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
