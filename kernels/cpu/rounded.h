// Rounds the factors of a Call of lower precision into scratch memory, from which the kernels of fp32 compute it. This is as exact as
// tensor cores, and slower than fp32. The CPU has it so that the effect on training can be seen without a GPU.
#pragma once
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/round.h"

namespace norma::kernels::cpu::NORMA_ISA {

template <class C>
inline Memory with_rounded_factors(const C& call, const Memory& memory) {
  std::byte** const address = reinterpret_cast<std::byte**>(memory.scratch);
  std::byte* next = memory.scratch + address_bytes(call);
  for (const Operand& o : call.operands())
    if (o.value) address[o.value.index] = memory.address[o.value.index];
  for (const Factor& factor : call.factors()) {
    const float* const from = memory.at<float>(factor.value);
    float* const to = reinterpret_cast<float*>(next);
    constexpr std::int64_t piece = 4096;
    parallel_for((factor.elements + piece - 1) / piece, [&](std::int64_t p) {
      const std::int64_t end = (p + 1) * piece < factor.elements ? (p + 1) * piece : factor.elements;
      if (call.precision == Precision::tf32)
        for (std::int64_t i = p * piece; i < end; ++i) to[i] = round_to_tf32(from[i]);
      else
        for (std::int64_t i = p * piece; i < end; ++i) to[i] = round_to_bf16(from[i]);
    });
    address[factor.value.index] = next;
    next += factor_bytes(factor);
  }
  Memory rounded = memory;
  rounded.address = address;
  rounded.scratch = next;
  return rounded;
}

}  // namespace norma::kernels::cpu::NORMA_ISA
