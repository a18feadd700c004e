// Products of matrices on the emulated tensor cores, by the lanes of a warp together (kernels/cuda/product.cuh).
#pragma once
#include <array>
#include <cstdint>

#include "tests/simt/emulator.h"

namespace norma::simt {

// A lane's parts of D += A * B.
struct ProductParts {
  float* d;                    // [4]
  const std::uint32_t *a, *b;  // [4], [2]
  bool pairs;                  // of bf16 in a word; else one tf32, of which the lowest 13 bits are not seen
};

// Waits for all lanes of the warp.
void multiply_matrices(const ProductParts& parts, Site at);

// The operation for which all lanes wait, from the addresses of their ProductParts: exact products, and sums rounded once.
void multiply(const std::array<std::uint64_t, warp_size>& parts);

}  // namespace norma::simt
