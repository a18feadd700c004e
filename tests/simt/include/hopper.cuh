// The emulation's counterpart of kernels/cuda/nvcc/hopper.cuh, for the kernels of hopper/.
#pragma once
#include "device.cuh"

namespace norma::kernels::cuda {

// A kernel begins here when the one before it has ended, so that a wait_for_previous() that is missing is not noticed.
inline void wait_for_previous() {}
inline void let_next_begin() {}

template <class... Parameters, class... Arguments>
void launch_early(Kernel<Parameters...> kernel, std::int64_t blocks, int threads, simt::StreamAt queue, Arguments... arguments) {
  simt::launch_kernel(kernel.function, {blocks, threads, false, queue.site}, queue.stream, arguments...);
}

// The grid is one cluster: its barrier is the grid's.
inline void sync_cluster(simt::Site at = {}) { simt::sync_blocks(at); }
template <class... Parameters, class... Arguments>
void launch_cluster(Kernel<Parameters...> kernel, int blocks, int threads, simt::StreamAt queue, Arguments... arguments) {
  simt::launch_kernel(kernel.function, {blocks, threads, true, queue.site}, queue.stream, arguments...);
}

}  // namespace norma::kernels::cuda
