// The CPU kernels as the executor sees them: the same sources compiled once per instruction-set level, all with the same bits.
#pragma once
#include <span>
#include <type_traits>

#include "kernels/calls.h"
#include "kernels/cpu/scratch.h"

namespace norma::kernels::cpu {

inline constexpr int lanes = 16;

// Probes of the machine's best speed at a level, to compare kernels with. src/execute/roofline.cpp times these (roofline.cpp of this
// folder).
struct Probes {
  // Runs `rounds` rounds of multiply_add_flops() operations on the calling thread. They work in registers, in independent chains that fill
  // the pipelines. Returns a value that depends on every one of them.
  float (*multiply_add)(std::int64_t rounds);
  double (*multiply_add_flops)();
  // y = x, n floats (a multiple of flat_chunk) at 64-byte alignment; copy stores as kernels do, copy_streaming past the caches.
  void (*copy)(float* y, const float* x, std::int64_t n);
  void (*copy_streaming)(float* y, const float* x, std::int64_t n);
  // A sum over x that reads all of it.
  float (*read)(const float* x, std::int64_t n);
};

template <class C, class... Of>
inline constexpr bool one_of = (std::is_same_v<C, Of> || ...);
// Calls that also have a kernel for samples one by one, (N,C,H,W): those of inference (sample/).
template <class C>
inline constexpr bool serves_samples =
    one_of<C, Gather, Resize, Conv2dForward, Conv2dBackwardInput, LinearForward, BatchNormRstd, BatchNormApply, BatchNormMaxPool,
           GroupNormForward, ActivationForward, Add, MaxPoolForward, AvgPoolForward, HostFunction>;

struct Backend {
  const char* isa;  // "avx512"
  // With scratch_bytes(call, threads) at memory.scratch (scratch.h). Runs on the calling thread's team (team.h).
  void (*run)(const Call& call, Part part, const Memory& memory);
  // Runs a Call of one lane that serves_samples, with sample_scratch_bytes(call) at memory.scratch, on the calling thread.
  void (*run_sample)(const Call& call, const Memory& memory);
  Probes probes{};
};

// Levels in this build that this machine can run, best first. Empty on an x86-64 without AVX2 and FMA.
std::span<const Backend> backends();

}  // namespace norma::kernels::cpu
