// Measures the least cost of a launch and of a meeting of threads.
#include "grid.cuh"
#include "kernels/cuda/probes.h"

namespace norma::kernels::cuda::probe {
namespace {

__global__ void __launch_bounds__(latency_threads) node_kernel(unsigned* count) {
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
}

__global__ void __launch_bounds__(latency_threads) grid_barriers_kernel(unsigned* count, int meetings) {
  for (int i = 0; i < meetings; ++i) {
    if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
    sync_grid();
  }
}

}  // namespace

void node(unsigned* count, std::int64_t blocks, CUstream_st* stream) {
  launch(named<node_kernel>(), blocks, latency_threads, stream, count);
}

void grid_barriers(unsigned* count, std::int64_t blocks, int meetings, CUstream_st* stream) {
  launch_cooperative(named<grid_barriers_kernel>(), blocks, latency_threads, stream, count, meetings);
}

}  // namespace norma::kernels::cuda::probe
