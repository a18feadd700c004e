// Measures the least cost of a launch and of a meeting of threads, from compute capability 9 on.
#include "hopper.cuh"
#include "kernels/cuda/probes.h"

namespace norma::kernels::cuda::probe {
namespace {

__global__ void __launch_bounds__(latency_threads) early_node_kernel(unsigned* count) {
  let_next_begin();
  wait_for_previous();
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
}

__global__ void __launch_bounds__(latency_threads) cluster_barriers_kernel(unsigned* count, int meetings) {
  for (int i = 0; i < meetings; ++i) {
    if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
    sync_cluster();
  }
}

}  // namespace

void early_node(unsigned* count, std::int64_t blocks, CUstream_st* stream) {
  launch_early(named<early_node_kernel>(), blocks, latency_threads, stream, count);
}

void cluster_barriers(unsigned* count, int blocks, int meetings, CUstream_st* stream) {
  launch_cluster(named<cluster_barriers_kernel>(), blocks, latency_threads, stream, count, meetings);
}

}  // namespace norma::kernels::cuda::probe
