// Conv2dForward and LinearForward of one sample: register blocks of filters by neighbouring positions. And the transposed convolution.
#include <cstring>
#include <utility>

#include "kernels/chunks.h"
#include "kernels/cpu/sample/sample.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// y[f][j] = b[f] + sum over (c, r, s) of w[c][r][s][f] * x[c*x_channel + r*x_row + s*x_tap + j*x_column]
// for neighbouring filters f and positions j; strides are in floats.
struct SampleBlock {
  const float* x;
  std::int64_t x_channel, x_row, x_tap, x_column;
  const float* w;        // of the first filter, [channels*rows*taps][16]
  std::int64_t w_block;  // from a block of 16 filters to the next
  const float* b;        // of all its filters
  std::int64_t channels, rows, taps;
};

// Sums that stay in registers; most vectors of filters at a time.
constexpr int most_sums = registers >= 32 ? 24 : 12, most_vectors = 8;
constexpr int most_positions = 12;

template <int Vectors, int Positions>
inline void sum_block(const SampleBlock& block, float* y) {  // y: [Positions][Vectors * register_lanes]
  const SampleBlock a = block;                               // a store could change what the reference refers to
  Register sum[Positions][Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const Register b = loadu_register(a.b + v * register_lanes);
#pragma GCC unroll 12
    for (int j = 0; j < Positions; ++j) sum[j][v] = b;
  }
  const float* w = a.w;
  for (std::int64_t c = 0; c < a.channels; ++c)
    for (std::int64_t r = 0; r < a.rows; ++r) {
      const float* x = a.x + c * a.x_channel + r * a.x_row;
      for (std::int64_t s = 0; s < a.taps; ++s, x += a.x_tap, w += 16) {
        Register ws[Vectors];
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) ws[v] = loadu_register(w + v * register_lanes / 16 * a.w_block + v * register_lanes % 16);
#pragma GCC unroll 12
        for (int j = 0; j < Positions; ++j) {
          const Register xj = broadcast(x[j * a.x_column]);
#pragma GCC unroll 8
          for (int v = 0; v < Vectors; ++v) sum[j][v] = fma(xj, ws[v], sum[j][v]);
        }
      }
    }
#pragma GCC unroll 12
  for (int j = 0; j < Positions; ++j)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) storeu_register(y + (j * Vectors + v) * register_lanes, sum[j][v]);
}

template <int Vectors, int... Position>
inline void sum_positions(const SampleBlock& a, float* y, std::int64_t positions, std::integer_sequence<int, Position...>) {
  using Kernel = void (*)(const SampleBlock&, float*);
  static constexpr Kernel kernels[] = {&sum_block<Vectors, Position + 1>...};
  kernels[positions - 1](a, y);
}

template <int Vectors>
constexpr int positions_for = most_sums / Vectors < most_positions ? most_sums / Vectors : most_positions;

// A row of `width` outputs of `filters` filters, at most Vectors vectors of them.
template <int Vectors>
inline void sum_row(SampleBlock a, float* y, std::int64_t y_filter, std::int64_t filters, std::int64_t width) {
  constexpr int most = positions_for<Vectors>, stride = Vectors * register_lanes;
  alignas(64) float sums[most * stride], bias[stride] = {};
  if (a.b) std::memcpy(bias, a.b, static_cast<std::size_t>(filters) * sizeof(float));
  a.b = bias;
  const std::int64_t parts = ceil_div(width, most);
  const float* const x = a.x;
  for (std::int64_t part = 0; part < parts; ++part) {
    const Range columns = chunk(width, parts, part);
    a.x = x + columns.begin * a.x_column;
    sum_positions<Vectors>(a, sums, columns.end - columns.begin, std::make_integer_sequence<int, most>{});
    for (std::int64_t f = 0; f < filters; ++f)
      for (std::int64_t j = columns.begin; j < columns.end; ++j) y[f * y_filter + j] = sums[(j - columns.begin) * stride + f];
  }
}

// So many vectors of filters at a time that there are sums enough to hide the latency of a multiply-add. The last may be of no filters at
// all, in a block that has 16 anyway.
inline std::int64_t vectors_at_once(std::int64_t vectors, std::int64_t width) {
  constexpr std::int64_t in_block = 16 / register_lanes;
  const std::int64_t there = vectors > 2 ? ceil_div(vectors, in_block) * in_block : vectors;
  std::int64_t at_once = 1;
  while (at_once < most_vectors && 2 * at_once <= there && (at_once < 2 || at_once * width < 8)) at_once *= 2;
  return at_once;
}

// All filters of a group at a row of outputs.
inline void sum_filters(SampleBlock a, float* y, std::int64_t y_filter, std::int64_t filters, std::int64_t width) {
  const std::int64_t vectors = ceil_div(filters, register_lanes);
  const float *const w = a.w, *const b = a.b;
  for (std::int64_t v = 0, now; v < vectors; v += now) {
    now = vectors_at_once(vectors - v, width);
    const std::int64_t first = v * register_lanes, left = filters - first, all = now * register_lanes, here = left < all ? left : all;
    a.w = w + first / 16 * a.w_block + first % 16;
    a.b = b ? b + first : nullptr;
    float* const to = y + first * y_filter;
    switch (now) {
      case 1: sum_row<1>(a, to, y_filter, here, width); break;
      case 2: sum_row<2>(a, to, y_filter, here, width); break;
      case 4: sum_row<4>(a, to, y_filter, here, width); break;
      default: sum_row<8>(a, to, y_filter, here, width); break;
    }
  }
}

// A sample with its padding, where the windows reach; x itself if there is none.
struct PaddedSample {
  const float* x;
  std::int64_t plane, row;
};
inline PaddedSample pad(const ConvShape& s, const float* x, std::byte* scratch) {
  if (!padded(s.window)) return {x, s.x.plane(), s.x.w};
  const std::int64_t rows = reached_rows(s), columns = reached_columns(s),
                     past = s.x.w < columns - s.window.pad_w ? s.x.w : columns - s.window.pad_w;
  float* const to = reinterpret_cast<float*>(scratch);
  std::memset(to, 0, static_cast<std::size_t>(s.x.c * rows * columns) * sizeof(float));
  if (past > 0)
    for (std::int64_t c = 0; c < s.x.c; ++c)
      for (std::int64_t h = 0; h < s.x.h && h + s.window.pad_h < rows; ++h)
        std::memcpy(to + (c * rows + h + s.window.pad_h) * columns + s.window.pad_w, x + (c * s.x.h + h) * s.x.w,
                    static_cast<std::size_t>(past) * sizeof(float));
  return {to, rows * columns, columns};
}

// With few filters a group: 16 neighbouring outputs of one filter at a time.
inline void sum_outputs(const ConvShape& s, const PaddedSample& in, const float* w, const float* b, float* y) {
  const Window& k = s.window;
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group();
  for (std::int64_t f = 0; f < s.y.c; ++f, w += channels * k.area()) {
    const float* const x = in.x + f / filters * channels * in.plane;
    for (std::int64_t p = 0; p < s.y.h; ++p)
      for (std::int64_t q = 0; q < s.y.w; q += 16) {
        const std::int64_t count = s.y.w - q < 16 ? s.y.w - q : 16;
        V sum = set1(b ? b[f] : 0.0f);
        const float* tap = w;
        for (std::int64_t c = 0; c < channels; ++c)
          for (std::int64_t r = 0; r < k.kernel_h; ++r) {
            const float* from = x + c * in.plane + (p * k.stride_h + r * k.dilation_h) * in.row + q * k.stride_w;
            for (std::int64_t t = 0; t < k.kernel_w; ++t, from += k.dilation_w, ++tap) {
              if (k.stride_w == 1 && count == 16) {
                sum = fma(loadu(from), set1(*tap), sum);
                continue;
              }
              alignas(64) float lane[16] = {};
              for (std::int64_t l = 0; l < count; ++l) lane[l] = from[l * k.stride_w];
              sum = fma(load(lane), set1(*tap), sum);
            }
          }
        alignas(64) float lane[16];
        store(lane, sum);
        std::memcpy(y + (f * s.y.h + p) * s.y.w + q, lane, static_cast<std::size_t>(count) * sizeof(float));
      }
  }
}

inline void convolve(const ConvShape& s, const float* x, const float* w, const float* b, float* y, std::byte* scratch) {
  const Window& k = s.window;
  const PaddedSample in = pad(s, x, scratch);
  if (!filters_are_lanes(s)) return sum_outputs(s, in, w, b, y);
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group();
  SampleBlock a{.x = in.x,
                .x_channel = in.plane,
                .x_row = k.dilation_h * in.row,
                .x_tap = k.dilation_w,
                .x_column = k.stride_w,
                .w = w,
                .w_block = channels * k.area() * 16,
                .b = b,
                .channels = channels,
                .rows = k.kernel_h,
                .taps = k.kernel_w};
  if (k.area() == 1) a.taps = channels, a.x_tap = in.plane, a.channels = 1;             // one tight loop
  const bool flat = k.area() == 1 && k.stride_h == 1 && k.stride_w == 1 && !padded(k);  // rows are neighbours, too
  const std::int64_t rows = flat ? 1 : s.y.h, width = flat ? s.y.plane() : s.y.w;
  for (std::int64_t group = 0; group < s.groups; ++group)
    for (std::int64_t p = 0; p < rows; ++p) {
      SampleBlock row = a;
      row.x += group * channels * in.plane + p * k.stride_h * in.row;
      row.w += group * filter_blocks(s) * a.w_block;
      if (b) row.b += group * filters;
      sum_filters(row, y + group * filters * s.y.plane() + p * width, s.y.plane(), filters, width);
    }
}

}  // namespace

void run_sample(const Conv2dForward& call, const Memory& memory) {
  const ConvShape& s = call.shape;
  for (std::int64_t n = 0; n < s.x.n; ++n)
    convolve(s, memory.at<const float>(call.x) + n * s.x.features(), memory.at<const float>(call.w), memory.at<const float>(call.b),
             memory.at<float>(call.y) + n * s.y.features(), memory.scratch);
}

void run_sample(const LinearForward& call, const Memory& memory) {
  const ConvShape s = as_convolution(call);
  for (std::int64_t n = 0; n < s.x.n; ++n)
    convolve(s, memory.at<const float>(call.x) + n * s.x.c, memory.at<const float>(call.w), memory.at<const float>(call.b),
             memory.at<float>(call.y) + n * s.y.c, memory.scratch);
}

// Rows of dx, to which each tap adds what it reads: in the order in which the taps of one element are gathered.
void run_sample(const Conv2dBackwardInput& call, const Memory& memory) {
  const ConvShape& s = call.shape;
  const Window& k = s.window;
  const std::int64_t channels = s.channels_per_group(), filters = s.filters_per_group();
  const float* const w = memory.at<const float>(call.w);
  const float* const b = memory.at<const float>(call.b);
  for (std::int64_t plane = 0; plane < s.x.n * s.x.c; ++plane) {
    const std::int64_t n = plane / s.x.c, c = plane % s.x.c, group = c / channels;
    for (std::int64_t h = 0; h < s.x.h; ++h) {
      float* const row = memory.at<float>(call.dx) + (plane * s.x.h + h) * s.x.w;
      for (std::int64_t i = 0; i < s.x.w; ++i) row[i] = b ? b[c] : 0.0f;
      for (std::int64_t f = group * filters; f < (group + 1) * filters; ++f)
        for (std::int64_t r = 0; r < k.kernel_h; ++r) {
          const std::int64_t from = h + k.pad_h - r * k.dilation_h, p = from / k.stride_h;
          if (from < 0 || from % k.stride_h != 0 || p >= s.y.h) continue;
          const float* const dy = memory.at<const float>(call.dy) + ((n * s.y.c + f) * s.y.h + p) * s.y.w;
          for (std::int64_t t = 0; t < k.kernel_w; ++t) {
            const float tap = w[((f * channels + c % channels) * k.kernel_h + r) * k.kernel_w + t];
            const std::int64_t shift = t * k.dilation_w - k.pad_w;  // of output q to input q*stride + shift
            const std::int64_t begin = shift < 0 ? ceil_div(-shift, k.stride_w) : 0;
            const std::int64_t past = s.x.w > shift ? ceil_div(s.x.w - shift, k.stride_w) : 0, end = past < s.y.w ? past : s.y.w;
            for (std::int64_t q = begin; q < end; ++q) {
              float& sum = row[q * k.stride_w + shift];
              sum = __builtin_fmaf(dy[q], tap, sum);
            }
          }
        }
    }
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
