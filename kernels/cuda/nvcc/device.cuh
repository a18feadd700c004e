// Everything that the kernels take from the device. This is CUDA's. tests/simt/include/device.cuh is the emulation that runs the same
// kernels without a GPU, and the include path chooses. A kernel includes "device.cuh" and nothing else of CUDA.
//
// Kernels use these names of CUDA's own:
// __global__, __device__, __forceinline__, __noinline__, __launch_bounds__, __restrict__;
// threadIdx.x, blockIdx.x, blockDim.x, gridDim.x (grids and blocks are one-dimensional: an x of up to 2^31-1 has no 65535 limit);
// __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync, __shfl_down_sync, __ballot_sync, __any_sync;
// atomicAdd and atomicMax on integers, atomicExch; float2, float4, uchar4 and make_*;
// fmaf, fma, rintf, fabsf, sqrtf, sqrt, pow, __int_as_float, __float_as_int.
#pragma once
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

// Waits until a thread of another block has made this number other than 0, in kernels launched with launch_cooperative.
__device__ __forceinline__ void wait_until_set(const unsigned* number) {
  while (*static_cast<const volatile unsigned*>(number) == 0) __nanosleep(32);
}

// Adds n; returns the number before. Who arrives later, and its block after a barrier, sees what this block wrote before its last barrier.
__device__ __forceinline__ unsigned arrive(unsigned* counter, unsigned n) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(__cvta_generic_to_global(counter)), "r"(n) : "memory");
  return before;
}

// Returns x, opaque to the compiler: values derived from it are recomputed, not kept in registers for uses of x elsewhere.
__device__ __forceinline__ std::uint32_t computed_anew(std::uint32_t x) {
  asm volatile("" : "+r"(x));
  return x;
}

// Hands kernel(arguments...) to CUDA, with one attribute or none (null). Its error stays for cudaGetLastError().
template <class... Parameters, class... Arguments>
void launch_with(cudaLaunchAttribute* attribute, void (*kernel)(Parameters...), std::int64_t blocks, int threads, cudaStream_t stream,
                 Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = attribute;
  config.numAttrs = attribute ? 1 : 0;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// Queues kernel(arguments...) on `blocks` blocks of `threads` threads; no blocks, no launch.
template <class... Parameters, class... Arguments>
void launch(Kernel<Parameters...> kernel, std::int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  if (blocks == 0 || noted({kernel.name, blocks, threads})) return;
  launch_with(nullptr, kernel.function, blocks, threads, stream, arguments...);
}

// Returns the number of a kernel's blocks that these multiprocessors hold at once, at most `most` each. While launches are noted there is
// no device to ask.
template <class... Parameters>
std::int64_t resident_blocks(Kernel<Parameters...> kernel, int threads, int multiprocessors, int most) {
  int fit = most;
  if (!is_noting()) (void)cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, kernel.function, threads, 0);
  return std::int64_t{multiprocessors} * (fit < most ? fit : most);
}

// Launches with all blocks resident at once, so that they can wait for each other (sync_grid(), wait_until_set()).
template <class... Parameters, class... Arguments>
void launch_cooperative(Kernel<Parameters...> kernel, std::int64_t blocks, int threads, cudaStream_t stream, Arguments... arguments) {
  if (noted({kernel.name, blocks, threads, true})) return;
  cudaLaunchAttribute cooperative{};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  launch_with(&cooperative, kernel.function, blocks, threads, stream, arguments...);
}

// Returns true, and forgets the error, if launch_cooperative just had more blocks than there was room for.
inline bool was_too_large() {
  if (is_noting() || cudaPeekAtLastError() != cudaErrorCooperativeLaunchTooLarge) return false;
  (void)cudaGetLastError();
  return true;
}

// Loads and stores values that the caches should not keep.
template <class T>
__device__ __forceinline__ T load_streaming(const T* p) {
  return __ldcs(p);
}
template <class T>
__device__ __forceinline__ void store_streaming(T* p, T v) {
  __stcs(p, v);
}

}  // namespace norma::kernels::cuda
