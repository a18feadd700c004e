// Conv2dBackwardInput: rows of dx as register-blocked correlations of dy, the taps gathered, so nothing is added twice.
#include <cassert>

#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/correlate.h"
#include "kernels/cpu/correlate_tile.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

// The taps t of a kernel that reach input position i: those where (i + pad - t*dilation) is a multiple of the stride.
// They are first, first + step, ...; tap first + u*step reads output position source - u*source_step.
struct ReachingTaps {
  std::int64_t first, step, count, source, source_step;
};

inline ReachingTaps reaching_taps(std::int64_t i, std::int64_t kernel, std::int64_t stride, std::int64_t pad, std::int64_t dilation) {
  std::int64_t gcd = stride;
  for (std::int64_t a = dilation; a != 0;) {
    const std::int64_t rest = gcd % a;
    gcd = a;
    a = rest;
  }
  const std::int64_t step = stride / gcd;
  for (std::int64_t t = 0; t < step && t < kernel; ++t)
    if ((i + pad - t * dilation) % stride == 0)
      return {t, step, (kernel - 1 - t) / step + 1, (i + pad - t * dilation) / stride, dilation / gcd};
  return {0, step, 0, 0, dilation / gcd};
}

// The input positions phase, phase + stride, ... of one direction, as outputs of a correlation with dy.
inline Axis phase_axis(std::int64_t phase, std::int64_t inputs, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                       std::int64_t dilation, std::int64_t outputs) {
  const ReachingTaps t = reaching_taps(phase, kernel, stride, pad, dilation);
  return {phase < inputs ? (inputs - 1 - phase) / stride + 1 : 0, 1, t.source, t.count, -t.source_step, outputs};
}

// b alone, or zeros, for the positions of dx of a phase that no tap reaches; whole rows: of all columns.
inline void clear_phase(const ConvShape& s, float* dx, const float* b, std::int64_t first_row, std::int64_t first_column, bool whole_rows) {
  const std::int64_t first = whole_rows ? 0 : first_column, step = whole_rows ? 1 : s.window.stride_w;
  parallel_for(s.x.packs() * s.x.c, [=](std::int64_t plane) {
    const V value = set1(b ? b[plane % s.x.c] : 0.0f);
    for (std::int64_t h = first_row; h < s.x.h; h += s.window.stride_h)
      for (std::int64_t w = first; w < s.x.w; w += step) store(dx + ((plane * s.x.h + h) * s.x.w + w) * lanes, value);
  });
}

// Serves many filters. For each phase of the strides, one index is one tile of its positions, of at most max_tile_outs channels of one
// pack. Returns false if tiles do not suit the shape.
inline bool run_tiles(const ConvShape& s, float* dx, const float* dy, const float* w, const float* b, PerThread<TileBuffer> buffer) {
  const Window& k = s.window;
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group(), area = k.area();
  // The zeros around dy take part, which must not be many: the taps that count are stride^2 to one.
  if (filters < 32 || channels < 8 || s.x.plane() > 2 * s.y.plane() * k.stride_h * k.stride_w) return false;
  const auto axis_h = [&](std::int64_t phase) { return phase_axis(phase, s.x.h, k.kernel_h, k.stride_h, k.pad_h, k.dilation_h, s.y.h); };
  const auto axis_w = [&](std::int64_t phase) { return phase_axis(phase, s.x.w, k.kernel_w, k.stride_w, k.pad_w, k.dilation_w, s.y.w); };
  TiledCorrelation a{};
  a.x = dy;
  a.x_channel = s.y.plane() * lanes;
  a.w_out = area;
  a.w_channel = channels * area;
  a.y_out = s.x.plane() * lanes;
  a.y_row = k.stride_h * s.x.w * lanes;
  a.y_column = static_cast<std::int64_t>(k.stride_w) * lanes;
  a.channels = filters;
  const auto cut = [&](std::int64_t phase) {
    a.rows = axis_h(phase / k.stride_w);
    a.columns = axis_w(phase % k.stride_w);
    const bool work = a.rows.outputs > 0 && a.columns.outputs > 0 && a.rows.taps > 0 && a.columns.taps > 0;
    return work ? tiling(a) : Tiling{0, 0, 1};
  };
  const std::int64_t phases = static_cast<std::int64_t>(k.stride_h) * k.stride_w;
  for (std::int64_t phase = 0; phase < phases; ++phase)
    if (cut(phase).channel_blocks == 0) return false;
  for (std::int64_t phase = 0; phase < phases; ++phase) {
    const Tiling t = cut(phase);
    if (t.tiles() == 0) {
      const bool whole_rows = a.rows.taps == 0;
      if (!whole_rows || phase % k.stride_w == 0) clear_phase(s, dx, b, phase / k.stride_w, phase % k.stride_w, whole_rows);
      continue;
    }
    const ReachingTaps r = reaching_taps(phase / k.stride_w, k.kernel_h, k.stride_h, k.pad_h, k.dilation_h);
    const ReachingTaps q = reaching_taps(phase % k.stride_w, k.kernel_w, k.stride_w, k.pad_w, k.dilation_w);
    a.w = w + r.first * k.kernel_w + q.first;
    a.w_row = r.step * k.kernel_w;
    a.w_tap = q.step;
    a.y = dx + phase / k.stride_w * s.x.w * lanes + phase % k.stride_w * lanes;
    const std::int64_t parts = tile_out_parts(channels, area, s.x.packs() * s.groups * t.tiles());
    parallel_for(s.x.packs() * s.groups * t.tiles() * parts, [=](std::int64_t item) {
      const std::int64_t tile = item / parts % t.tiles(), group = item / parts / t.tiles() % s.groups,
                         n = item / parts / t.tiles() / s.groups;
      TiledCorrelation g = a;
      g.x += (n * s.y.c + group * filters) * a.x_channel;
      g.w += group * filters * a.w_channel;
      g.b = b ? b + group * channels : nullptr;
      g.y += (n * s.x.c + group * channels) * a.y_out;
      if (area == 1) correlate_tile<true, true>(g, t, tile, chunk(channels, parts, item % parts), *buffer);
      else correlate_tile<true, false>(g, t, tile, chunk(channels, parts, item % parts), *buffer);
    });
  }
  return true;
}

}  // namespace

// One index is one row of one block of channels of one pack of samples. In it, columns that are stride_w apart are reached by the same
// taps, from neighbouring columns of dy. Each such phase is a correlation with unit stride.
void run(const Conv2dBackwardInput& call, const Memory& memory) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  assert(s.x.lanes == lanes && s.y.lanes == lanes);
  const float* dy = memory.at<const float>(call.dy);
  const float* w = memory.at<const float>(call.w);
  const float* b = memory.at<const float>(call.b);
  float* dx = memory.at<float>(call.dx);
  if (run_tiles(s, dx, dy, w, b, PerThread<TileBuffer>(memory))) return;
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group(), area = k.area();
  const std::int64_t blocks = ceil_div(channels, row_outs), x_plane = s.x.plane() * lanes, y_plane = s.y.plane() * lanes;
  // Each column of dx is made of the same one of dy. dy may lack some: those of an output_padding.
  const bool pointwise = area == 1 && k.stride_h == 1 && k.stride_w == 1 && k.pad_w == 0 && s.x.w == s.y.w;

  Upcoming* const upcoming = memory.upcoming;
  parallel_for(s.x.packs() * s.groups * blocks * s.x.h, [=](std::int64_t item) {
    const std::int64_t h = item % s.x.h, block = item / s.x.h % blocks, group = item / s.x.h / blocks % s.groups;
    const std::int64_t n = item / s.x.h / blocks / s.groups;
    const Range c = chunk(channels, blocks, block);
    ReachingTaps r = reaching_taps(h, k.kernel_h, k.stride_h, k.pad_h, k.dilation_h);
    for (; r.count > 0 && r.source >= s.y.h; --r.count) {  // rows below dy
      r.first += r.step;
      r.source -= r.source_step;
    }
    while (r.count > 0 && r.source - (r.count - 1) * r.source_step < 0) --r.count;  // rows above it

    Correlation a{};
    a.upcoming = upcoming;
    a.x = dy + (n * s.y.c + group * filters) * y_plane;
    if (r.count > 0) a.x += r.source * s.y.w * lanes;
    a.x_channel = y_plane;
    a.x_row = -r.source_step * s.y.w * lanes;
    a.x_column = lanes;
    a.x_width = s.y.w * lanes;
    a.w_out = area;
    a.w_channel = channels * area;
    a.w_row = r.step * k.kernel_w;
    a.b = b ? b + group * channels + c.begin : nullptr;
    a.y_out = x_plane;
    a.y_column = static_cast<std::int64_t>(k.stride_w) * lanes;
    a.channels = filters;
    a.rows = r.count;
    const float* w_rows = w + (group * filters * channels + c.begin) * area + r.first * k.kernel_w;
    float* dx_row = dx + (n * s.x.c + group * channels + c.begin) * x_plane + h * s.x.w * lanes;

    for (std::int64_t phase = 0; phase < k.stride_w && phase < s.x.w; ++phase) {
      const ReachingTaps q = reaching_taps(phase, k.kernel_w, k.stride_w, k.pad_w, k.dilation_w);
      const std::int64_t columns = (s.x.w - 1 - phase) / k.stride_w + 1;
      a.w = w_rows + q.first;
      a.w_tap = q.step;
      a.x_first = q.source * lanes;
      a.x_tap = -q.source_step * lanes;
      a.taps = q.count;
      a.y = dx_row + phase * lanes;
      if (pointwise) {  // the filters are the taps: one tight loop
        a.x_tap = y_plane;
        a.w_tap = channels;
        a.taps = filters;
        a.channels = 1;
        correlate_row<0, 0, false>(a, c.end - c.begin, columns);
      } else {
        correlate_image_row<-1>(a, c.end - c.begin, columns);
      }
    }
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
