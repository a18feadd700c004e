// What a launch and a meeting of threads cost at least.
#include "device.cuh"
#include "kernels/cuda/probes.h"

namespace norma::kernels::cuda::probe {
namespace {

constexpr int threads = 128;

__global__ void __launch_bounds__(threads) node_kernel(unsigned* count) {
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
}

__global__ void __launch_bounds__(threads) early_node_kernel(unsigned* count) {
  let_next_begin();
  wait_for_previous();
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
}

__global__ void __launch_bounds__(threads) grid_barriers_kernel(unsigned* count, int meetings) {
  for (int i = 0; i < meetings; ++i) {
    if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
    sync_grid();
  }
}

__global__ void __launch_bounds__(threads) cluster_barriers_kernel(unsigned* count, int meetings) {
  for (int i = 0; i < meetings; ++i) {
    if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1u);
    sync_cluster();
  }
}

}  // namespace

void node(unsigned* count, std::int64_t blocks, bool early, CUstream_st* stream) {
  if (early) launch_early(early_node_kernel, blocks, threads, stream, count);
  else launch(node_kernel, blocks, threads, stream, count);
}

void grid_barriers(unsigned* count, std::int64_t blocks, int meetings, CUstream_st* stream) {
  launch_cooperative(grid_barriers_kernel, blocks, threads, stream, count, meetings);
}

void cluster_barriers(unsigned* count, int blocks, int meetings, CUstream_st* stream) {
  launch_cluster(cluster_barriers_kernel, blocks, threads, stream, count, meetings);
}

}  // namespace norma::kernels::cuda::probe
