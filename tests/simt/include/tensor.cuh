// The emulation's counterpart of kernels/cuda/nvcc/tensor.cuh, for the kernels.
#pragma once
#include "kernels/cuda/product.cuh"
#include "tests/simt/products.h"

namespace norma::kernels::cuda {

template <Precision precision, class F>
std::uint32_t make_word(F factor) {
  return word_of<precision>(factor);
}

template <Precision precision>
void add_product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], simt::Site at = {}) {
  simt::multiply_matrices({d, a, b, precision == Precision::bf16}, at);
}

}  // namespace norma::kernels::cuda
