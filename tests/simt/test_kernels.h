// Kernels that the emulator's tests share, and memory for them.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "grid.cuh"

namespace norma::simt {

using kernels::cuda::launch;
using kernels::cuda::launch_cooperative;
using kernels::cuda::shared;
using kernels::cuda::sync_grid;
using kernels::cuda::wait_until_set;

// Kernels that need no name.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t blocks, int threads, StreamAt queue, Arguments... arguments) {
  launch(kernels::cuda::Kernel<Parameters...>{kernel}, blocks, threads, queue, arguments...);
}
template <class... Parameters, class... Arguments>
void launch_cooperative(void (*kernel)(Parameters...), std::int64_t blocks, int threads, StreamAt queue, Arguments... arguments) {
  launch_cooperative(kernels::cuda::Kernel<Parameters...>{kernel}, blocks, threads, queue, arguments...);
}

// n floats nobody wrote to, between two guards of as many.
class Guarded {
 public:
  explicit Guarded(std::size_t n) : n_(n), all_(3 * n, std::bit_cast<float>(unset)) {}
  float* data() { return all_.data() + n_; }
  std::span<const float> values() const { return {all_.data() + n_, n_}; }
  std::vector<std::uint32_t> bits() const {
    std::vector<std::uint32_t> all;
    for (float v : values()) all.push_back(std::bit_cast<std::uint32_t>(v));
    return all;
  }
  std::size_t unwritten() const { return static_cast<std::size_t>(std::ranges::count(bits(), unset)); }
  bool guards_intact() const {
    const auto intact = [](float v) { return std::bit_cast<std::uint32_t>(v) == unset; };
    return std::all_of(all_.begin(), all_.begin() + static_cast<std::ptrdiff_t>(n_), intact) &&
           std::all_of(all_.end() - static_cast<std::ptrdiff_t>(n_), all_.end(), intact);
  }

 private:
  std::size_t n_;
  std::vector<float> all_;
};

// Sum of the block's values, for thread 0 only. Any number of threads: lanes by halves, then warps in order.
inline float block_sum(float v) {
  struct Parts {
    float of_warp[max_block / warp_size];
  };
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned lanes = blockDim.x - warp * 32 < 32 ? blockDim.x - warp * 32 : 32;
  const unsigned mask = lanes == 32 ? ~0u : (1u << lanes) - 1;
  for (unsigned step = 16; step > 0; step /= 2) {
    const bool more = lane + step < lanes;
    const float other = __shfl_sync(mask, v, static_cast<int>(more ? lane + step : lane));
    if (more) v += other;
  }
  Parts& parts = shared<Parts>();
  if (lane == 0) parts.of_warp[warp] = v;
  __syncthreads();
  if (threadIdx.x == 0)
    for (unsigned w = 1; w < (blockDim.x + 31) / 32; ++w) v += parts.of_warp[w];
  __syncthreads();
  return v;
}

// sums[b] = sum of x[b * threads + t]; sums[blocks + b] = that of the squares.
inline void sums_kernel(const float* x, float* sums) {
  const float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  const float sum = block_sum(v), squares = block_sum(v * v);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum, sums[gridDim.x + blockIdx.x] = squares;
}

// y[i] = x of its neighbour in a ring through all blocks, plus 1: by way of y itself.
inline void ring_kernel(const float* x, float* y) {
  const unsigned n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
  sync_grid();
  const float next = y[(i + 1) % n];
  sync_grid();
  y[i] = next + 1;
}

inline std::vector<float> numbers(std::size_t n) {
  std::vector<float> x;
  for (std::size_t i = 0; i < n; ++i) x.push_back(static_cast<float>(i * 7 % 13) - 4);
  return x;
}

// The seeds of [0, count) with which f gives another result than with `order` ascending.
inline int differing_seeds(int count, const std::function<std::vector<std::uint32_t>()>& f) {
  const auto with = [&](const Options& options_now) {
    const ScopedOptions scope(options_now);
    return f();
  };
  Options now = options();
  now.order = Order::ascending;
  const auto expected = with(now);
  now.order = Order::random;
  int differ = 0;
  for (int seed = 0; seed < count; ++seed) {
    now.seed = static_cast<std::uint64_t>(seed);
    differ += with(now) != expected;
  }
  return differ;
}

inline void expect_fault(std::initializer_list<std::string> words, const std::function<void()>& f) {
  try {
    f();
  } catch (const Fault& fault) {
    for (const std::string& word : words)
      EXPECT_NE(std::string(fault.what()).find(word), std::string::npos) << "no \"" << word << "\" in: " << fault.what();
    return;
  }
  ADD_FAILURE() << "no Fault";
}

}  // namespace norma::simt
