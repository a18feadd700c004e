// Products of small matrices by a warp, and their place in its lanes: D (16 x 8) += A (16 x 8 words) * B (8 words x 8). tensor.cuh
// multiplies on tensor cores, add_product_by_shuffles without.
//
// A word holds one factor of tf32, or two of bf16, the first in its low half. Lane 4q + r holds these words (PTX, mma.m16n8k8 of tf32 and
// mma.m16n8k16 of bf16):
//   A: (q, r), (q + 8, r), (q, r + 4), (q + 8, r + 4); B: (r, q), (r + 4, q); D: (q, 2r), (q, 2r + 1), (q + 8, 2r), (q + 8, 2r + 1).
#pragma once
#include "kernels/cuda/reduce.cuh"
#include "kernels/round.h"
#include "norma/types.h"

namespace norma::kernels::cuda {

inline constexpr int product_rows = 16, product_columns = 8, product_words = 8;
template <Precision precision>
inline constexpr int factors_per_word = precision == Precision::bf16 ? 2 : 1;

// factor(0) and, of bf16, factor(1).
template <Precision precision, class F>
__device__ __forceinline__ std::uint32_t word_of(F factor) {
  const auto bits = [](float x) { return static_cast<std::uint32_t>(__float_as_int(x)); };
  if constexpr (precision == Precision::tf32) return bits(round_to_tf32(factor(0)));
  else return bits(round_to_bf16(factor(0))) >> 16 | bits(round_to_bf16(factor(1)));
}
template <Precision precision>
__device__ __forceinline__ float factor_of_word(std::uint32_t word, int number) {
  return __int_as_float(static_cast<int>(precision == Precision::tf32 ? word : number == 0 ? word << 16 : word & 0xFFFF0000u));
}

// All lanes must call. A function of its own: written into each of a kernel's products, ptxas took a minute and a half for that kernel.
template <Precision precision>
__device__ __noinline__ float4 product_by_shuffles(float4 d, uint4 a, uint2 b) {
  const int quad = lane_index() / 4, of_quad = lane_index() % 4;
  const std::uint32_t of_a[4] = {a.x, a.y, a.z, a.w}, of_b[2] = {b.x, b.y};
  float sum[4] = {d.x, d.y, d.z, d.w};
#pragma unroll
  for (int word = 0; word < product_words; ++word)
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const std::uint32_t row = __shfl_sync(all_lanes, of_a[word / 4 * 2 + part / 2], 4 * quad + word % 4);
      const std::uint32_t column = __shfl_sync(all_lanes, of_b[word / 4], 4 * (2 * of_quad + part % 2) + word % 4);
#pragma unroll
      for (int number = 0; number < factors_per_word<precision>; ++number)
        sum[part] = fmaf(factor_of_word<precision>(row, number), factor_of_word<precision>(column, number), sum[part]);
    }
  return make_float4(sum[0], sum[1], sum[2], sum[3]);
}
template <Precision precision>
__device__ __forceinline__ void add_product_by_shuffles(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const float4 sum = product_by_shuffles<precision>({d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]});
  d[0] = sum.x, d[1] = sum.y, d[2] = sum.z, d[3] = sum.w;
}

}  // namespace norma::kernels::cuda
