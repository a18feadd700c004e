// The register-blocked inner loop of Conv2dForward, Conv2dBackwardInput, LinearForward and LinearBackwardInput:
//   y[o][j] = b[o] + sum over (c, r, t) of w[o][c][r][t] * x[c][r][j, t]        each y and x: 16 samples; each w: one float
// A block of Outs x Cols accumulators stays in registers for the whole sum. A loaded x serves Outs, a broadcast w serves Cols
// multiply-adds. Each output is one chain of fma in the order c, r, t, from b, however the blocks are cut.
#pragma once
#include <cstdint>

#include "kernels/chunks.h"
#include "kernels/memory.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Addresses of a row of outputs; strides are in floats.
struct Correlation {
  // x of (c, r, j, t) is x[c*x_channel + r*x_row + x_first + j*x_column + t*x_tap]. It counts only if the sum of the last three is in [0,
  // x_width); beyond is the zero padding.
  const float* x;
  std::int64_t x_channel, x_row, x_first, x_column, x_tap, x_width;
  const float* w;
  std::int64_t w_out, w_channel, w_row, w_tap;
  const float* b;  // [outs], or null: 0
  float* y;
  std::int64_t y_out, y_column;
  std::int64_t channels, rows, taps;
  Upcoming* upcoming;  // or null
};

// Lines fetched for later in a row of taps, which takes 60 to 120 cycles: from memory a line takes about 15.
inline constexpr int lines_per_taps = 3;

// With 32 registers 6 x 4 sums, 4 x and a w: LeNet's second convolution backwards, 6 channels, at 99 instead of 78 GFLOP/s (3 x 4 twice).
inline constexpr int row_outs = registers >= 32 ? 6 : 4, max_cols = registers >= 32 ? 4 : 3;

// Taps, Step known when compiled (Taps > 0): x_column is 16, x_tap 16*Step, w_tap 1. Edge: some (j, t) may be outside x.
template <int Outs, int Cols, int Taps, int Step, bool Edge>
inline void correlate_block(const Correlation& a) {
  constexpr std::int64_t lanes = 16;
  const std::int64_t taps = Taps > 0 ? Taps : a.taps, w_tap = Taps > 0 ? 1 : a.w_tap;
  const std::int64_t x_column = Taps > 0 ? lanes : a.x_column, x_tap = Taps > 0 ? lanes * Step : a.x_tap;
  const std::int64_t channels = a.channels, rows = a.rows, w_out = a.w_out;
  [[maybe_unused]] const std::uint64_t x_width = static_cast<std::uint64_t>(a.x_width);
  Upcoming::Lines soon = a.upcoming ? a.upcoming->take(static_cast<std::size_t>(channels * rows * lines_per_taps), a.w)
                                    : Upcoming::Lines{reinterpret_cast<const std::byte*>(a.w), 0};
  for (std::int64_t part = 0; part < lanes; part += register_lanes) {
    Register sum[Outs][Cols];
#pragma GCC unroll 8
    for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
      for (int j = 0; j < Cols; ++j) sum[o][j] = broadcast(a.b ? a.b[o] : 0.0f);
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) {
        const float* x = a.x + c * a.x_channel + r * a.x_row + part;
        const float* w = a.w + c * a.w_channel + r * a.w_row;
        std::int64_t at = a.x_first;
        if constexpr (Taps > 0) {
#pragma GCC unroll 3
          for (int i = 0; i < lines_per_taps; ++i, soon.at += soon.step) __builtin_prefetch(soon.at, 0, 2);
        }
#pragma GCC unroll 5
        for (std::int64_t t = 0; t < taps; ++t, at += x_tap, w += w_tap) {
          if constexpr (Edge) {
            Register wo[Outs];
#pragma GCC unroll 8
            for (int o = 0; o < Outs; ++o) wo[o] = broadcast(w[o * w_out]);
#pragma GCC unroll 8
            for (int j = 0; j < Cols; ++j) {
              const std::int64_t column = at + j * x_column;
              if (static_cast<std::uint64_t>(column) >= x_width) continue;  // also where it is negative
              const Register xj = load_register(x + column);
#pragma GCC unroll 8
              for (int o = 0; o < Outs; ++o) sum[o][j] = fma(xj, wo[o], sum[o][j]);
            }
          } else {
            Register xj[Cols];
#pragma GCC unroll 8
            for (int j = 0; j < Cols; ++j) xj[j] = load_register(x + at + j * x_column);
#pragma GCC unroll 8
            for (int o = 0; o < Outs; ++o) {
              const Register wo = broadcast(w[o * w_out]);
#pragma GCC unroll 8
              for (int j = 0; j < Cols; ++j) sum[o][j] = fma(xj[j], wo, sum[o][j]);
            }
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
      for (int j = 0; j < Cols; ++j) store_register(a.y + o * a.y_out + j * a.y_column + part, sum[o][j]);
  }
}

template <int Cols, int Taps, int Step, bool Edge>
inline void correlate_outs(const Correlation& a, std::int64_t outs) {
  switch (outs) {
    case 1: return correlate_block<1, Cols, Taps, Step, Edge>(a);
    case 2: return correlate_block<2, Cols, Taps, Step, Edge>(a);
    case 3: return correlate_block<3, Cols, Taps, Step, Edge>(a);
    case 4: return correlate_block<4, Cols, Taps, Step, Edge>(a);
  }
  if constexpr (row_outs > 4) {
    if (outs == 5) correlate_block<5, Cols, Taps, Step, Edge>(a);
    else correlate_block<6, Cols, Taps, Step, Edge>(a);
  }
}

// `columns` outputs from column 0 of `a` on, for `outs` <= row_outs. Edges: whether a tap may fall outside x at all.
template <int Taps, int Step, bool Edges>
inline void correlate_row(Correlation a, std::int64_t outs, std::int64_t columns) {
  const std::int64_t reach = (a.taps - 1) * a.x_tap, lowest = reach < 0 ? reach : 0, highest = reach > 0 ? reach : 0;
  for (std::int64_t j = 0, cols; j < columns; j += cols) {
    cols = columns - j;
    if (cols >= max_cols) cols = max_cols;
    else if (cols > 2) cols = 2;
    const bool edge = Edges && (a.x_first + lowest < 0 || a.x_first + (cols - 1) * a.x_column + highest >= a.x_width);
    if constexpr (Edges) {
      if (edge && cols == max_cols) correlate_outs<max_cols, Taps, Step, true>(a, outs);
      else if (edge && cols == 2) correlate_outs<2, Taps, Step, true>(a, outs);
      else if (edge) correlate_outs<1, Taps, Step, true>(a, outs);
    }
    if (!edge && cols == max_cols) correlate_outs<max_cols, Taps, Step, false>(a, outs);
    else if (!edge && cols == 2) correlate_outs<2, Taps, Step, false>(a, outs);
    else if (!edge) correlate_outs<1, Taps, Step, false>(a, outs);
    a.x_first += cols * a.x_column;
    a.y += cols * a.y_column;
  }
}

// A row of a convolution (Step 1) or of its transpose (Step -1), by the loop made for its shape where there is one.
template <int Step>
inline void correlate_image_row(const Correlation& a, std::int64_t outs, std::int64_t columns) {
  const bool unit = a.x_column == 16 && a.x_tap == 16 * Step && a.w_tap == 1;
  if (unit && a.taps == 5) correlate_row<5, Step, true>(a, outs, columns);
  else if (unit && a.taps == 3) correlate_row<3, Step, true>(a, outs, columns);
  else correlate_row<0, 0, true>(a, outs, columns);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
