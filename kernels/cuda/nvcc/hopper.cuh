// Features of the device from compute capability 9 on, for the kernels of hopper/, which are compiled for nothing earlier.
// tests/simt/include/hopper.cuh is the emulation's.
#pragma once
#include <cooperative_groups.h>

#include "device.cuh"

namespace norma::kernels::cuda {

// For kernels launched with launch_early. wait_for_previous() waits until the kernel before has ended and its results can be read.
// let_next_begin() lets the next kernel begin, as soon as every block has called it.
__device__ __forceinline__ void wait_for_previous() { cudaGridDependencySynchronize(); }
__device__ __forceinline__ void let_next_begin() { cudaTriggerProgrammaticLaunchCompletion(); }

// A barrier for all threads of the cluster, in kernels launched with launch_cluster.
__device__ __forceinline__ void sync_cluster() { cooperative_groups::this_cluster().sync(); }

// launch(), but the kernel may begin while the one before it on the stream still runs: it waits for that with wait_for_previous().
template <class... Parameters, class... Arguments>
void launch_early(Kernel<Parameters...> kernel, std::int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  launch_with(&early, kernel.function, blocks, threads, stream, arguments...);
}

// Launches one cluster of `blocks` blocks, up to 8.
template <class... Parameters, class... Arguments>
void launch_cluster(Kernel<Parameters...> kernel, int blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(blocks);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  launch_with(&cluster, kernel.function, blocks, threads, stream, arguments...);
}

}  // namespace norma::kernels::cuda
