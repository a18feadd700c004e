// The CPU kernels as the executor sees them: the same sources compiled once per instruction-set level, all with the same bits.
#pragma once
#include <span>

#include "kernels/calls.h"

namespace norma::kernels::cpu {

inline constexpr int lanes = 16;

struct Backend {
  const char* isa;  // "avx512"
  // Uses as many OpenMP threads as the calling thread is set to; one if it is itself one of a parallel region.
  void (*run)(const Call& call, Part part, const Memory& memory);
};

// Levels in this build that this machine can run, best first. Empty on an x86-64 without AVX2 and FMA.
std::span<const Backend> backends();

}  // namespace norma::kernels::cpu
