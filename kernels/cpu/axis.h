// Maps outputs of a sliding window to the inputs they read, one direction at a time. Packs the inputs that a tile of outputs reads.
#pragma once
#include <cstdint>

#include "kernels/chunks.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Output i, tap u reads input i*stride + first + u*step; beyond 0 .. inputs-1 is zero padding.
struct Axis {
  std::int64_t outputs, stride, first, taps, step, inputs;

  // Inputs that outputs i read: `count` from `low` on, `spacing` apart.
  struct Reads {
    std::int64_t low, count, spacing;
  };
  Reads reads(Range i) const {
    const std::int64_t reach = taps > 0 ? (taps - 1) * step : 0;
    const std::int64_t low = i.begin * stride + first + (reach < 0 ? reach : 0);
    const std::int64_t high = (i.end - 1) * stride + first + (reach > 0 ? reach : 0);
    std::int64_t spacing = stride;  // its greatest common divisor with step
    for (std::int64_t a = taps > 1 ? (step < 0 ? -step : step) : 0; a != 0;) {
      const std::int64_t rest = spacing % a;
      spacing = a;
      a = rest;
    }
    return {low, (high - low) / spacing + 1, spacing};
  }
  // Offsets into the inputs that a range of outputs reads: of the first output's tap 0, to the next output, to the next tap.
  struct Places {
    std::int64_t first, output, tap;
  };
  Places places(const Reads& r) const {
    const std::int64_t tap = taps > 1 ? step / r.spacing : 0;
    return {tap < 0 ? (1 - taps) * tap : 0, stride / r.spacing, tap};
  }
  bool inside(const Reads& r) const { return r.low >= 0 && r.low + (r.count - 1) * r.spacing < inputs; }
};

// Memory to be fetched into L2 a few lines of 64 bytes at a time, between blocks of arithmetic: `rows` rows of `lines` lines of each of
// `planes` planes.
struct Ahead {
  const float* plane;
  std::int64_t plane_stride, planes, row_stride, rows, lines, per_call;
  std::int64_t row = 0, line = 0;

  // So many a call that `calls` calls fetch all.
  Ahead(const float* at, std::int64_t plane_step, std::int64_t plane_count, std::int64_t row_step, std::int64_t row_count,
        std::int64_t line_count, std::int64_t calls)
      : plane(at),
        plane_stride(plane_step),
        planes(plane_count),
        row_stride(row_step),
        rows(row_count),
        lines(line_count),
        per_call(ceil_div(plane_count * row_count * line_count, calls)) {}

  void fetch() {
    for (std::int64_t i = 0; i < per_call && planes > 0; ++i) {
      __builtin_prefetch(plane + row * row_stride + line * 16, 0, 2);
      if (++line < lines) continue;
      line = 0;
      if (++row < rows) continue;
      row = 0;
      --planes;
      plane += plane_stride;
    }
  }
};

// Copies what `r` and `c` name of a channel at x (rows of `columns.inputs` x 16 floats), with zeros for the padding.
inline void pack_plane(float* to, const float* x, const Axis& rows, const Axis& columns, const Axis::Reads& r, const Axis::Reads& c) {
  constexpr std::int64_t lanes = 16;
  const std::int64_t left = c.low < 0 ? ceil_div(-c.low, c.spacing) : 0, past = columns.inputs - c.low;
  const std::int64_t begin = left < c.count ? left : c.count, inside = past > 0 ? ceil_div(past, c.spacing) : 0;
  const std::int64_t capped = inside < c.count ? inside : c.count, end = capped > begin ? capped : begin;
  for (std::int64_t i = 0; i < r.count; ++i, to += c.count * lanes) {
    const std::int64_t row = r.low + i * r.spacing;
    if (row < 0 || row >= rows.inputs) {
      for (std::int64_t j = 0; j < c.count; ++j) store(to + j * lanes, zero());
      continue;
    }
    for (std::int64_t j = 0; j < begin; ++j) store(to + j * lanes, zero());
    const float* from = x + (row * columns.inputs + c.low + begin * c.spacing) * lanes;
    for (std::int64_t j = begin; j < end; ++j, from += c.spacing * lanes) store(to + j * lanes, load(from));
    for (std::int64_t j = end; j < c.count; ++j) store(to + j * lanes, zero());
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
