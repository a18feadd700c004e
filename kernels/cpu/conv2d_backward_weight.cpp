// Conv2dBackwardWeight: sums over samples and positions, kept in registers per block of weights.
#include <cassert>

#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/outer_sum_row.h"
#include "kernels/cpu/outer_sum_tile.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

// The outputs i in 0 .. count-1 for which i*stride + low and i*stride + high (low <= high) are in 0 .. size-1.
inline Range outputs_inside(std::int64_t low, std::int64_t high, std::int64_t stride, std::int64_t size, std::int64_t count) {
  std::int64_t begin = low < 0 ? ceil_div(-low, stride) : 0;
  std::int64_t end = high < size ? (size - 1 - high) / stride + 1 : 0;
  if (begin > count) begin = count;
  if (end > count) end = count;
  return {begin, begin < end ? end : begin};
}

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

// The weights of a few filters, row by row. A block is filters x taps of one kernel row and channel. If the kernel is one column wide,
// channels take the place of taps.
struct RowBlocks {
  const ConvShape& s;
  bool column = s.window.kernel_w == 1;
  std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group();
  std::int64_t streams = column ? channels : s.window.kernel_w, outer_channels = column ? 1 : channels;
  std::int64_t stream_blocks = ceil_div(streams, row_streams);
  std::int64_t filter_blocks = ceil_div(filters, row_outs_for(ceil_div(streams, stream_blocks)));
  std::int64_t blocks() const { return s.groups * filter_blocks * outer_channels * stream_blocks * s.window.kernel_h; }

  void sum(std::int64_t i, float* out, const float* x, const float* dy, Range n) const {
    const Window& k = s.window;
    const std::int64_t area = k.area(), x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes;
    const std::int64_t r = i % k.kernel_h;
    i /= k.kernel_h;
    const Range t = chunk(streams, stream_blocks, i % stream_blocks);
    i /= stream_blocks;
    const std::int64_t c = column ? t.begin : i % outer_channels;
    i /= outer_channels;
    const Range o = chunk(filters, filter_blocks, i % filter_blocks);
    const std::int64_t group = i / filter_blocks, filter = group * filters + o.begin;

    const std::int64_t top = r * k.dilation_h - k.pad_h, first_tap = column ? 0 : t.begin, last_tap = column ? 0 : t.end - 1;
    const std::int64_t left = first_tap * k.dilation_w - k.pad_w, right = last_tap * k.dilation_w - k.pad_w;
    const Range p = outputs_inside(top, top, k.stride_h, s.x.h, s.y.h);
    const Range q = outputs_inside(left, right, k.stride_w, s.x.w, s.y.w);

    RowSum a{};
    a.dy = dy + (n.begin * s.y.c + filter) * y_plane + p.begin * s.y.w * lanes;
    a.dy_sample = s.y.c * y_plane;
    a.dy_out = y_plane;
    a.dy_row = s.y.w * lanes;
    a.dy_column = lanes;
    a.x = x + (n.begin * s.x.c + group * channels + c) * x_plane;
    if (p.begin < p.end) a.x += (p.begin * k.stride_h + top) * s.x.w * lanes;
    a.x_sample = s.x.c * x_plane;
    a.x_row = k.stride_h * s.x.w * lanes;
    a.x_column = static_cast<std::int64_t>(k.stride_w) * lanes;
    a.x_shift = column ? 0 : static_cast<std::int64_t>(k.dilation_w) * lanes;
    a.x_stream = column ? x_plane : a.x_shift;
    a.x_first = left * lanes;
    a.x_width = s.x.w * lanes;
    a.samples = n.end - n.begin;
    a.rows = p.end - p.begin;
    a.columns = s.y.w;
    a.inner_begin = q.begin;
    a.inner_end = q.end;
    a.out = out + (filter * channels + c) * area + r * k.kernel_w + first_tap;
    a.out_out = channels * area;
    a.out_stream = column ? area : 1;
    row_sum(a, o.end - o.begin, t.end - t.begin);
  }
};

}  // namespace

// One index is one block of weights of one chunk of samples; then one filter's db of one chunk. There are two loops, since threads take
// equal shares of a loop's indices. With as many filters as blocks, one loop would give all blocks to one thread.
void run_partial(const Conv2dBackwardWeight& call, const Memory& memory) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  assert(s.x.lanes == lanes && s.y.lanes == lanes);
  const float* dy = memory.at<const float>(call.dy);
  const float* x = memory.at<const float>(call.x);
  float* partial = memory.at<float>(call.partial);
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group(), area = k.area();
  const std::int64_t x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes, chunks = call.chunks;
  const std::int64_t weights = s.weights(), partial_stride = weights + s.y.c;

  const Axis rows{s.y.h, k.stride_h, -k.pad_h, k.kernel_h, k.dilation_h, s.x.h};
  const Axis columns{s.y.w, k.stride_w, -k.pad_w, k.kernel_w, k.dilation_w, s.x.w};
  const WeightCut cut = cut_weights(s, rows, columns, chunks);
  const std::int64_t filter_blocks = ceil_div(filters, cut.filters), channel_blocks = ceil_div(channels, cut.channels);
  const std::int64_t row_blocks = ceil_div(k.kernel_h, cut.kernel_rows), column_blocks = ceil_div(k.kernel_w, cut.kernel_columns);
  const RowBlocks by_rows{.s = s};
  const bool few = filters < max_outs;
  const std::int64_t blocks = few ? by_rows.blocks() : s.groups * filter_blocks * channel_blocks * row_blocks * column_blocks;

  Upcoming* const upcoming = memory.upcoming;
  const PerThread<ConvWeightBuffer> buffer(memory);
  parallel_for(chunks * blocks, [=](std::int64_t item) {
    const std::int64_t part = item / blocks;
    const Range n = chunk(s.x.packs(), chunks, part);
    float* out = partial + part * partial_stride;
    std::int64_t i = item % blocks;
    if (few) return by_rows.sum(i, out, x, dy, n);
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
    sum_weights(s, rows, columns, cut, b, *buffer, upcoming);
  });
  if (!call.db) return;
  parallel_for(chunks * s.y.c, [=](std::int64_t item) {
    const std::int64_t part = item / s.y.c, f = item % s.y.c;
    const Range n = chunk(s.x.packs(), chunks, part);
    partial[part * partial_stride + weights + f] =
        sum_of_planes(dy + (n.begin * s.y.c + f) * y_plane, n.end - n.begin, s.y.c * y_plane, s.y.plane());
  });
}

void finish(const Conv2dBackwardWeight& call, const Memory& memory) {
  const float* partial = memory.at<const float>(call.partial);
  float* dw = memory.at<float>(call.dw);
  float* db = memory.at<float>(call.db);
  const std::int64_t chunks = call.chunks, weights = call.shape.weights(), filters = call.shape.y.c, partial_stride = weights + filters;
  parallel_for(ceil_div(weights, flat_chunk), [=](std::int64_t i) {
    const std::int64_t begin = i * flat_chunk, left = weights - begin;
    add_chunks(dw + begin, partial + begin, left < flat_chunk ? left : flat_chunk, chunks, partial_stride);
  });
  if (db) add_chunks(db, partial + weights, filters, chunks, partial_stride);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
