// Conv2dForward: rows of outputs as register-blocked correlations.
#include <cassert>

#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/correlate.h"
#include "kernels/cpu/correlate_tile.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

// The kernel rows r for which p*stride - pad + r*dilation is inside 0 .. height-1.
inline Range rows_inside(std::int64_t top, std::int64_t dilation, std::int64_t kernel, std::int64_t height) {
  const std::int64_t begin = top < 0 ? ceil_div(-top, dilation) : 0;
  const std::int64_t end = top < height ? (height - 1 - top) / dilation + 1 : 0;
  const std::int64_t capped = end < kernel ? end : kernel;
  return {begin, begin < capped ? capped : begin};
}

// With many channels: one index is one tile of outputs of at most max_tile_outs filters of one pack of samples.
// Returns false where the shape is not for tiles.
inline bool run_tiles(const ConvShape& s, float* y, const float* x, const float* w, const float* b, PerThread<TileBuffer> buffer) {
  const Window& k = s.window;
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group(), area = k.area();
  if (channels < 16 || filters < 8) return false;  // rows alone are as good: 112 against 107 GFLOP/s for 6 channels of 5 x 5
  TiledCorrelation a{};
  a.x_channel = s.x.plane() * lanes;
  a.w_out = channels * area;
  a.w_channel = area;
  a.y_out = s.y.plane() * lanes;
  a.y_row = s.y.w * lanes;
  a.y_column = lanes;
  a.channels = channels;
  a.rows = {s.y.h, k.stride_h, -k.pad_h, k.kernel_h, k.dilation_h, s.x.h};
  a.columns = {s.y.w, k.stride_w, -k.pad_w, k.kernel_w, k.dilation_w, s.x.w};
  const Tiling t = tiling(a);
  if (t.channel_blocks == 0) return false;
  const std::int64_t parts = tile_out_parts(filters, area, s.y.packs() * s.groups * t.tiles());
  parallel_for(s.y.packs() * s.groups * t.tiles() * parts, [=](std::int64_t item) {
    const std::int64_t tile = item / parts % t.tiles(), group = item / parts / t.tiles() % s.groups,
                       n = item / parts / t.tiles() / s.groups;
    TiledCorrelation g = a;
    g.x = x + (n * s.x.c + group * channels) * a.x_channel;
    g.w = w + group * filters * a.w_out;
    g.b = b ? b + group * filters : nullptr;
    g.y = y + (n * s.y.c + group * filters) * a.y_out;
    correlate_tile<false, true>(g, t, tile, chunk(filters, parts, item % parts), *buffer);
  });
  return true;
}

}  // namespace

// One index is one output row of one block of filters of one pack of samples.
void run(const Conv2dForward& call, const Memory& memory) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  assert(s.x.lanes == lanes && s.y.lanes == lanes);
  const float* x = memory.at<const float>(call.x);
  const float* w = memory.at<const float>(call.w);
  const float* b = memory.at<const float>(call.b);
  float* y = memory.at<float>(call.y);
  if (run_tiles(s, y, x, w, b, PerThread<TileBuffer>(memory))) return;
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group(), area = k.area();
  const std::int64_t blocks = ceil_div(filters, row_outs), x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes;
  const bool pointwise = area == 1 && k.pad_w == 0;

  Upcoming* const upcoming = memory.upcoming;
  parallel_for(s.y.packs() * s.groups * blocks * s.y.h, [=](std::int64_t item) {
    const std::int64_t p = item % s.y.h, block = item / s.y.h % blocks, group = item / s.y.h / blocks % s.groups;
    const std::int64_t n = item / s.y.h / blocks / s.groups;
    const Range o = chunk(filters, blocks, block);
    const std::int64_t first_filter = group * filters + o.begin;
    const std::int64_t top = p * k.stride_h - k.pad_h;
    const Range r = rows_inside(top, k.dilation_h, k.kernel_h, s.x.h);

    Correlation a{};
    a.upcoming = upcoming;
    a.x = x + (n * s.x.c + group * channels) * x_plane;
    a.w = w + first_filter * channels * area + r.begin * k.kernel_w;
    if (r.begin < r.end) a.x += (top + r.begin * k.dilation_h) * s.x.w * lanes;
    a.x_channel = x_plane;
    a.x_row = s.x.w * lanes * k.dilation_h;
    a.x_first = -static_cast<std::int64_t>(k.pad_w) * lanes;
    a.x_column = static_cast<std::int64_t>(k.stride_w) * lanes;
    a.x_tap = static_cast<std::int64_t>(k.dilation_w) * lanes;
    a.x_width = s.x.w * lanes;
    a.w_out = channels * area;
    a.w_channel = area;
    a.w_row = k.kernel_w;
    a.w_tap = 1;
    a.b = b ? b + first_filter : nullptr;
    a.y = y + (n * s.y.c + first_filter) * y_plane + p * s.y.w * lanes;
    a.y_out = y_plane;
    a.y_column = lanes;
    a.channels = channels;
    a.rows = r.end - r.begin;
    a.taps = k.kernel_w;
    if (pointwise) {  // the channels are the taps: one tight loop
      a.x_tap = x_plane;
      a.taps = channels;
      a.channels = 1;
      correlate_row<0, 0, false>(a, o.end - o.begin, s.y.w);
    } else {
      correlate_image_row<1>(a, o.end - o.begin, s.y.w);
    }
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
