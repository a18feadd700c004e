// The register-blocked inner loop of Conv2dBackwardWeight:
//   sum[o][s] += sum over positions i of dy[o][i] * x[s][i]        each dy, x and sum: 16 lanes
// A block of Outs x Streams sums stays in registers. A loaded dy serves Streams, a loaded x serves Outs multiply-adds. Each sum is one
// chain of fma a lane in the order of the positions; between calls it rests in memory.
#pragma once
#include <cstdint>
#include <utility>

#include "kernels/memory.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

inline constexpr int max_outs = 4, max_streams = registers >= 32 ? 6 : 3;

// Addresses of a block of sums; strides are in floats.
struct OuterSum {
  const float* dy;  // of (o, i): dy[o*dy_out + i*16]
  std::int64_t dy_out;
  const float* x;  // of (s, i): x[stream[s] + position[i]]
  const std::int32_t *stream, *position;
  std::int64_t positions;
  float* sum;  // of (o, s): sum[o*sum_out + s*16]
  std::int64_t sum_out;
  bool resume;           // the sums start from memory, otherwise from 0
  Upcoming::Lines soon;  // fetched for later, a line a position
};

template <int Outs, int Streams>
inline void outer_sum(const OuterSum& block) {
  constexpr std::int64_t lanes = 16;
  const OuterSum a = block;  // a store could change what the reference refers to
  for (std::int64_t part = 0; part < lanes; part += register_lanes) {
    Register sum[Outs][Streams];
#pragma GCC unroll 8
    for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
      for (int s = 0; s < Streams; ++s) sum[o][s] = a.resume ? load_register(a.sum + o * a.sum_out + s * lanes + part) : broadcast(0.0f);
    const float* x[Streams];
#pragma GCC unroll 8
    for (int s = 0; s < Streams; ++s) x[s] = a.x + a.stream[s] + part;
    const float* dy = a.dy + part;
    const std::int32_t* position = a.position;
    const std::byte* soon = a.soon.at;
    for (const std::int32_t* end = position + a.positions; position != end; ++position, dy += lanes, soon += a.soon.step) {
      const std::int64_t at = *position;
      __builtin_prefetch(soon, 0, 2);
      Register xs[Streams];
#pragma GCC unroll 8
      for (int s = 0; s < Streams; ++s) xs[s] = load_register(x[s] + at);
#pragma GCC unroll 8
      for (int o = 0; o < Outs; ++o) {
        const Register dyo = load_register(dy + o * a.dy_out);
#pragma GCC unroll 8
        for (int s = 0; s < Streams; ++s) sum[o][s] = fma(dyo, xs[s], sum[o][s]);
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
      for (int s = 0; s < Streams; ++s) store_register(a.sum + o * a.sum_out + s * lanes + part, sum[o][s]);
  }
}

template <int... Index>
inline void outer_sum(const OuterSum& a, std::int64_t outs, std::int64_t streams, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const OuterSum&);
  static constexpr Kernel kernels[] = {&outer_sum<Index / max_streams + 1, Index % max_streams + 1>...};
  kernels[(outs - 1) * max_streams + (streams - 1)](a);
}

// outs <= max_outs, streams <= max_streams
inline void outer_sum(const OuterSum& a, std::int64_t outs, std::int64_t streams) {
  outer_sum(a, outs, streams, std::make_integer_sequence<int, max_outs * max_streams>{});
}

}  // namespace norma::kernels::cpu::NORMA_ISA
