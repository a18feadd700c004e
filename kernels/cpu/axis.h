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
  // Where among what a range of outputs reads the input of its first output and tap 0 is, of the next output, and of the next tap.
  struct Places {
    std::int64_t first, output, tap;
  };
  Places places(const Reads& r) const {
    const std::int64_t tap = taps > 1 ? step / r.spacing : 0;
    return {tap < 0 ? (1 - taps) * tap : 0, stride / r.spacing, tap};
  }
  bool inside(const Reads& r) const { return r.low >= 0 && r.low + (r.count - 1) * r.spacing < inputs; }
};

// Lines of memory to be fetched into L2 a few at a time, between blocks of arithmetic: `spans` of `lines` lines of 64 bytes.
struct Ahead {
  const float* at;
  std::int64_t stride, spans, lines, per_call, next = 0;

  void fetch() {
    for (std::int64_t i = 0; i < per_call && spans > 0; ++i) {
      __builtin_prefetch(at + next * 16, 0, 2);
      if (++next < lines) continue;
      next = 0;
      --spans;
      at += stride;
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
