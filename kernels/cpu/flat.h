// Passes over flat arrays of n floats, 16 at a time; the last vector may hold fewer.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/chunks.h"
#include "kernels/cpu/parallel.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Access of a pass to one vector: all 16 floats (64-byte aligned), or the array's last n.
struct WholeVector {
  NORMA_INLINE V load(const float* p) const { return NORMA_ISA::load(p); }
  NORMA_INLINE void store(float* p, V a) const { NORMA_ISA::store(p, a); }
};
struct PartVector {
  int n;
  NORMA_INLINE V load(const float* p) const {  // 0 in the other lanes
    alignas(64) float lane[16] = {};
    std::memcpy(lane, p, static_cast<std::size_t>(n) * sizeof(float));
    return NORMA_ISA::load(lane);
  }
  NORMA_INLINE void store(float* p, V a) const {
    alignas(64) float lane[16];
    NORMA_ISA::store(lane, a);
    std::memcpy(p, lane, static_cast<std::size_t>(n) * sizeof(float));
  }
};

// f(i, access) for i = begin, begin + 16, ... < end.
template <class F>
NORMA_INLINE void for_vectors(std::int64_t begin, std::int64_t end, F f) {
  std::int64_t i = begin;
  for (; i + 16 <= end; i += 16) f(i, WholeVector{});
  if (i < end) f(i, PartVector{static_cast<int>(end - i)});
}

// Runs over [0,n) in parallel.
template <class F>
inline void parallel_for_vectors(std::int64_t n, F f) {
  parallel_for(ceil_div(n, flat_chunk), [=](std::int64_t k) {
    const std::int64_t begin = k * flat_chunk, end = begin + flat_chunk;
    for_vectors(begin, end < n ? end : n, f);
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
