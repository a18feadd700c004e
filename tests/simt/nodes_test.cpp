// Branches of a graph that share memory without an edge between them: noticed even where either may come first as a whole.
#include <gtest/gtest.h>

#include <array>
#include <utility>

#include "tests/simt/runtime.h"
#include "tests/simt/test_kernels.h"
#include "tests/simt/visibility.h"

namespace norma::simt {
namespace {

constexpr int threads = 64, branches = 3, launches = 40;

// out = value, by way of scratch.
void through_scratch_kernel(float* scratch, float* out, float value) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  out[threadIdx.x] = scratch[threads - 1 - threadIdx.x];
}

// The last of all blocks to count sets out to 1, and resets the counter.
void counting_kernel(unsigned* counter, float* out) {
  if (atomicAdd(counter, 1u) != gridDim.x - 1) return;
  *out = 1;
  *counter = 0;
}

// A graph whose branches are work(branch, stream), each after the one before if they are chained. Returns how many of its launches did not
// leave what `right` asks for.
template <class Work, class Right>
int wrong_launches(bool chained, Work work, Right right) {
  reset_machine();
  std::array<cudaStream_t, branches> streams{};
  std::array<cudaEvent_t, branches> done{};
  for (cudaStream_t& s : streams) EXPECT_EQ(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), cudaSuccess);
  for (cudaEvent_t& e : done) EXPECT_EQ(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaStreamBeginCapture(streams[0], cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(done[0], streams[0]), cudaSuccess);
  for (std::size_t b = 0; b < branches; ++b) {
    if (b > 0) EXPECT_EQ(cudaStreamWaitEvent(streams[b], done[chained ? b - 1 : 0]), cudaSuccess);
    work(static_cast<int>(b), streams[b]);
    if (b > 0 || chained) EXPECT_EQ(cudaEventRecord(done[b], streams[b]), cudaSuccess);
  }
  for (std::size_t b = 1; b < branches; ++b) EXPECT_EQ(cudaStreamWaitEvent(streams[0], done[b]), cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(streams[0], &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  int wrong = 0;
  for (int i = 0; i < launches; ++i) {
    EXPECT_EQ(cudaGraphLaunch(exec, streams[0]), cudaSuccess);
    wrong += !right();
  }
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  for (cudaEvent_t e : done) EXPECT_EQ(cudaEventDestroy(e), cudaSuccess);
  for (cudaStream_t s : streams) EXPECT_EQ(cudaStreamDestroy(s), cudaSuccess);
  return wrong;
}

// Returns how many launches go wrong, with scratch that all branches share or with scratch of each.
int wrong_with_scratch(bool shared_scratch, bool chained) {
  std::vector<float> scratch(branches * threads), out(branches * threads);
  return wrong_launches(
      chained,
      [&](int b, cudaStream_t s) {
        launch(through_scratch_kernel, 1, threads, s, scratch.data() + (shared_scratch ? 0 : b * threads), out.data() + b * threads,
               static_cast<float>(b + 1));
      },
      [&] {
        bool right = true;
        for (int b = 0; b < branches; ++b)
          for (int t = 0; t < threads; ++t)
            right = right && std::exchange(out[static_cast<std::size_t>(b * threads + t)], 0.0f) == static_cast<float>(b + 1);
        return right;
      });
}

TEST(Nodes, ScratchOfTwoBranchesIsNoticed) {
  EXPECT_EQ(wrong_with_scratch(false, false), 0);
  EXPECT_EQ(wrong_with_scratch(true, true), 0);
  EXPECT_GT(wrong_with_scratch(true, false), launches / 8);
}

int wrong_with_counter(bool shared_counter, bool chained) {
  std::vector<unsigned> counters(branches);
  std::vector<float> out(branches);
  return wrong_launches(
      chained, [&](int b, cudaStream_t s) { launch(counting_kernel, 6, 1, s, counters.data() + (shared_counter ? 0 : b), out.data() + b); },
      [&] {
        const bool right = std::ranges::count(out, 1.0f) == branches && std::ranges::count(counters, 0u) == branches;
        std::ranges::fill(out, 0.0f), std::ranges::fill(counters, 0u);
        return right;
      });
}

TEST(Nodes, ACounterOfTwoBranchesIsNoticed) {
  EXPECT_EQ(wrong_with_counter(false, false), 0);
  EXPECT_EQ(wrong_with_counter(true, true), 0);
  EXPECT_GT(wrong_with_counter(true, false), launches / 8);
}

// Grids that run at once have indices, sizes and shared memory of their own; a fault in one ends all.
TEST(Nodes, GridsAtOnceKeepTheirOwnState) {
  std::vector<float> sums(2 * 4 * branches);
  const std::vector<float> x = numbers(4 * 96);
  const auto work = [&](int b, cudaStream_t s) { launch(sums_kernel, 4 - b, 32 * (b + 1), s, x.data(), sums.data() + 8 * b); };
  std::vector<float> expected;
  for (int b = 0; b < branches; ++b) work(b, nullptr);
  std::swap(expected, sums);
  sums.resize(expected.size());
  for (const bool weak : {false, true}) {
    const ScopedOptions scope({.together = 3, .weak = weak});
    const ScopedDeviceMemory device(sums.data(), sums.size() * sizeof(float));
    EXPECT_EQ(wrong_launches(false, work,
                             [&] {
                               const bool right = sums == expected;
                               std::ranges::fill(sums, 0.0f);
                               return right;
                             }),
              0);
  }
}

TEST(Nodes, AFaultInOneEndsAll) {
  int faults = 0;
  cudaStream_t stream = nullptr, other = nullptr;
  cudaEvent_t event = nullptr;
  for (cudaStream_t* s : {&stream, &other}) ASSERT_EQ(cudaStreamCreateWithFlags(s, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  const auto wait_for_all = +[] { __syncthreads(); };
  const auto half = +[] {
    if (threadIdx.x < 3) __syncthreads();
  };
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(other, event), cudaSuccess);
  launch(wait_for_all, 50, 32, stream);
  launch(half, 1, 32, other);
  EXPECT_EQ(cudaEventRecord(event, other), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event), cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  for (int i = 0; i < launches; ++i) try {
      (void)cudaGraphLaunch(exec, stream);
    } catch (const Fault&) {
      ++faults;
    }
  EXPECT_EQ(faults, launches);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  for (cudaStream_t s : {stream, other}) EXPECT_EQ(cudaStreamDestroy(s), cudaSuccess);
}

}  // namespace
}  // namespace norma::simt
