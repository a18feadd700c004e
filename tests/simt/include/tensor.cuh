// What kernels/cuda/nvcc/tensor.cuh gives to the kernels, for the emulation.
#pragma once
#include "kernels/cuda/product.cuh"
#include "kernels/round.h"

namespace norma::kernels::cuda {

template <Precision precision, class F>
std::uint32_t make_word(F factor) {
  if constexpr (precision == Precision::tf32) return __float_as_uint(round_to_tf32(factor(0)));
  else return __float_as_uint(round_to_bf16(factor(0))) >> 16 | __float_as_uint(round_to_bf16(factor(1)));
}

template <Precision precision>
void add_product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], simt::Site at = {}) {
  simt::multiply_matrices({d, a, b, precision == Precision::bf16}, at);
}

}  // namespace norma::kernels::cuda
