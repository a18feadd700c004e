// Products of small matrices on tensor cores, by the 32 lanes of a warp together: D (16 x 8) += A (16 x 8 words) * B (8 words x 8).
// Compute capability 8.0; before that the executor refuses the precision. tests/simt/include/tensor.cuh is the emulation.
//
// A word holds one factor of tf32, or two of bf16, the first in its low half. Lane 4q + r holds, of A, the words (q, r), (q + 8, r),
// (q, r + 4), (q + 8, r + 4); of B (r, q), (r + 4, q); of D (q, 2r), (q, 2r + 1), (q + 8, 2r), (q + 8, 2r + 1) (PTX, mma.m16n8k8 of tf32
// and mma.m16n8k16 of bf16).
#pragma once
#include "device.cuh"
#include "norma/types.h"

namespace norma::kernels::cuda {

inline constexpr int product_rows = 16, product_columns = 8, product_words = 8;
template <Precision precision>
inline constexpr int factors_per_word = precision == Precision::bf16 ? 2 : 1;

// factor(0) and, of bf16, factor(1), rounded as kernels/round.h does.
template <Precision precision, class F>
__device__ __forceinline__ std::uint32_t make_word(F factor) {
  std::uint32_t word = 0;
#if __CUDA_ARCH__ >= 800
  if constexpr (precision == Precision::tf32) {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(factor(0)));
  } else {
    const float low = factor(0), high = factor(1);
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
#endif
  return word;
}

// All lanes have taken a and b from memory when one goes on: what they lay in may be written to.
template <Precision precision>
__device__ __forceinline__ void add_product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  if constexpr (precision == Precision::tf32)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

}  // namespace norma::kernels::cuda
