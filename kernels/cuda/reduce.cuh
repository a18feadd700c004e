// Sums over the threads of a warp and of a block. Every one adds in a fixed order, so the result has the same bits every time. All threads
// of the warp, or of the block, must call. Unless it says otherwise, a collective that used shared memory ends with a barrier of its own.
// It may then be called again at once.
#pragma once
#include <type_traits>

#include "device.cuh"

namespace norma::kernels::cuda {

inline constexpr int warp = 32;
inline constexpr unsigned all_lanes = 0xFFFFFFFFu;

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x % warp); }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / warp); }

// Every lane gets the sum. A butterfly: both lanes of a pair add the same two numbers.
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
  for (int step = warp / 2; step > 0; step /= 2) v = v + __shfl_xor_sync(all_lanes, v, step);
  return v;
}

// Sums v[i], i < n, of all lanes; n is a power of two. With n >= 32, lane l gets the n/32 sums from l * n/32 on, in v[0 ...]. With fewer,
// 32/n neighbouring lanes get one. Each step halves a lane's values: up to 31/32 n shuffles instead of 5 n.
template <class T, int n>
__device__ __forceinline__ void warp_sum_scatter(T (&v)[n]) {
  static_assert((n & (n - 1)) == 0);
  int held = n;
#pragma unroll
  for (int step = warp / 2; step > 0; step /= 2) {
    if (held == 1) {
      v[0] = v[0] + __shfl_xor_sync(all_lanes, v[0], step);
      continue;
    }
    const bool upper = (threadIdx.x & static_cast<unsigned>(step)) != 0;
    held /= 2;
#pragma unroll
    for (int i = 0; i < n / 2; ++i) {
      if (i >= held) continue;
      const T kept = upper ? v[i + held] : v[i], given = upper ? v[i] : v[i + held];
      v[i] = kept + __shfl_xor_sync(all_lanes, given, step);
    }
  }
}

// Every thread of a block of `threads` gets the sum: lanes by butterfly, then warps in order.
template <int threads, class T>
__device__ __forceinline__ T block_sum(T v) {
  static_assert(threads % warp == 0);
  struct Parts {
    T of_warp[threads / warp];
  };
  Parts& parts = shared<Parts>();
  v = warp_sum(v);
  if (lane_index() == 0) parts.of_warp[warp_index()] = v;
  __syncthreads();
  T sum = parts.of_warp[0];
#pragma unroll
  for (int w = 1; w < threads / warp; ++w) sum = sum + parts.of_warp[w];
  __syncthreads();
  return sum;
}

// Returns true, in every thread, if this block is the last of `blocks` to come here with this counter. The counter is 0 again then. All
// threads of the last block see everything that threads of the others wrote before. They may not read it through a __restrict__ pointer.
__device__ __forceinline__ bool last_to_arrive(unsigned* counter, std::int64_t blocks) {
  struct Arrival {
    std::int32_t is_last;
  };
  Arrival& arrival = shared<Arrival>();
  __syncthreads();
  if (threadIdx.x == 0) {
    arrival.is_last = arrive(counter, 1u) + 1 == static_cast<unsigned>(blocks);
    if (arrival.is_last) *counter = 0;
  }
  __syncthreads();
  return arrival.is_last != 0;
}

// `blocks` blocks come here, all of them resident at once (launch_cooperative). All threads of the last one call for_all(), then all go on.
// for_all() sees everything that any block wrote before, and all blocks see everything that for_all() wrote. They may not read it through a
// __restrict__ pointer. Both counters are 0 before and after.
struct Gate {
  unsigned *arrived, *open;  // open: blocks that may still pass
};
template <class F>
__device__ __forceinline__ void meet(const Gate& gate, std::int64_t blocks, F for_all) {
  if (last_to_arrive(gate.arrived, blocks)) {
    for_all();
    __syncthreads();
    if (threadIdx.x == 0) arrive(gate.open, static_cast<unsigned>(blocks - 1));
  } else {
    if (threadIdx.x == 0) {
      wait_until_set(gate.open);
      arrive(gate.open, ~0u);  // one less
    }
    __syncthreads();
  }
}

// Mean and sum of squared differences from it, of `count` values.
struct Moments {
  double count, mean, squares;
};

// Merges the Moments of two sets (Chan, Golub and LeVeque 1979). Either may be empty, with a mean of 0. If both means are equal the result
// is exactly that.
__device__ __forceinline__ Moments merge(Moments a, Moments b) {
  const double count = a.count + b.count, share = count == 0 ? 0 : b.count / count, delta = b.mean - a.mean;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * (a.count * share)};
}

// Merges all lanes' Moments, in every lane. Both lanes of a pair merge the lower lane's with the upper lane's, in this order.
__device__ __forceinline__ Moments warp_merge(Moments m) {
#pragma unroll
  for (int step = 1; step < warp; step *= 2) {
    const Moments other{__shfl_xor_sync(all_lanes, m.count, step), __shfl_xor_sync(all_lanes, m.mean, step),
                        __shfl_xor_sync(all_lanes, m.squares, step)};
    const bool upper = (threadIdx.x & static_cast<unsigned>(step)) != 0;
    m = merge(upper ? other : m, upper ? m : other);
  }
  return m;
}

// Each lane of a group of `width` lanes, a power of two, gets the group's sum. All lanes of the warp must call.
template <class T>
__device__ __forceinline__ T group_sum(T v, int width) {
  for (int step = width / 2; step > 0; step /= 2) v = v + __shfl_xor_sync(all_lanes, v, step);
  return v;
}

// f(part(k)) for the calling lane's parts of part(0) ... part(parts - 1), which a group of `width` lanes shares out. `at_once` are on the
// way before the first is used.
template <std::uint32_t at_once, class PartAt, class F>
__device__ __forceinline__ void for_parts(PartAt part, std::uint32_t parts, int lane, int width, F f) {
  const std::uint32_t step = static_cast<std::uint32_t>(width);
  for (std::uint32_t k = static_cast<std::uint32_t>(lane); k < parts; k += at_once * step) {
    decltype(part(k)) of[at_once];
    of[0] = part(k);
#pragma unroll
    for (std::uint32_t i = 1; i < at_once; ++i) of[i] = part(k + i * step < parts ? k + i * step : k);
    f(of[0]);
#pragma unroll
    for (std::uint32_t i = 1; i < at_once; ++i)
      if (k + i * step < parts) f(of[i]);
  }
}

// Merges the Moments part(0) ... part(parts - 1), of which none is empty. A group of `width` lanes shares them out, and each lane gets the
// result. All lanes of the warp must call, also those of a group without parts. No part waits for a division, as with merge(): first
// comes the mean, then the squares about it. If all means are equal the result is exactly that.
template <class PartAt>
requires std::is_same_v<std::invoke_result_t<PartAt, std::uint32_t>, Moments> __device__ __forceinline__ Moments
merge_parts(PartAt part, std::uint32_t parts, int lane, int width) {
  const double pivot = parts > 0 ? part(0).mean : 0;
  double count = 0, moved = 0, squares = 0;
  for_parts<8>(part, parts, lane, width, [&](const Moments& m) {
    count += m.count;
    moved = fma(m.count, m.mean - pivot, moved);
  });
  count = group_sum(count, width);
  const double mean = pivot + group_sum(moved, width) / count;
  for_parts<8>(part, parts, lane, width, [&](const Moments& m) { squares += fma(m.count * (m.mean - mean), m.mean - mean, m.squares); });
  return {count, mean, group_sum(squares, width)};
}

// Every thread of a block of `threads` gets all threads' together, merged in their order. Not to be called again before a barrier.
template <int threads>
__device__ __forceinline__ Moments block_merge(Moments m) {
  struct Parts {
    Moments of_warp[threads / warp];
  };
  Parts& parts = shared<Parts>();
  m = warp_merge(m);
  if (lane_index() == 0) parts.of_warp[warp_index()] = m;
  __syncthreads();
  m = parts.of_warp[0];
#pragma unroll
  for (int w = 1; w < threads / warp; ++w) m = merge(m, parts.of_warp[w]);
  return m;
}

}  // namespace norma::kernels::cuda
