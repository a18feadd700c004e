// All that the kernels take from the device. This is CUDA's; tests/simt/include/device.cuh is the emulation that runs the same kernels
// without a GPU, and the include path chooses. A kernel includes "device.cuh" and nothing of CUDA beside it.
//
// Of CUDA's own names kernels use: __global__, __device__, __forceinline__, __launch_bounds__, __restrict__; threadIdx.x, blockIdx.x,
// blockDim.x, gridDim.x (grids and blocks are one-dimensional: an x of up to 2^31-1 has no 65535 limit); __syncthreads,
// __syncwarp, __shfl_sync, __shfl_xor_sync, __shfl_down_sync, __ballot_sync, __any_sync, __threadfence; atomicAdd and atomicMax on
// integers, atomicExch; float2, float4, uchar4 and make_*; fmaf, fma, rintf, fabsf, sqrtf, sqrt, pow, __int_as_float, __float_as_int.
#pragma once
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/launches.h"

namespace norma::kernels::cuda {

// The block's T in shared memory, uninitialised. A kernel has one T of each type, whoever asks for it.
template <class T>
__device__ __forceinline__ T& shared() {
  __shared__ T storage;
  return storage;
}

// A barrier for all threads of all blocks, in kernels launched with launch_cooperative.
__device__ __forceinline__ void sync_grid() { cooperative_groups::this_grid().sync(); }

// Queues kernel(arguments...) on `blocks` blocks of `threads` threads; no blocks, no launch.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  if (blocks == 0 || noted({reinterpret_cast<const void*>(kernel), blocks, threads})) return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);  // the error stays for cudaGetLastError
}

// The same, with all blocks resident at once, so that sync_grid() works.
template <class... Parameters, class... Arguments>
void launch_cooperative(void (*kernel)(Parameters...), std::int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  if (noted({reinterpret_cast<const void*>(kernel), blocks, threads, true})) return;
  cudaLaunchAttribute cooperative{};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = &cooperative;
  config.numAttrs = 1;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// ---- for compute capability 9 and later; before it, launching what needs them is an error

// In kernels launched with launch_early: waits until the kernel before has ended and what it wrote can be read, and lets the next one
// begin, as soon as every block has said so.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}
__device__ __forceinline__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// A barrier for all threads of the cluster, in kernels launched with launch_cluster.
__device__ __forceinline__ void sync_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cooperative_groups::this_cluster().sync();
#endif
}

// Loads and stores of what is not to be kept in the caches.
template <class T>
__device__ __forceinline__ T load_streaming(const T* p) {
  return __ldcs(p);
}
template <class T>
__device__ __forceinline__ void store_streaming(T* p, T v) {
  __stcs(p, v);
}

// launch(), but the kernel may begin while the one before it on the stream still runs: it waits for that with wait_for_previous().
template <class... Parameters, class... Arguments>
void launch_early(void (*kernel)(Parameters...), std::int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = 1;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// launch() of one cluster of so many blocks, up to 8.
template <class... Parameters, class... Arguments>
void launch_cluster(void (*kernel)(Parameters...), int blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(blocks);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace norma::kernels::cuda
