// The emulator runs correct kernels correctly, with every order of threads.
#include "tests/simt/emulator.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/simt/test_kernels.h"

extern "C" [[gnu::weak]] int __asan_address_is_poisoned(const volatile void* address);  // null without AddressSanitizer

namespace norma::simt {
namespace {

Options seeded(int seed) { return {.seed = static_cast<std::uint64_t>(seed)}; }

TEST(Emulator, EveryThreadOfEveryBlockRunsOnce) {
  const ScopedOptions scope(seeded(1));
  std::vector<int> times(7 * 33);
  int* p = times.data();
  launch(
      +[](int* count) { ++count[blockIdx.x * blockDim.x + threadIdx.x]; }, 7, 33, nullptr, p);
  EXPECT_EQ(std::ranges::count(times, 1), 7 * 33);
  launch(
      +[](int*) { throw Fault("ran"); }, 0, 33, nullptr, p);  // no blocks: no launch
}

std::vector<int>* order_seen = nullptr;
void see_kernel() { order_seen->push_back(static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x)); }
void see_after_barrier_kernel() {
  __syncthreads();
  see_kernel();
}

std::vector<int> order_of(void (*kernel)(), const Options& now) {
  const ScopedOptions scope(now);
  std::vector<int> seen;
  order_seen = &seen;
  launch(kernel, 3, 50, nullptr);
  order_seen = nullptr;
  return seen;
}

TEST(Emulator, OrderIsThatOfTheOptions) {
  std::vector<int> ascending(150);
  std::iota(ascending.begin(), ascending.end(), 0);
  const std::vector<int> descending(ascending.rbegin(), ascending.rend());
  for (auto* kernel : {see_kernel, see_after_barrier_kernel}) {
    EXPECT_EQ(order_of(kernel, {.order = Order::ascending}), ascending);
    EXPECT_EQ(order_of(kernel, {.order = Order::descending}), descending);
    std::set<std::vector<int>> random;
    for (int seed = 0; seed < 20; ++seed) {
      const auto order = order_of(kernel, seeded(seed));
      EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), ascending.begin()));
      EXPECT_EQ(order_of(kernel, seeded(seed)), order);
      random.insert(order);
    }
    EXPECT_EQ(random.size(), 20u);
    EXPECT_FALSE(random.contains(ascending));
  }
}

TEST(Emulator, BlockSumsOfEverySize) {
  for (int threads : {1, 2, 31, 32, 33, 64, 65, 255, 1000, 1024})
    for (int seed = 0; seed < 10; ++seed) {
      const ScopedOptions scope(seeded(seed));
      const auto n = static_cast<std::size_t>(threads);
      const std::vector<float> x = numbers(2 * n);
      Guarded sums(4);
      launch(sums_kernel, 2, threads, nullptr, x.data(), sums.data());
      for (std::size_t b = 0; b < 2; ++b) {
        const auto* begin = x.data() + b * n;
        EXPECT_EQ(sums.values()[b], std::accumulate(begin, begin + n, 0.0f)) << threads << " threads, seed " << seed;
        EXPECT_EQ(sums.values()[2 + b], std::inner_product(begin, begin + n, begin, 0.0f)) << threads << " threads, seed " << seed;
      }
      EXPECT_TRUE(sums.guards_intact());
    }
}

TEST(Emulator, GridBarrierWaitsForAllBlocks) {
  for (int seed = 0; seed < 10; ++seed) {
    const ScopedOptions scope(seeded(seed));
    const std::vector<float> x = numbers(5 * 40);
    Guarded y(x.size());
    launch_cooperative(ring_kernel, 5, 40, nullptr, x.data(), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y.values()[i], x[(i + 1) % x.size()] + 1);
  }
}

// The last block to finish adds up what all have left, in order.
void last_block_kernel(const float* x, float* parts, unsigned* done, float* sum) {
  struct Flag {
    bool last;
  };
  const float part = block_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = part;
    __threadfence();
    shared<Flag>().last = atomicAdd(done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!shared<Flag>().last || threadIdx.x != 0) return;
  float all = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) all += parts[b];
  *sum = all;
  *done = 0;
}

TEST(Emulator, LastBlockFinishes) {
  std::vector<float> x = numbers(9 * 64);
  for (float& v : x) v = 1 / (v + 0.5f);  // sums that depend on the order
  unsigned done = 0;
  const int differ = differing_seeds(20, [&] {
    Guarded parts(9), sum(1);
    launch(last_block_kernel, 9, 64, nullptr, x.data(), parts.data(), &done, sum.data());
    EXPECT_EQ(done, 0u);
    EXPECT_FALSE(std::isnan(sum.values()[0]));
    return sum.bits();
  });
  EXPECT_EQ(differ, 0);
}

template <class T>
void shuffles_kernel(T* out) {
  const T v = static_cast<T>(100 + threadIdx.x);
  T* mine = out + threadIdx.x * 6;
  mine[0] = __shfl_sync(~0u, v, 5);
  mine[1] = __shfl_sync(~0u, v, 13, 8);
  mine[2] = __shfl_xor_sync(~0u, v, 3);
  mine[3] = __shfl_xor_sync(~0u, v, 8, 8);  // lands in the next part of the warp, or in the one before
  mine[4] = __shfl_up_sync(~0u, v, 2u, 16);
  mine[5] = __shfl_down_sync(~0u, v, 3u, 16);
}

template <class T>
void check_shuffles() {
  std::vector<T> out(32 * 6);
  launch(shuffles_kernel<T>, 1, 32, nullptr, out.data());
  for (int lane = 0; lane < 32; ++lane) {
    const int sources[] = {
        5, lane / 8 * 8 + 5, lane ^ 3, (lane & 8) ? lane - 8 : lane, lane % 16 >= 2 ? lane - 2 : lane, lane % 16 < 13 ? lane + 3 : lane};
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(out[static_cast<std::size_t>(lane * 6 + i)], static_cast<T>(100 + sources[i])) << lane << " " << i;
  }
}

TEST(Emulator, Shuffles) {
  check_shuffles<float>();
  check_shuffles<double>();
  check_shuffles<int>();
  check_shuffles<unsigned>();
  check_shuffles<std::int64_t>();
  check_shuffles<unsigned long long>();
}

// Halves of a warp go different ways, each with a mask of its own.
void halves_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x;
  if (lane < 16) {
    for (int i = 0; i < 3; ++i) out[lane] += __shfl_xor_sync(0x0000FFFFu, lane, 1);
    __syncwarp(0x0000FFFF);
  } else {
    out[lane] = __ballot_sync(0xFFFF0000u, lane % 2);
    out[lane] += static_cast<unsigned>(__any_sync(0xFFFF0000u, lane == 20) + 2 * __all_sync(0xFFFF0000u, lane == 20));
  }
  out[32 + lane] = static_cast<unsigned>(__all_sync(~0u, lane < 32) + 2 * __any_sync(~0u, lane > 31));
}

TEST(Emulator, PartsOfAWarpAndVotes) {
  for (int seed = 0; seed < 10; ++seed) {
    const ScopedOptions scope(seeded(seed));
    std::vector<unsigned> out(64);
    launch(halves_kernel, 1, 32, nullptr, out.data());
    for (unsigned lane = 0; lane < 32; ++lane) {
      EXPECT_EQ(out[lane], lane < 16 ? 3 * (lane ^ 1) : 0xAAAA0001u);
      EXPECT_EQ(out[32 + lane], 1u);
    }
  }
}

TEST(Emulator, SharedMemoryStartsAsNaNInEveryBlockAndIsOneOfEachType) {
  struct A {
    float v[3];
  };
  struct B {
    double v[3];
  };
  Guarded nans(8);
  launch(
      +[](float* nan) {
        shared<B>().v[0] = 1;
        const bool fresh = std::isnan(shared<A>().v[2]) && std::isnan(shared<B>().v[1]) && shared<B>().v[0] == 1;
        shared<A>().v[2] = 0;
        nan[blockIdx.x] = fresh && shared<A>().v[2] == 0;
      },
      8, 1, nullptr, nans.data());
  for (float v : nans.values()) EXPECT_EQ(v, 1);
}

TEST(Emulator, SharedMemoryEndsInARedZone) {
  if (!__asan_address_is_poisoned) GTEST_SKIP() << "needs AddressSanitizer";
  struct Odd {
    double v[3];
  };
  std::array<int, 4> edges{};
  launch(
      +[](int* poisoned) {
        const char* v = reinterpret_cast<const char*>(&shared<Odd>());
        for (int i : {-1, 0, 23, 24}) *poisoned++ = __asan_address_is_poisoned(v + i);
      },
      1, 1, nullptr, edges.data());
  EXPECT_EQ(edges, (std::array{1, 0, 0, 1}));
}

// __shared__ T promises alignof(T). A better address would hide the access of four floats at once that a GPU refuses.
TEST(Emulator, SharedMemoryIsAlignedAsItsTypeAndNoBetter) {
  const auto expect = []<class T>(T) {
    std::uintptr_t address = 0;
    launch(
        +[](std::uintptr_t* at) { *at = reinterpret_cast<std::uintptr_t>(&shared<T>()); }, 1, 1, nullptr, &address);
    EXPECT_EQ(address % (2 * alignof(T)), alignof(T)) << sizeof(T) << " bytes";
  };
  struct Bytes {
    char v[5];
  };
  struct Floats {
    float v[8];
  };
  struct Doubles {
    double v[2];
  };
  struct alignas(16) Vectors {
    float v[8];
  };
  struct alignas(32) Wide {
    float v[8];
  };
  expect(Bytes{}), expect(Floats{}), expect(Doubles{}), expect(Vectors{}), expect(Wide{});
}

TEST(Emulator, Atomics) {
  struct All {
    int add = 0, max = -100;
    unsigned low = 1000, any = 0, every = ~0u, exchanged = 0;
    unsigned long long sum = 0, chosen = 0;
    float f = 0;
    double d = 0;
  } all;
  launch(
      +[](All* a) {
        const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
        atomicAdd(&a->add, -2);
        atomicMax(&a->max, static_cast<int>(i));
        atomicMin(&a->low, i + 3);
        atomicOr(&a->any, 1u << (i % 5));
        atomicAnd(&a->every, ~(1u << (i % 5)));
        atomicExch(&a->exchanged, i + 1);
        atomicAdd(&a->sum, i);
        atomicCAS(&a->chosen, 0u, i + 1);
        atomicAdd(&a->f, 0.5f);
        atomicAdd(&a->d, 0.25);
      },
      4, 16, nullptr, &all);
  EXPECT_EQ(all.add, -128);
  EXPECT_EQ(all.max, 63);
  EXPECT_EQ(all.low, 3u);
  EXPECT_EQ(all.any, 31u);
  EXPECT_EQ(all.every, ~31u);
  EXPECT_TRUE(all.exchanged >= 1 && all.exchanged <= 64);
  EXPECT_EQ(all.sum, 63u * 64 / 2);
  EXPECT_TRUE(all.chosen >= 1 && all.chosen <= 64);
  EXPECT_EQ(all.f, 32);
  EXPECT_EQ(all.d, 16);
}

TEST(Emulator, WhatAKernelThrowsComesOutAndTheNextOneRuns) {
  const auto throws = +[](int* data) {
    __syncthreads();
    if (threadIdx.x == 17) throw std::out_of_range("17");
    __syncthreads();
    ++*data;
  };
  int reached = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(launch(throws, 4, 64, nullptr, &reached), std::out_of_range);
    EXPECT_THROW(launch_cooperative(throws, 4, 64, nullptr, &reached), std::out_of_range);
  }
  EXPECT_EQ(reached, 0);
  const std::vector<float> x = numbers(64);
  Guarded sums(2);
  launch(sums_kernel, 1, 64, nullptr, x.data(), sums.data());
  EXPECT_EQ(sums.values()[0], std::accumulate(x.begin(), x.end(), 0.0f));
}

TEST(Emulator, StatisticsListTheLinesThatWait) {
  const std::vector<float> x = numbers(2 * 64);
  Guarded sums(4);
  reset_statistics();
  launch(sums_kernel, 2, 64, nullptr, x.data(), sums.data());
  const Statistics all = statistics();
  EXPECT_EQ(all.launches, 1u);
  EXPECT_EQ(all.blocks, 2u);
  EXPECT_EQ(all.threads, 128u);
  EXPECT_EQ(all.barrier_arrivals, 2 * 2 * 128u);     // two in each of two sums
  EXPECT_EQ(all.collective_arrivals, 2 * 5 * 128u);  // five steps
  ASSERT_EQ(barriers().size(), 2u);
  for (const Arrivals& a : barriers()) {
    EXPECT_TRUE(a.location.file.ends_with("tests/simt/test_kernels.h")) << a.location.file;
    EXPECT_EQ(a.what, "__syncthreads");
    EXPECT_EQ(a.count, 2 * 128u);
  }
  EXPECT_LT(barriers()[0].location.line, barriers()[1].location.line);
  ASSERT_EQ(collectives().size(), 1u);
  EXPECT_EQ(collectives()[0].what, "__shfl_sync");
  reset_statistics();
  EXPECT_TRUE(barriers().empty());
  EXPECT_EQ(statistics().threads, 0u);
}

}  // namespace
}  // namespace norma::simt
