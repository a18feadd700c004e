// Conv2dBackwardWeight: sums over samples and positions, kept in registers per block of weights.
#include <cassert>
#include <cstring>

#include "kernels/chunks.h"
#include "kernels/cpu/axis.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/outer_sum.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

// Sum of all samples of one filter's dy, in four interleaved chains of additions.
inline float sum_of_planes(const float* dy, std::int64_t samples, std::int64_t sample, std::int64_t plane) {
  V s[4] = {zero(), zero(), zero(), zero()};
  for (std::int64_t n = 0; n < samples; ++n, dy += sample) {
    std::int64_t i = 0;
    for (; i + 4 <= plane; i += 4)
      for (int j = 0; j < 4; ++j) s[j] = s[j] + load(dy + (i + j) * lanes);
    for (; i < plane; ++i) s[0] = s[0] + load(dy + i * lanes);
  }
  return reduce_add((s[0] + s[1]) + (s[2] + s[3]));
}

// y[i] = sum over k < chunks, in order, of partial[k*stride + i]
inline void add_chunks(float* y, const float* partial, std::int64_t n, std::int64_t chunks, std::int64_t stride) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    V sum = loadu(partial + i);
    for (std::int64_t k = 1; k < chunks; ++k) sum = sum + loadu(partial + k * stride + i);
    storeu(y + i, sum);
  }
  for (; i < n; ++i) {
    float sum = partial[i];
    for (std::int64_t k = 1; k < chunks; ++k) sum += partial[k * stride + i];
    y[i] = sum;
  }
}

// How the weights and positions are cut. None of it but the tiles' order of positions shows in the results.
struct Cut {
  std::int64_t filters, channels;            // at most, per index
  std::int64_t kernel_rows, kernel_columns;  // taps per index: all, or one row's, or one
  std::int64_t rows, columns;                // positions per tile: whole rows, or a part of one
};

// Sums of one index, lines of its packed x, positions of its tile: 256 KB, 160 KB, 4 KB of stack.
constexpr std::int64_t max_sums = 4096, max_lines = 2560, max_positions = 1024;

// Lines of 64 bytes that one channel's x of a tile takes.
inline std::int64_t lines(Axis rows, Axis columns, const Cut& cut) {
  rows.taps = cut.kernel_rows;
  columns.taps = cut.kernel_columns;
  return rows.reads({0, cut.rows}).count * columns.reads({0, cut.columns}).count;
}

inline Cut cut_for(const ConvShape& s, const Axis& rows, const Axis& columns) {
  // A tile's dy of one register block of filters is to stay in L1: 4 x 96 lines are 24 KB.
  Cut cut{16, s.channels_per_group(), s.window.kernel_h, s.window.kernel_w, 1, s.y.w};
  if (cut.columns > 128) cut.columns = ceil_div(s.y.w, ceil_div(s.y.w, 96));
  else cut.rows = cut.columns > 96 ? 1 : 96 / cut.columns;
  if (cut.rows > s.y.h) cut.rows = s.y.h;
  while (lines(rows, columns, cut) > max_lines) {
    if (cut.rows > 1) cut.rows = (cut.rows + 1) / 2;
    else if (cut.kernel_rows > 1) cut.kernel_rows = 1;
    else cut.kernel_columns = 1;
  }
  if (cut.filters > s.filters_per_group()) cut.filters = s.filters_per_group();
  const std::int64_t taps = cut.kernel_rows * cut.kernel_columns;
  if (cut.filters * taps > max_sums) cut.kernel_rows = 1;
  if (cut.filters * cut.kernel_rows * cut.kernel_columns > max_sums) cut.kernel_columns = 1;
  const std::int64_t most = max_sums / (cut.filters * cut.kernel_rows * cut.kernel_columns),
                     fitting = max_lines / lines(rows, columns, cut);
  if (cut.channels > most) cut.channels = most;
  if (cut.channels > fitting) cut.channels = fitting;
  return cut;
}

// The weights of filters o, channels c and taps u x v of one convolution group, for the samples' groups n.
struct WeightBlock {
  const float *dy, *x;  // of the convolution group, first sample
  float* out;
  Range n, o, c, u, v;
};

inline void sum_weights(const ConvShape& s, Axis rows, Axis columns, const Cut& cut, const WeightBlock& block) {
  alignas(64) float packed[max_lines * lanes], sums[max_sums * lanes];
  alignas(64) float values[max_sums];
  std::int32_t position[max_positions], stream[max_sums];
  const std::int64_t x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes;
  const std::int64_t filters = block.o.end - block.o.begin, channels = block.c.end - block.c.begin;
  rows.first += block.u.begin * rows.step;
  rows.taps = block.u.end - block.u.begin;
  columns.first += block.v.begin * columns.step;
  columns.taps = block.v.end - block.v.begin;
  const std::int64_t taps = rows.taps * columns.taps, streams = channels * taps;
  const std::int64_t stream_blocks = ceil_div(streams, max_streams), out_blocks = ceil_div(filters, max_outs);
  const std::int64_t row_tiles = ceil_div(s.y.h, cut.rows), column_tiles = ceil_div(s.y.w, cut.columns);

  OuterSum a{};
  a.dy_out = y_plane;
  a.stream = stream;
  a.position = position;
  a.sum_out = streams * lanes;
  for (std::int64_t n = block.n.begin; n < block.n.end; ++n) {
    for (std::int64_t tile = 0; tile < row_tiles * column_tiles; ++tile) {
      const Range p = chunk(s.y.h, row_tiles, tile / column_tiles), q = chunk(s.y.w, column_tiles, tile % column_tiles);
      const Axis::Reads r = rows.reads(p), c = columns.reads(q);
      const float* x = block.x + (n * s.x.c + block.c.begin) * x_plane;
      // Without padding a few channels are read where they lie; more would share L1's sets.
      const bool direct = channels <= 8 && rows.inside(r) && columns.inside(c);
      const std::int64_t x_channel = direct ? x_plane : r.count * c.count * lanes;
      const std::int64_t row = direct ? r.spacing * s.x.w * lanes : c.count * lanes, column = direct ? c.spacing * lanes : lanes;
      if (direct) {
        a.x = x + (r.low * s.x.w + c.low) * lanes;
      } else {
        for (std::int64_t k = 0; k < channels; ++k) pack_plane(packed + k * x_channel, x + k * x_plane, rows, columns, r, c);
        a.x = packed;
      }
      a.positions = 0;
      for (std::int64_t i = p.begin; i < p.end; ++i)
        for (std::int64_t j = q.begin; j < q.end; ++j)
          position[a.positions++] = static_cast<std::int32_t>(rows.at(i, r) * row + columns.at(j, c) * column);
      for (std::int64_t k = 0, t = 0; k < channels; ++k)
        for (std::int64_t u = 0; u < rows.taps; ++u)
          for (std::int64_t v = 0; v < columns.taps; ++v)
            stream[t++] = static_cast<std::int32_t>(k * x_channel + u * rows.tap(r) * row + v * columns.tap(c) * column);
      a.resume = n > block.n.begin || tile > 0;
      const float* dy = block.dy + (n * s.y.c + block.o.begin) * y_plane + (p.begin * s.y.w + q.begin) * lanes;
      for (std::int64_t i = 0; i < out_blocks; ++i) {
        const Range o = chunk(filters, out_blocks, i);
        a.dy = dy + o.begin * y_plane;
        for (std::int64_t k = 0; k < stream_blocks; ++k) {
          const Range t = chunk(streams, stream_blocks, k);
          a.stream = stream + t.begin;
          a.sum = sums + (o.begin * streams + t.begin) * lanes;
          outer_sum(a, o.end - o.begin, t.end - t.begin);
        }
      }
    }
  }

  const std::int64_t count = filters * streams;
  for (std::int64_t i = 0; i < count; i += lanes) store(values + i, reduce_add_rows(sums + i * lanes));
  const Window& k = s.window;
  const float* from = values;
  for (std::int64_t o = block.o.begin; o < block.o.end; ++o)
    for (std::int64_t c = block.c.begin; c < block.c.end; ++c)
      for (std::int64_t u = block.u.begin; u < block.u.end; ++u, from += columns.taps)
        std::memcpy(block.out + ((o * s.channels_per_group() + c) * k.kernel_h + u) * k.kernel_w + block.v.begin, from,
                    static_cast<std::size_t>(columns.taps) * sizeof(float));
}

}  // namespace

// One index is one block of weights of one chunk of samples, or one filter's db of one chunk.
void run(const Conv2dBackwardWeight& call, const Memory& memory) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  assert(s.x.lanes == lanes && s.y.lanes == lanes);
  const float* dy = memory.at<const float>(call.dy);
  const float* x = memory.at<const float>(call.x);
  float* partial = memory.at<float>(call.partial);
  float* dw = memory.at<float>(call.dw);
  float* db = memory.at<float>(call.db);
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group(), area = k.area();
  const std::int64_t x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes, chunks = call.chunks;
  const std::int64_t weights = s.weights(), partial_stride = weights + s.y.c;

  const Axis rows{s.y.h, k.stride_h, -k.pad_h, k.kernel_h, k.dilation_h, s.x.h};
  const Axis columns{s.y.w, k.stride_w, -k.pad_w, k.kernel_w, k.dilation_w, s.x.w};
  const Cut cut = cut_for(s, rows, columns);
  const std::int64_t filter_blocks = ceil_div(filters, cut.filters), channel_blocks = ceil_div(channels, cut.channels);
  const std::int64_t row_blocks = ceil_div(k.kernel_h, cut.kernel_rows), column_blocks = ceil_div(k.kernel_w, cut.kernel_columns);
  const std::int64_t blocks = s.groups * filter_blocks * channel_blocks * row_blocks * column_blocks;
  const std::int64_t sums = db ? s.y.c : 0;

  parallel_for(chunks * (blocks + sums), [=](std::int64_t item) {
    const std::int64_t part = item / (blocks + sums);
    const Range n = chunk(s.x.groups(), chunks, part);
    float* out = partial + part * partial_stride;
    std::int64_t i = item % (blocks + sums);
    if (i >= blocks) {
      const std::int64_t f = i - blocks;
      out[weights + f] = sum_of_planes(dy + (n.begin * s.y.c + f) * y_plane, n.end - n.begin, s.y.c * y_plane, s.y.plane());
      return;
    }
    WeightBlock b{};
    b.n = n;
    b.v = chunk(k.kernel_w, column_blocks, i % column_blocks);
    i /= column_blocks;
    b.u = chunk(k.kernel_h, row_blocks, i % row_blocks);
    i /= row_blocks;
    b.c = chunk(channels, channel_blocks, i % channel_blocks);
    i /= channel_blocks;
    b.o = chunk(filters, filter_blocks, i % filter_blocks);
    const std::int64_t group = i / filter_blocks;
    b.dy = dy + group * filters * y_plane;
    b.x = x + group * channels * x_plane;
    b.out = out + group * filters * channels * area;
    sum_weights(s, rows, columns, cut, b);
  });

  parallel_for(ceil_div(weights, flat_chunk), [=](std::int64_t i) {
    const std::int64_t begin = i * flat_chunk, left = weights - begin;
    add_chunks(dw + begin, partial + begin, left < flat_chunk ? left : flat_chunk, chunks, partial_stride);
  });
  if (db) add_chunks(db, partial + weights, s.y.c, chunks, partial_stride);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
