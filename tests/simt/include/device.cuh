// The emulation's counterpart of kernels/cuda/nvcc/device.cuh for the kernels: the include path chooses. Here a kernel is an ordinary
// function of standard C++, called once for every thread.
#pragma once
#include <math.h>  // CUDA's fma, sqrt, pow and so on are overloaded outside namespace std, as they are here

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#include "cuda_runtime_api.h"
#include "kernels/cuda/launches.h"
#include "tests/simt/emulator.h"
#include "tests/simt/runtime.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = norma::simt::warp_size;

namespace norma::simt {

template <class T, class... Types>
concept one_of = (std::same_as<T, Types> || ...);

template <class T>
T shuffle_value(Shuffle how, unsigned mask, T value, int operand, int width, Site at) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles take numbers of 4 or 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shuffle(how, mask, bits, operand, width, at);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Nothing else runs meanwhile: an atomic operation is an operation. It orders no other memory.
template <class T, class F>
T exchange(T* address, F f) {
  begin_atomic(address, sizeof(T));
  const T before = *address;
  *address = static_cast<T>(f(before));
  end_atomic(address, sizeof(T));
  return before;
}

// A stream and the line that gave it to launch(). launch()'s last parameter is a pack, so no default argument can follow it.
struct StreamAt {
  cudaStream_t stream;
  Site site;
  StreamAt(cudaStream_t s, Site at = {}) : stream(s), site(at) {}
};

template <class... Parameters, class... Arguments>
void launch_kernel(void (*kernel)(Parameters...), Grid grid, cudaStream_t stream, Arguments... arguments) {
  queue_grid(stream, grid,
             [kernel, given = std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)] { std::apply(kernel, given); });
}

}  // namespace norma::simt

// ---- barriers, shuffles, votes
inline void __syncthreads(norma::simt::Site at = {}) { norma::simt::sync_block(at); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, norma::simt::Site at = {}) { norma::simt::sync_warp(mask, at); }
inline void __threadfence(norma::simt::Site at = {}) { norma::simt::fence(at); }
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, norma::simt::Site at = {}) {
  return norma::simt::shuffle_value(norma::simt::Shuffle::index, mask, value, lane, width, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, norma::simt::Site at = {}) {
  return norma::simt::shuffle_value(norma::simt::Shuffle::exclusive_or, mask, value, lane_mask, width, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, norma::simt::Site at = {}) {
  return norma::simt::shuffle_value(norma::simt::Shuffle::up, mask, value, static_cast<int>(delta), width, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, norma::simt::Site at = {}) {
  return norma::simt::shuffle_value(norma::simt::Shuffle::down, mask, value, static_cast<int>(delta), width, at);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, norma::simt::Site at = {}) {
  return norma::simt::vote(norma::simt::Vote::ballot, mask, predicate != 0, at);
}
inline int __any_sync(unsigned mask, int predicate, norma::simt::Site at = {}) {
  return static_cast<int>(norma::simt::vote(norma::simt::Vote::any, mask, predicate != 0, at));
}
inline int __all_sync(unsigned mask, int predicate, norma::simt::Site at = {}) {
  return static_cast<int>(norma::simt::vote(norma::simt::Vote::all, mask, predicate != 0, at));
}

// ---- atomics, for the types that CUDA has them for
template <norma::simt::one_of<int, unsigned, unsigned long long, float, double> T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  if constexpr (std::same_as<T, int>)  // wraps around
    return norma::simt::exchange(address, [=](T old) { return static_cast<unsigned>(old) + static_cast<unsigned>(value); });
  else return norma::simt::exchange(address, [=](T old) { return old + value; });
}
template <norma::simt::one_of<int, unsigned, long long, unsigned long long> T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return norma::simt::exchange(address, [=](T old) { return old > value ? old : value; });
}
template <norma::simt::one_of<int, unsigned, long long, unsigned long long> T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return norma::simt::exchange(address, [=](T old) { return old < value ? old : value; });
}
template <norma::simt::one_of<int, unsigned, unsigned long long> T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return norma::simt::exchange(address, [=](T old) { return old | value; });
}
template <norma::simt::one_of<int, unsigned, unsigned long long> T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return norma::simt::exchange(address, [=](T old) { return old & value; });
}
template <norma::simt::one_of<int, unsigned, unsigned long long, float> T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return norma::simt::exchange(address, [=](T) { return value; });
}
template <norma::simt::one_of<int, unsigned, unsigned long long> T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return norma::simt::exchange(address, [=](T old) { return old == expected ? value : old; });
}

// ---- bits
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1; }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} * b) >> 32); }

namespace norma::kernels::cuda {

// The block's T in shared memory, uninitialised: bytes of a NaN, by themselves on the heap, until the block ends.
template <class T>
T& shared() {
  static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>, "as __shared__ demands");
  return *static_cast<T*>(simt::shared_memory(simt::slot_of<T>, sizeof(T), alignof(T)));
}

// Waits until a thread of another block has made this number other than 0, in kernels launched with launch_cooperative.
inline void wait_until_set(const unsigned* number, simt::Site at = {}) { simt::watch(number, at); }

// Adds n; returns the number before. Who arrives later, and its block after a barrier, sees what this block wrote before its last barrier.
inline unsigned arrive(unsigned* counter, unsigned n, simt::Site at = {}) { return simt::add_in_order(counter, n, at); }

inline std::uint32_t computed_anew(std::uint32_t x) { return x; }

// Queues kernel(arguments...) on `blocks` blocks of `threads` threads; no blocks, no launch.
template <class... Parameters, class... Arguments>
void launch(Kernel<Parameters...> kernel, std::int64_t blocks, int threads, simt::StreamAt queue, Arguments... arguments) {
  if (noted({kernel.name, blocks, threads})) return;
  simt::launch_kernel(kernel.function, {blocks, threads, false, queue.site}, queue.stream, arguments...);
}

template <class... Parameters>
std::int64_t resident_blocks(Kernel<Parameters...>, int, int multiprocessors, int most) {
  return std::int64_t{multiprocessors} * most;
}

// Launches with all blocks resident at once, so that they can wait for each other (sync_grid(), wait_until_set()).
template <class... Parameters, class... Arguments>
void launch_cooperative(Kernel<Parameters...> kernel, std::int64_t blocks, int threads, simt::StreamAt queue, Arguments... arguments) {
  if (noted({kernel.name, blocks, threads, true})) return;
  simt::launch_kernel(kernel.function, {blocks, threads, true, queue.site}, queue.stream, arguments...);
}

inline bool was_too_large() {
  if (is_noting() || cudaPeekAtLastError() != cudaErrorCooperativeLaunchTooLarge) return false;
  (void)cudaGetLastError();
  return true;
}

template <class T>
T load_streaming(const T* p) {
  return *p;
}
template <class T>
void store_streaming(T* p, T v) {
  *p = v;
}

}  // namespace norma::kernels::cuda
