// Correlations with many channels, for Conv2dForward and Conv2dBackwardInput:
//   y[o][p][q] = b[o] + sum over (c, u, v) of w[o][c][u][v] * x[c][row(p, u)][column(q, v)]     each y and x: 16 samples
// The loops take a tile of outputs and a block of channels at a time. They pack the part of x it reads into a contiguous buffer, with the
// zero padding. Planes that lie a power of two apart then exhaust neither cache sets nor page tables, and no output is at an edge. Between
// blocks of channels the sums rest in y. Each output is one chain of fma in the order c, u, v, from b, however the tiles and blocks are
// cut. Padding takes part as zeros.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/chunks.h"
#include "kernels/cpu/axis.h"
#include "kernels/cpu/buffers.h"
#include "kernels/cpu/parallel.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Addresses of all outputs of one pack of samples; strides are in floats.
struct TiledCorrelation {
  const float* x;
  std::int64_t x_channel;
  const float* w;
  std::int64_t w_out, w_channel, w_row, w_tap;
  const float* b;  // [outs], or null: 0
  float* y;
  std::int64_t y_out, y_row, y_column;
  std::int64_t channels;
  Axis rows, columns;
};

inline constexpr int tile_outs = registers >= 32 ? 6 : 4, tile_cols = registers >= 32 ? 4 : 3;

// Operands of a register block of outs x cols.
struct TileBlock {
  const float* x;              // of (k, j): x[offset[k] + x_at[j]]
  const std::int32_t* offset;  // [steps]
  const std::int32_t* x_at;    // [cols]
  const float* w;              // of (o, k): w[o*w_out + k], or w[k*w_step + o]
  std::int64_t w_stride, steps;
  const float* b;  // [outs], or null: 0
  float* y;        // of (o, j): y[o*y_out + y_at[j]]
  std::int64_t y_out;
  const std::int64_t* y_at;  // [cols]
  bool resume;               // the sums start from y
};

// Interleaved: w is [steps][w_stride]; otherwise a row of steps for each out, w_stride apart.
template <bool Interleaved, int Outs, int Cols>
inline void tile_block(const TileBlock& block) {
  constexpr std::int64_t lanes = 16;
  const TileBlock a = block;  // a store could change what the reference refers to
  for (std::int64_t part = 0; part < lanes; part += register_lanes) {
    Register sum[Outs][Cols];
    const float* x[Cols];
    float* y[Cols];
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) {
      x[j] = a.x + a.x_at[j] + part;
      y[j] = a.y + a.y_at[j] + part;
    }
    for (int o = 0; o < Outs; ++o)  // fetched while the sums are made
      for (int j = 0; j < Cols; ++j) __builtin_prefetch(y[j] + o * a.y_out, 1);
    if (a.resume) {
#pragma GCC unroll 8
      for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
        for (int j = 0; j < Cols; ++j) sum[o][j] = load_register(y[j] + o * a.y_out);
    } else {
#pragma GCC unroll 8
      for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
        for (int j = 0; j < Cols; ++j) sum[o][j] = broadcast(a.b ? a.b[o] : 0.0f);
    }
    const std::int32_t* offset = a.offset;
    const float* w = a.w;
    for (const std::int32_t* end = offset + a.steps; offset != end; ++offset, w += Interleaved ? a.w_stride : 1) {
      const std::int64_t at = *offset;
      Register xj[Cols];
#pragma GCC unroll 8
      for (int j = 0; j < Cols; ++j) xj[j] = load_register(x[j] + at);
#pragma GCC unroll 8
      for (int o = 0; o < Outs; ++o) {
        const Register wo = broadcast(Interleaved ? w[o] : w[o * a.w_stride]);
#pragma GCC unroll 8
        for (int j = 0; j < Cols; ++j) sum[o][j] = fma(xj[j], wo, sum[o][j]);
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
      for (int j = 0; j < Cols; ++j) store_register(y[j] + o * a.y_out, sum[o][j]);
  }
}

template <bool Interleaved, int... Index>
inline void tile_block(const TileBlock& a, std::int64_t outs, std::int64_t cols, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const TileBlock&);
  static constexpr Kernel kernels[] = {&tile_block<Interleaved, Index / tile_cols + 1, Index % tile_cols + 1>...};
  kernels[(outs - 1) * tile_cols + (cols - 1)](a);
}

// Cut of a TiledCorrelation: tiles of outputs, blocks of channels.
struct Tiling {
  std::int64_t row_tiles, column_tiles, channel_blocks;
  std::int64_t tiles() const { return row_tiles * column_tiles; }
};

// Lines (of 64 bytes) from one channel of a packed tile to the next. L1 has 64 sets of lines. A register block reads one row of successive
// channels, and successive sets should hold it. Channels 144 lines apart give 82 instead of 97 GFLOP/s.
inline std::int64_t channel_lines(const TiledCorrelation& a, Axis::Reads r, Axis::Reads c) {
  const std::int64_t least = r.count * c.count, cols = a.columns.reads({0, tile_cols}).count;
  return least + ((cols - least) % 64 + 64) % 64;
}

// No tile at all (channel_blocks 0) where one output's x would not fit the buffer.
inline Tiling tiling(const TiledCorrelation& a) {
  const std::int64_t taps = a.rows.taps * a.columns.taps;
  if (taps > max_tile_steps) return {};
  std::int64_t width = ceil_div(a.columns.outputs, ceil_div(a.columns.outputs, 28));
  std::int64_t height = 56 / width < a.rows.outputs ? 56 / width : a.rows.outputs;
  const auto lines = [&] { return channel_lines(a, a.rows.reads({0, height}), a.columns.reads({0, width})); };
  while (lines() > max_tile_lines) {
    if (height > 1) height = (height + 1) / 2;
    else if (width > 1) width = (width + 1) / 2;
    else return {};
  }
  // One register block reads 24 KB of x, near L1's 32. With one tap alone it reads twice that, for fewer passes over y (79 against 74
  // GFLOP/s).
  const std::int64_t touched = a.rows.taps * a.columns.reads({0, width < tile_cols ? width : tile_cols}).count;
  std::int64_t channels = touched > 0 ? (taps == 1 ? 768 : 384) / touched : a.channels;
  if (channels * lines() > max_tile_lines) channels = max_tile_lines / lines();
  if (channels * taps > max_tile_steps) channels = max_tile_steps / taps;
  if (channels < 1) channels = 1;
  return {ceil_div(a.rows.outputs, height), ceil_div(a.columns.outputs, width), ceil_div(a.channels, channels)};
}

// Returns the number of parts of a tile's outs, one an index, for `tiles` tiles in all. It is as low as the blocks allow, but gives two
// indices a thread. Results do not depend on it. One tap alone needs more outs for each x it packs.
inline std::int64_t tile_out_parts(std::int64_t outs, std::int64_t taps, std::int64_t tiles) {
  const std::int64_t threads = loop_threads(), wanted = threads > 1 ? ceil_div(2 * threads, tiles) : 1;
  const std::int64_t least = ceil_div(outs, taps == 1 ? 2 * max_tile_outs : max_tile_outs), most = ceil_div(outs, 4 * tile_outs);
  return wanted <= least ? least : wanted < most ? wanted : most > least ? most : least;
}

// The outputs `outs` (at most max_tile_outs, of one tap twice that) of one tile. Direct: w is used where it is, as rows or interleaved;
// otherwise it is packed, interleaved, a block of outs at a time.
template <bool Interleaved, bool Direct>
inline void correlate_tile(const TiledCorrelation& a, const Tiling& t, std::int64_t tile, Range outs, TileBuffer& buffer) {
  constexpr std::int64_t lanes = 16;
  constexpr std::int64_t packed_stride = TileBuffer::stride;
  float *const x = buffer.x, *const packed = buffer.w;
  std::int32_t offset[max_tile_steps], x_at[max_tile_positions];
  std::int64_t y_at[max_tile_positions];

  const auto rows_of = [&](std::int64_t i) { return chunk(a.rows.outputs, t.row_tiles, i / t.column_tiles); };
  const auto columns_of = [&](std::int64_t i) { return chunk(a.columns.outputs, t.column_tiles, i % t.column_tiles); };
  const std::int64_t tile_after = tile + 1 < t.tiles() ? tile + 1 : tile;
  const Range p = rows_of(tile), q = columns_of(tile);
  const Axis::Reads r = a.rows.reads(p), c = a.columns.reads(q);
  const Axis::Reads r_after = a.rows.reads(rows_of(tile_after)), c_after = a.columns.reads(columns_of(tile_after));
  const Axis::Places row = a.rows.places(r), column = a.columns.places(c);
  std::int64_t positions = 0;
  for (std::int64_t i = 0; i < p.end - p.begin; ++i)
    for (std::int64_t j = 0; j < q.end - q.begin; ++j, ++positions) {
      x_at[positions] = static_cast<std::int32_t>(((row.first + i * row.output) * c.count + column.first + j * column.output) * lanes);
      y_at[positions] = (p.begin + i) * a.y_row + (q.begin + j) * a.y_column;
    }
  // Register blocks stay within a row, so that they touch little memory, unless rows are shorter than a block.
  const std::int64_t width = q.end - q.begin, runs = width < tile_cols ? 1 : p.end - p.begin, run = positions / runs;
  const std::int64_t run_blocks = ceil_div(run, tile_cols);
  const std::int64_t count = outs.end - outs.begin, out_blocks = ceil_div(count, tile_outs);
  const std::int64_t x_channel = channel_lines(a, r, c) * lanes, taps = a.rows.taps * a.columns.taps;

  for (std::int64_t block = 0; block < t.channel_blocks; ++block) {
    const Range channels = chunk(a.channels, t.channel_blocks, block);
    std::int64_t steps = 0;
    for (std::int64_t k = channels.begin; k < channels.end; ++k) {
      const std::int64_t to = (k - channels.begin) * x_channel;
      pack_plane(x + to, a.x + k * a.x_channel, a.rows, a.columns, r, c);
      for (std::int64_t u = 0; u < a.rows.taps; ++u)
        for (std::int64_t v = 0; v < a.columns.taps; ++v)
          offset[steps++] = static_cast<std::int32_t>(to + (u * row.tap * c.count + v * column.tap) * lanes);
    }
    if constexpr (!Direct) {
      float* to = packed;
      for (std::int64_t k = channels.begin; k < channels.end; ++k)
        for (std::int64_t u = 0; u < a.rows.taps; ++u)
          for (std::int64_t v = 0; v < a.columns.taps; ++v, to += packed_stride) {
            const float* w = a.w + outs.begin * a.w_out + k * a.w_channel + u * a.w_row + v * a.w_tap;
#pragma GCC unroll 8
            for (std::int64_t o = 0; o < count; ++o) to[o] = w[o * a.w_out];
          }
    }
    TileBlock b{};
    b.x = x;
    b.offset = offset;
    b.steps = channels.begin < channels.end ? (channels.end - channels.begin) * taps : 0;
    b.y_out = a.y_out;
    b.resume = block > 0;
    // Meanwhile the x of the next block, or of the next tile's first, comes into L2. ResNet-18's 3 x 3 gets 102 instead of 95 GFLOP/s.
    const bool same = block + 1 < t.channel_blocks;
    const Range next = chunk(a.channels, t.channel_blocks, same ? block + 1 : 0);
    const Axis::Reads& next_r = same ? r : r_after;
    const Axis::Reads& next_c = same ? c : c_after;
    const std::int64_t top = next_r.low > 0 ? next_r.low : 0, left = next_c.low > 0 ? next_c.low : 0, x_row = a.columns.inputs * lanes;
    Ahead ahead(a.x + next.begin * a.x_channel + top * x_row + left * lanes, a.x_channel,
                same || tile_after > tile ? next.end - next.begin : 0, next_r.spacing * x_row, next_r.count,
                (next_c.count - 1) * next_c.spacing + 1, out_blocks * runs * run_blocks);
    for (std::int64_t i = 0; i < out_blocks; ++i) {
      const Range o = chunk(count, out_blocks, i);
      const std::int64_t first = outs.begin + o.begin;
      b.w = Direct ? a.w + first * a.w_out + channels.begin * a.w_channel : packed + o.begin;
      b.w_stride = Direct ? (Interleaved ? a.w_channel : a.w_out) : packed_stride;
      b.b = a.b ? a.b + first : nullptr;
      b.y = a.y + first * a.y_out;
      for (std::int64_t j = 0; j < runs * run_blocks; ++j) {
        const Range at = chunk(run, run_blocks, j % run_blocks);
        b.x_at = x_at + j / run_blocks * run + at.begin;
        b.y_at = y_at + j / run_blocks * run + at.begin;
        ahead.fetch();
        tile_block<Interleaved>(b, o.end - o.begin, at.end - at.begin, std::make_integer_sequence<int, tile_outs * tile_cols>{});
      }
    }
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
