// A barrier of the whole grid. Apart from device.cuh: CUDA's header for it triples the time that a file takes to compile.
// tests/simt/include/grid.cuh is the emulation's.
#pragma once
#include <cooperative_groups.h>

#include "device.cuh"

namespace norma::kernels::cuda {

// A barrier for all threads of all blocks, in kernels launched with launch_cooperative.
__device__ __forceinline__ void sync_grid() { cooperative_groups::this_grid().sync(); }

}  // namespace norma::kernels::cuda
