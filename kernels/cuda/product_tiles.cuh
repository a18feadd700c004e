// Larger matrices of one warp, in tiles of a product (product.cuh), shared by the kernels on tensor cores.
#pragma once
#include "tensor.cuh"

namespace norma::kernels::cuda {

// The calling lane's part of D, row_tiles * 16 rows and column_tiles * 8 columns.
template <int row_tiles, int column_tiles>
struct ProductSums {
  float of[row_tiles][column_tiles][4] = {};

  // D += A * B, of 8 words: a(row, word), b(word, column). All lanes must call. The memory that a and b read may be overwritten afterwards.
  template <Precision precision, class A, class B>
  __device__ __forceinline__ void add(A a, B b) {
    const int quad = lane_index() / 4, of_quad = lane_index() % 4;
    std::uint32_t of_b[column_tiles][2];
#pragma unroll
    for (int j = 0; j < column_tiles; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) of_b[j][half] = b(of_quad + 4 * half, j * product_columns + quad);
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) {
      std::uint32_t of_a[4];
#pragma unroll
      for (int part = 0; part < 4; ++part) of_a[part] = a(i * product_rows + quad + part % 2 * 8, of_quad + part / 2 * 4);
#pragma unroll
      for (int j = 0; j < column_tiles; ++j) add_product<precision>(of[i][j], of_a, of_b[j]);
    }
  }

  // Calls f(row of the tiles' row i, column, value) for the values that the lane holds of it.
  template <class F>
  __device__ __forceinline__ void for_each(int i, F f) const {
    const int quad = lane_index() / 4, of_quad = lane_index() % 4;
#pragma unroll
    for (int j = 0; j < column_tiles; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) f(quad + part / 2 * 8, j * product_columns + 2 * of_quad + part % 2, of[i][j][part]);
  }
};

}  // namespace norma::kernels::cuda
