// The emulator finds what it is there to find: every fault planted here must be noticed.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/simt/emulator.h"
#include "tests/simt/test_kernels.h"

namespace norma::simt {
namespace {

// True if with some seed the kernel faults or gives other results.
bool noticed(Options now, const std::vector<std::uint32_t>& expected, const std::function<std::vector<std::uint32_t>()>& f) {
  for (now.seed = 0; now.seed < 10; ++now.seed) {
    const ScopedOptions scope(now);
    try {
      if (f() != expected) return true;
    } catch (const Fault&) {
      return true;
    }
  }
  return false;
}

// Removes each of f's barriers in turn, and narrows each of its masks: each must be noticed. Unchanged, f must not be. Returns the number
// of planted faults.
std::size_t plant_everywhere(const std::function<std::vector<std::uint32_t>()>& f) {
  reset_statistics();
  const auto expected = f();
  const auto all_barriers = barriers(), all_collectives = collectives();
  EXPECT_FALSE(noticed({}, expected, f));
  for (const Arrivals& a : all_barriers)
    EXPECT_TRUE(noticed({.skip_barrier = a.location}, expected, f)) << a.what << " of line " << a.location.line << " is not needed";
  for (const Arrivals& a : all_collectives)
    EXPECT_TRUE(noticed({.narrow_mask = a.location}, expected, f)) << a.what << " of line " << a.location.line;
  return all_barriers.size() + all_collectives.size();
}

TEST(PlantedFaults, AnyBarrierOfABlockSum) {
  const std::vector<float> x = numbers(3 * 128);
  EXPECT_EQ(plant_everywhere([&] {
              Guarded sums(6);
              launch(sums_kernel, 3, 128, nullptr, x.data(), sums.data());
              return sums.bits();
            }),
            3u);
}

TEST(PlantedFaults, AnyBarrierOfAGrid) {
  const std::vector<float> x = numbers(4 * 32);
  EXPECT_EQ(plant_everywhere([&] {
              Guarded y(x.size());
              launch_cooperative(ring_kernel, 4, 32, nullptr, x.data(), y.data());
              return y.bits();
            }),
            2u);
}

void swap_in_warp_kernel(float* y) {
  struct Tile {
    float v[32];
  };
  shared<Tile>().v[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncwarp();
  y[threadIdx.x] = shared<Tile>().v[threadIdx.x ^ 1];
}

// Warps are not in lock-step.
TEST(PlantedFaults, BarrierOfAWarp) {
  EXPECT_EQ(plant_everywhere([] {
              Guarded y(32);
              launch(swap_in_warp_kernel, 1, 32, nullptr, y.data());
              return y.bits();
            }),
            1u);
}

TEST(PlantedFaults, KernelWithoutItsBarrier) {
  const auto kernel = +[](float* y) {
    struct Tile {
      float v[64];
    };
    shared<Tile>().v[threadIdx.x] = 1;
    y[threadIdx.x] = shared<Tile>().v[63 - threadIdx.x];
  };
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const ScopedOptions scope({.seed = seed});
    Guarded y(64);
    launch(kernel, 1, 64, nullptr, y.data());
    EXPECT_EQ(y.unwritten(), 32u);  // of every pair one read before the other had written
  }
}

TEST(PlantedFaults, SkippedBarrierIsThatOfTheLineAlone) {
  const std::vector<float> x = numbers(64);
  const auto run = [&] {
    Guarded sums(2);
    launch(sums_kernel, 1, 64, nullptr, x.data(), sums.data());
    return sums.bits();
  };
  const auto expected = run();
  reset_statistics();
  run();
  Location line = barriers()[0].location;
  EXPECT_TRUE(noticed({.skip_barrier = Location{"test_kernels.h", line.line}}, expected, run));
  EXPECT_FALSE(noticed({.skip_barrier = Location{"other.h", line.line}}, expected, run));
  EXPECT_FALSE(noticed({.skip_barrier = Location{line.file, line.line + 1000}}, expected, run));
  EXPECT_FALSE(noticed({}, expected, run));
}

// y[i] = 1, i < n: `extra` writes too many, or, negative, too few.
void ones_kernel(float* y, int n, int extra) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n + extra) y[i] = 1;
}

TEST(PlantedFaults, OffByOneAtTheEdgeAndMissingTail) {
  const auto run = [](int extra) {
    Guarded y(50);
    launch(ones_kernel, 2, 32, nullptr, y.data(), 50, extra);
    return y;
  };
  EXPECT_TRUE(run(0).guards_intact());
  EXPECT_EQ(run(0).unwritten(), 0u);
  EXPECT_FALSE(run(1).guards_intact());
  EXPECT_EQ(run(-1).unwritten(), 1u);
}

TEST(PlantedFaults, OrderOfAFloatAtomic) {
  std::vector<float> x(256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1 / (static_cast<float>(i) + 1);
  const auto kernel = +[](const float* v, float* sum) { atomicAdd(sum, v[blockIdx.x * blockDim.x + threadIdx.x]); };
  const int differ = differing_seeds(20, [&] {
    Guarded sum(1);
    *sum.data() = 0;
    launch(kernel, 4, 64, nullptr, x.data(), sum.data());
    EXPECT_NEAR(sum.values()[0], 6.1243f, 1e-4f);
    return sum.bits();
  });
  EXPECT_GT(differ, 10);
}

template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), int threads, Arguments... arguments) {
  launch(kernel, 1, threads, nullptr, arguments...);
}

TEST(PlantedFaults, WrongMasks) {
  const auto shuffle_with = +[](unsigned mask, int from) { (void)__shfl_sync(mask, threadIdx.x, from); };
  run(shuffle_with, 32, ~0u, 0);
  expect_fault({"__shfl_sync", "mask 0x7fffffff", "wrong shuffle mask", "lane 31 calls and is not in it", "thread 31 of block 0"}, [&] {
    const ScopedOptions scope({.order = Order::descending});
    run(shuffle_with, 32, 0x7FFFFFFFu, 0);
  });
  expect_fault({"wrong shuffle mask", "the warp has 20 lanes"}, [&] { run(shuffle_with, 20, ~0u, 0); });
  run(shuffle_with, 20, 0xFFFFFu, 0);
  expect_fault({"reads from lane 20, which is not in it"}, [&] { run(shuffle_with, 20, 0xFFFFFu, 20); });

  expect_fault({"wrong shuffle mask", "waits at", "planted_faults_test.cpp"}, [] {
    run(
        +[] { (void)__ballot_sync(threadIdx.x < 4 ? ~0u : 0xFFFFFFF0u | 1u << threadIdx.x | 8u, 1); }, 32);
  });
  expect_fault({"wrong shuffle mask", "waits at"}, [] {  // one mask, two collectives
    run(
        +[] {
          if (threadIdx.x % 2) (void)__any_sync(~0u, 1);
          else (void)__all_sync(~0u, 1);
        },
        32);
  });
  expect_fault({"width 12"}, [] {
    run(
        +[] { (void)__shfl_xor_sync(~0u, 1.0f, 1, 12); }, 32);
  });
}

// Expects the Fault when the thread or block that is at fault comes first, and last, and with several seeds.
void expect_fault_in_any_order(std::initializer_list<std::string> words, const std::function<void()>& f) {
  for (const Order order : {Order::ascending, Order::descending, Order::random})
    for (std::uint64_t seed = 0; seed < (order == Order::random ? 10u : 1u); ++seed) {
      const ScopedOptions scope({.seed = seed, .order = order});
      expect_fault(words, f);
    }
}

TEST(PlantedFaults, LanesThatEndedBeforeAShuffle) {
  const auto kernel = +[](int ends) {
    if (static_cast<int>(threadIdx.x) == ends) return;
    (void)__shfl_xor_sync(~0u, 1, 1);
  };
  run(kernel, 32, -1);
  for (int lane : {0, 7, 31})
    expect_fault_in_any_order({"__shfl_xor_sync", "lane " + std::to_string(lane), "has ended"}, [&] { run(kernel, 32, lane); });
}

TEST(PlantedFaults, DivergentBarriers) {
  const auto ends = +[](unsigned from) {
    if (threadIdx.x >= from) return;
    __syncthreads();
  };
  run(ends, 64, 64u);
  expect_fault_in_any_order({"__syncthreads", " ended", "planted_faults_test.cpp:", "launched at"}, [&] { run(ends, 64, 63u); });
  expect_fault_in_any_order({"__syncthreads", "while thread", "waits at"}, [] {
    run(
        +[] {
          if (threadIdx.x < 32) __syncthreads();
          else __syncthreads();  // of another line
        },
        64);
  });
}

TEST(PlantedFaults, GridBarriers) {
  const auto plain = +[] { sync_grid(); };
  expect_fault({"not launched with launch_cooperative"}, [&] { run(plain, 32); });
  const auto some_blocks = +[](unsigned from) {
    if (blockIdx.x < from) sync_grid();
  };
  launch_cooperative(some_blocks, 3, 32, nullptr, 3u);
  expect_fault_in_any_order({"sync_grid", " ended"}, [&] { launch_cooperative(some_blocks, 3, 32, nullptr, 2u); });
  expect_fault_in_any_order({"sync_grid", "while other blocks wait at"}, [] {
    launch_cooperative(
        +[] {
          if (blockIdx.x == 0) sync_grid();
          else sync_grid();  // of another line
        },
        2, 1, nullptr);
  });
}

TEST(PlantedFaults, WaitingForANumber) {
  unsigned number = 0;
  const auto kernel = +[](unsigned* n, unsigned setter) {
    if (blockIdx.x == setter) atomicAdd(n, 1u);
    else wait_until_set(n);
  };
  launch_cooperative(kernel, 3, 32, nullptr, &number, 1u);
  EXPECT_EQ(number, 32u);
  number = 0;
  expect_fault({"wait_until_set", "not launched with launch_cooperative"}, [&] { launch(kernel, 2, 1, nullptr, &number, 1u); });
  number = 0;
  expect_fault_in_any_order({"deadlock", "wait_until_set"}, [&] { launch_cooperative(kernel, 2, 1, nullptr, &number, 7u); });
}

TEST(PlantedFaults, Deadlock) {
  expect_fault({"deadlock", "__syncthreads", "__shfl_sync", "waits at"}, [] {
    run(
        +[] {
          if (threadIdx.x == 0) __syncthreads();
          else (void)__shfl_sync(~0u, 1, 0);
        },
        32);
  });
}

// The float before the first is nearer than AddressSanitizer can tell.
TEST(PlantedFaults, SharedMemoryWrittenBeforeItsBegin) {
  struct Tile {
    float v[4];
  };
  run(
      +[] { shared<Tile>().v[0] = 1; }, 32);
  expect_fault({"before the begin of an object"}, [] {
    run(
        +[] {
          volatile int before = -1;
          float* const first = shared<Tile>().v;
          first[before] = 1;
        },
        32);
  });
}

TEST(PlantedFaults, MoreSharedMemoryThanABlockHas) {
  struct Half {
    float v[6 * 1024];
  };
  struct Other {
    float v[6 * 1024 + 1];
  };
  run(
      +[] { shared<Half>().v[0] = 1; }, 32);
  expect_fault({"shared memory of 49156 bytes"}, [] {
    run(
        +[] { shared<Half>().v[0] = shared<Other>().v[0]; }, 32);
  });
}

}  // namespace
}  // namespace norma::simt
