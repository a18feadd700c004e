// What kernels/cuda/nvcc/tensor.cuh gives to the kernels, for the emulation.
#pragma once
#include "device.cuh"
#include "kernels/round.h"

namespace norma::kernels::cuda {

inline constexpr int product_rows = 16, product_columns = 8, product_words = 8;
template <Precision precision>
inline constexpr int factors_per_word = precision == Precision::bf16 ? 2 : 1;

template <Precision precision, class F>
std::uint32_t make_word(F factor) {
  if constexpr (precision == Precision::tf32) return std::bit_cast<std::uint32_t>(round_to_tf32(factor(0)));
  else return std::bit_cast<std::uint32_t>(round_to_bf16(factor(0))) >> 16 | std::bit_cast<std::uint32_t>(round_to_bf16(factor(1)));
}

template <Precision precision>
void add_product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], simt::Site at = {}) {
  simt::multiply_matrices({d, a, b, precision == Precision::bf16}, at);
}

}  // namespace norma::kernels::cuda
