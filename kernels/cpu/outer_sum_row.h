// The register-blocked inner loop of Conv2dBackwardWeight for groups with few filters. It reads rows of x and dy in place: a packed x would
// be read too few times. Depthwise 3 x 3 over 56 x 56: 45 instead of 26 GFLOP/s.
//   sum[o][t] = sum over (n, p, q) and lanes of dy[n, o, p, q] * x[n, p, q, t]
// A block of Outs x Streams accumulators stays in registers for the whole sum. Each is one chain of fma a lane, in the order n, p, q; then
// reduce_add over the lanes.
#pragma once
#include <cstdint>

#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Addresses of a block of sums; strides are in floats.
struct RowSum {
  // dy of (n, o, p, q) is dy[n*dy_sample + o*dy_out + p*dy_row + q*dy_column]
  const float* dy;
  std::int64_t dy_sample, dy_out, dy_row, dy_column;
  // x of (n, p, q, t) is x[n*x_sample + p*x_row + x_first + q*x_column + t*x_stream]. It counts only if x_first + q*x_column + t*x_shift is
  // in [0, x_width); elsewhere is the zero padding. Columns in [inner_begin, inner_end) are inside for every t.
  const float* x;
  std::int64_t x_sample, x_row, x_column, x_stream, x_first, x_shift, x_width;
  std::int64_t samples, rows, columns, inner_begin, inner_end;
  // sum[o][t] is written to out[o*out_out + t*out_stream]
  float* out;
  std::int64_t out_out, out_stream;
};

inline constexpr int row_streams = 5;

// The most outs whose accumulators, with a register for each stream and one for dy, fit into the machine's.
constexpr int row_outs_for(std::int64_t streams) {
  for (int outs = 4; outs > 1; --outs)
    if (outs * streams + streams + 1 <= registers) return outs;
  return 1;
}

// Unit: x_stream is 16.
template <int Outs, int Streams, bool Unit>
inline void row_sum_block(const RowSum& a) {
  constexpr std::int64_t lanes = 16;
  const std::int64_t x_stream = Unit ? lanes : a.x_stream, x_column = a.x_column, dy_column = a.dy_column, dy_out = a.dy_out;
  alignas(64) float total[Outs][Streams][lanes];
  for (std::int64_t part = 0; part < lanes; part += register_lanes) {
    Register sum[Outs][Streams];
    for (int o = 0; o < Outs; ++o)
      for (int t = 0; t < Streams; ++t) sum[o][t] = broadcast(0.0f);

    const auto edge = [&](const float* x, const float* dy, std::int64_t begin, std::int64_t end) __attribute__((always_inline)) {
      for (std::int64_t q = begin; q < end; ++q) {
#pragma GCC unroll 5
        for (int t = 0; t < Streams; ++t) {
          const std::int64_t column = a.x_first + q * x_column, at = column + t * a.x_shift;
          if (at < 0 || at >= a.x_width) continue;
          const Register xt = load_register(x + (column + t * x_stream));
#pragma GCC unroll 4
          for (int o = 0; o < Outs; ++o) sum[o][t] = fma(load_register(dy + q * dy_column + o * dy_out), xt, sum[o][t]);
        }
      }
    };
    for (std::int64_t n = 0; n < a.samples; ++n) {
      for (std::int64_t p = 0; p < a.rows; ++p) {
        const float* x = a.x + n * a.x_sample + p * a.x_row + part;
        const float* dy = a.dy + n * a.dy_sample + p * a.dy_row + part;
        edge(x, dy, 0, a.inner_begin);
        const float* xq = x + (a.x_first + a.inner_begin * x_column);
        const float* dyq = dy + a.inner_begin * dy_column;
        for (std::int64_t q = a.inner_begin; q < a.inner_end; ++q, xq += x_column, dyq += dy_column) {
          Register xt[Streams];
#pragma GCC unroll 5
          for (int t = 0; t < Streams; ++t) xt[t] = load_register(xq + t * x_stream);
#pragma GCC unroll 4
          for (int o = 0; o < Outs; ++o) {
            const Register dyo = load_register(dyq + o * dy_out);
#pragma GCC unroll 5
            for (int t = 0; t < Streams; ++t) sum[o][t] = fma(dyo, xt[t], sum[o][t]);
          }
        }
        edge(x, dy, a.inner_end, a.columns);
      }
    }
    for (int o = 0; o < Outs; ++o)
      for (int t = 0; t < Streams; ++t) store_register(total[o][t] + part, sum[o][t]);
  }
  for (int o = 0; o < Outs; ++o)
    for (int t = 0; t < Streams; ++t) a.out[o * a.out_out + t * a.out_stream] = reduce_add(load(total[o][t]));
}

template <int Streams, bool Unit>
inline void row_sum_outs(const RowSum& a, std::int64_t outs) {
  constexpr int most = row_outs_for(Streams);
  if constexpr (most >= 4)
    if (outs == 4) return row_sum_block<4, Streams, Unit>(a);
  if constexpr (most >= 3)
    if (outs == 3) return row_sum_block<3, Streams, Unit>(a);
  if constexpr (most >= 2)
    if (outs == 2) return row_sum_block<2, Streams, Unit>(a);
  return row_sum_block<1, Streams, Unit>(a);
}

template <bool Unit>
inline void row_sum_streams(const RowSum& a, std::int64_t outs, std::int64_t streams) {
  switch (streams) {
    case 1: return row_sum_outs<1, Unit>(a, outs);
    case 2: return row_sum_outs<2, Unit>(a, outs);
    case 3: return row_sum_outs<3, Unit>(a, outs);
    case 4: return row_sum_outs<4, Unit>(a, outs);
    default: return row_sum_outs<5, Unit>(a, outs);
  }
}

// outs <= row_outs_for(streams), streams <= row_streams.
inline void row_sum(const RowSum& a, std::int64_t outs, std::int64_t streams) {
  if (a.x_stream == 16) row_sum_streams<true>(a, outs, streams);
  else row_sum_streams<false>(a, outs, streams);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
