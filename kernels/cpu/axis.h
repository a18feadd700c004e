// How outputs of a sliding window read inputs, one direction at a time, and the packing of what a tile of outputs reads.
#pragma once
#include <cstdint>

#include "kernels/chunks.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Output i, tap u reads input i*stride + first + u*step; beyond 0 .. inputs-1 is zero padding.
struct Axis {
  std::int64_t outputs, stride, first, taps, step, inputs;

  // What outputs i read: `count` inputs from `low` on, `spacing` apart.
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
  // Where among `r` what output i reads with tap 0 is, and how much further the next tap's.
  std::int64_t at(std::int64_t i, const Reads& r) const { return (i * stride + first - r.low) / r.spacing; }
  std::int64_t tap(const Reads& r) const { return taps > 1 ? step / r.spacing : 0; }
  bool inside(const Reads& r) const { return r.low >= 0 && r.low + (r.count - 1) * r.spacing < inputs; }
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
