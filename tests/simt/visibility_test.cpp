// Blocks see each other's writes as late as the standard allows, and no later: fences are needed, and are enough.
#include "tests/simt/visibility.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/simt/test_kernels.h"

namespace norma::simt {
namespace {

using kernels::cuda::arrive;

constexpr int blocks = 9, seeds = 40;

Options weak(int seed) { return {.seed = static_cast<std::uint64_t>(seed), .together = 4, .weak = true}; }

// Numbers in device memory.
template <class T>
class Numbers {
 public:
  explicit Numbers(std::size_t n) : all(n), device_(all.data(), n * sizeof(T)) {}
  T* data() { return all.data(); }
  std::vector<T> all;

 private:
  ScopedDeviceMemory device_;
};

// How often f() is not `expected`, or a Fault, of `seeds` times.
template <class F>
int wrong(float expected, F f, Options (*options)(int) = weak) {
  int count = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    const ScopedOptions scope(options(seed));
    try {
      count += f() != expected;
    } catch (const Fault&) {
      ++count;
    }
  }
  return count;
}

enum class Fences { both, none, after, arrive };

// One thread a block. The last block to come adds up the numbers that the others left.
template <Fences fences>
void last_adds_kernel(float* parts, unsigned* done, float* sum) {
  parts[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
  if (fences == Fences::both) __threadfence();
  const unsigned before = fences == Fences::arrive ? arrive(done, 1) : atomicAdd(done, 1u);
  if (fences == Fences::after) __threadfence();
  if (before != gridDim.x - 1) return;
  if (fences == Fences::both) __threadfence();
  for (unsigned b = 0; b < gridDim.x; ++b) *sum += parts[b];
}
constexpr float sum_of_parts = blocks * (blocks + 1) / 2;

template <Fences fences>
float last_adds() {
  Numbers<float> parts(blocks), sum(1);
  Numbers<unsigned> done(1);
  launch(last_adds_kernel<fences>, blocks, 1, nullptr, parts.data(), done.data(), sum.data());
  EXPECT_EQ(done.all[0], unsigned{blocks});
  return sum.all[0];
}

TEST(Visibility, FencesMakeWritesVisible) {
  EXPECT_EQ(wrong(sum_of_parts, last_adds<Fences::both>), 0);
  EXPECT_EQ(wrong(sum_of_parts, last_adds<Fences::arrive>), 0);
}

TEST(Visibility, AMissingFenceIsNoticed) {
  EXPECT_GT(wrong(sum_of_parts, last_adds<Fences::none>), seeds / 2);
  const auto consistent = [](int seed) { return Options{.seed = static_cast<std::uint64_t>(seed), .together = 4}; };
  EXPECT_EQ(wrong(sum_of_parts, last_adds<Fences::none>, consistent), 0) << "without the option memory is consistent";
}

TEST(Visibility, AFenceThatComesTooLateIsNoticed) { EXPECT_GT(wrong(sum_of_parts, last_adds<Fences::after>), 0); }

TEST(Visibility, EachFenceThatIsSkippedIsNoticed) {
  for (auto* f : {last_adds<Fences::both>, last_adds<Fences::arrive>}) {
    reset_statistics();
    f();
    const std::vector<Arrivals> lines = fences();
    EXPECT_EQ(lines.size(), f == last_adds<Fences::arrive> ? 1u : 2u);
    for (const Arrivals& a : lines) {
      bool noticed = false;
      for (int seed = 0; seed < seeds && !noticed; ++seed) {
        Options options_now = weak(seed);
        options_now.skip_fence = a.location;
        const ScopedOptions scope(options_now);
        noticed = f() != sum_of_parts;
      }
      EXPECT_TRUE(noticed) << a.what << " of line " << a.location.line;
    }
  }
}

// Block 0 sets a number, the others wait for it and read what block 0 wrote before.
template <bool fenced>
void wait_kernel(float* value, unsigned* set, float* seen) {
  if (blockIdx.x == 0) {
    *value = 1;
    arrive(set, 1);
  } else {
    wait_until_set(set);
    if (fenced) __threadfence();
    seen[blockIdx.x] = *value;
  }
}

template <bool fenced>
float wait() {
  Numbers<float> value(1), seen(blocks);
  Numbers<unsigned> set(1);
  launch_cooperative(wait_kernel<fenced>, blocks, 1, nullptr, value.data(), set.data(), seen.data());
  return std::accumulate(seen.all.begin(), seen.all.end(), 0.0f);
}

TEST(Visibility, AReaderNeedsAFence) {
  EXPECT_EQ(wrong(blocks - 1, wait<true>), 0);
  EXPECT_GT(wrong(blocks - 1, wait<false>), seeds / 2);
}

// Block 0 sets a number and waits for another, so that it never ends. Block 1 waits for the first.
TEST(Visibility, APlainWriteEndsNoWait) {
  for (int seed = 0; seed < seeds; ++seed) {
    const ScopedOptions scope(weak(seed));
    Numbers<unsigned> set(3);
    expect_fault({"deadlock", "wait_until_set"}, [&] {
      launch_cooperative(
          +[](unsigned* number) {
            if (blockIdx.x == 0) number[0] = 1;
            wait_until_set(number + (blockIdx.x == 0 ? 1 : 0));
            number[2] = 1;
            __threadfence();
          },
          2, 1, nullptr, set.data());
    });
    EXPECT_EQ(set.all, std::vector<unsigned>(3));
  }
}

// A grid sees all of the grid before, and a barrier of the grid is a fence.
TEST(Visibility, GridsAndTheirBarriersPublish) {
  const std::vector<float> x = numbers(blocks * 8);
  for (int seed = 0; seed < seeds; ++seed) {
    const ScopedOptions scope(weak(seed));
    Numbers<float> y(x.size()), sums(2 * blocks);
    launch_cooperative(ring_kernel, blocks, 8, nullptr, x.data(), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y.all[i], x[(i + 1) % x.size()] + 1);
    launch(sums_kernel, blocks, 8, nullptr, y.data(), sums.data());
    for (std::size_t b = 0; b < blocks; ++b)
      ASSERT_EQ(sums.all[b], std::accumulate(y.data() + 8 * b, y.data() + 8 * (b + 1), 0.0f)) << "seed " << seed;
  }
}

// Bytes of one word are written by several blocks, and numbers by atomic operations.
TEST(Visibility, WritesAreThoseOfBytesAndAtomicsAreSeenAtOnce) {
  for (int seed = 0; seed < seeds; ++seed) {
    const ScopedOptions scope(weak(seed));
    Numbers<unsigned char> bytes(blocks);
    Numbers<unsigned> count(2);
    launch(
        +[](unsigned char* byte, unsigned* number) {
          if (threadIdx.x == 0) byte[blockIdx.x] = static_cast<unsigned char>(blockIdx.x + 1);
          atomicAdd(number, 1u);
          if (atomicMax(number + 1, blockIdx.x + 1) > blockIdx.x + 1) atomicAdd(number, 0u);
        },
        blocks, 3, nullptr, bytes.data(), count.data());
    EXPECT_EQ(count.all, (std::vector<unsigned>{blocks * 3, blocks}));
    for (unsigned b = 0; b < blocks; ++b) EXPECT_EQ(bytes.all[b], b + 1);
  }
}

TEST(Visibility, AFaultLeavesMemoryAsItWasPublished) {
  const ScopedOptions scope(weak(1));
  Numbers<float> y(blocks);
  EXPECT_THROW(launch(
                   +[](float* v) {
                     v[blockIdx.x] = 1;
                     if (blockIdx.x == 5) throw Fault("");
                   },
                   blocks, 1, nullptr, y.data()),
               Fault);
  EXPECT_EQ(y.all[5], 0);
  EXPECT_EQ(wrong(sum_of_parts, last_adds<Fences::both>), 0);
}

}  // namespace
}  // namespace norma::simt
