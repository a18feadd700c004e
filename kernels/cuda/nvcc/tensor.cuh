// Rounding to a precision and multiplying (product.cuh) on tensor cores, which have tf32 and bf16 from compute capability 8.0 on. Earlier
// GPUs give the same, no faster. tests/simt/include/tensor.cuh is the emulation.
#pragma once
#include "kernels/cuda/product.cuh"
#include "kernels/round.h"

// make_word: factor(0) and, of bf16, factor(1), rounded as kernels/round.h does.
// add_product: all lanes must call. It orders no memory: __syncwarp() before that from which a and b were read is written to again.
// product_blocks: of 128 threads, to a multiprocessor, that a kernel of products leaves registers for.
namespace norma::kernels::cuda {

// nvcc compiles a file once for each architecture of a build, so that here it is not the build that chooses.
#if __CUDA_ARCH__ >= 800

inline constexpr int product_blocks = 3;

template <Precision precision, class F>
__device__ __forceinline__ std::uint32_t make_word(F factor) {
  std::uint32_t word;
  if constexpr (precision == Precision::tf32) {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(factor(0)));
  } else {
    const float low = factor(0), high = factor(1);
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
  return word;
}

template <Precision precision>
__device__ __forceinline__ void add_product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (precision == Precision::tf32)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

inline constexpr int product_blocks = 2;

template <Precision precision, class F>
__device__ __forceinline__ std::uint32_t make_word(F factor) {
  return word_of<precision>(factor);
}

template <Precision precision>
__device__ __forceinline__ void add_product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  add_product_by_shuffles<precision>(d, a, b);
}

#endif

}  // namespace norma::kernels::cuda
