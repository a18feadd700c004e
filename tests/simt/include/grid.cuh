// The emulation's counterpart of kernels/cuda/nvcc/grid.cuh.
#pragma once
#include "device.cuh"

namespace norma::kernels::cuda {

// A barrier for all threads of all blocks, in kernels launched with launch_cooperative.
inline void sync_grid(simt::Site at = {}) { simt::sync_blocks(at); }

}  // namespace norma::kernels::cuda
