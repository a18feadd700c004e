// Flat passes: every element by itself.
#pragma once
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {

inline constexpr int flat_threads = 256;

// each(i, v) of elements i and after, `vector` of them at a time: writes to its own arrays.
template <int vector, class Each>
__global__ void __launch_bounds__(flat_threads) flat_pass(std::int64_t n, Each each) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * flat_threads + threadIdx.x) * vector;
  if (i < n) each.template operator()<vector>(i);
}

// Runs each on n elements of arrays that begin at these pointers; n is cut into fours where they allow it.
template <class Each, class... T>
void launch_flat(std::int64_t n, CUstream_st* stream, Each each, const T*... arrays) {
  with_vectors(
      n,
      [&]<int vector>() {
        launch(named<flat_pass<vector, Each>>(), ceil_div(n, std::int64_t{flat_threads} * vector), flat_threads, stream, n, each);
      },
      arrays...);
}

}  // namespace norma::kernels::cuda
