// norma plan for a GPU: occupancy, the model's limits, the longest chain, and the kernels of real Plans.
#include "apps/norma/gpu/plan_gpu.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "norma/error.h"
#include "tests/support/expect_error.h"

namespace norma::app {
namespace {

using test::expect_error;

const GpuCard& h200() { return choose_card("h200", Device::cuda()); }

// Blocks as cudaOccMaxActiveBlocksPerMultiprocessor of CUDA 13.0's cuda_occupancy.h gives them for compute capability 9.0, largest
// carveout.
TEST(Occupancy, IsThatOfNvidiasCalculator) {
  struct {
    int threads, registers;
    std::int64_t shared;
    int blocks;
    OccupancyLimit limit;
  } const known[] = {
      {128, 36, 8320, 12, OccupancyLimit::registers},
      {128, 40, 0, 12, OccupancyLimit::registers},
      {256, 32, 32, 8, OccupancyLimit::warps},
      {256, 255, 0, 1, OccupancyLimit::registers},
      {1024, 64, 0, 1, OccupancyLimit::registers},
      {1024, 65, 0, 0, OccupancyLimit::registers},
      {32, 16, 0, 32, OccupancyLimit::blocks},
      {96, 80, 1024, 8, OccupancyLimit::registers},
      {160, 48, 20000, 8, OccupancyLimit::registers},
      {1, 16, 0, 32, OccupancyLimit::blocks},
      {256, 40, 49152, 4, OccupancyLimit::shared_memory},
  };
  for (const auto& k : known) {
    const Occupancy o = occupancy(k.threads, k.registers, k.shared);
    EXPECT_EQ(o.blocks, k.blocks) << k.threads << " threads, " << k.registers << " registers, " << k.shared << " bytes";
    EXPECT_EQ(o.limit, k.limit) << k.threads << " threads, " << k.registers << " registers, " << k.shared << " bytes";
  }
  EXPECT_DOUBLE_EQ(occupancy(128, 36, 8320).share, 0.75);
  EXPECT_EQ(occupancy(1025, 16, 0).blocks, 0);
  EXPECT_EQ(occupancy(128, 16, (227 << 10) + 1).blocks, 0);
}

KernelLaunch launch(std::int64_t blocks, int threads) {
  return {.kernel = "k", .blocks = blocks, .threads = threads, .compiled = KernelLaunch::Compiled{90, 32, 0, 0}};
}

KernelTime time_of(const KernelLaunch& l, double bytes, double flops, double fitting = 1) {
  return predict(h200(), std::vector{l}, bytes, flops, fitting).at(0);
}

TEST(GpuModel, EachLimitBinds) {
  const GpuCard& card = h200();
  const KernelTime empty = time_of(launch(1, 32), 0, 0);
  EXPECT_EQ(empty.fixed, card.node);
  EXPECT_GT(empty.work, 0);
  EXPECT_LT(empty.work, card.node);
  EXPECT_EQ(empty.bound, Bound::latency);
  KernelLaunch cooperative = launch(1, 32);
  cooperative.cooperative = true;
  EXPECT_EQ(time_of(cooperative, 0, 0).fixed, card.node + card.grid_barrier);

  // A full card: the peak, the bandwidth of L2, that of DRAM.
  const KernelLaunch full = launch(132 * 8 * 10, 256);
  EXPECT_NEAR(time_of(full, 0, 67e9).work, 1000, 1e-6);
  EXPECT_EQ(time_of(full, 0, 67e9).bound, Bound::arithmetic);
  EXPECT_NEAR(time_of(full, 5.5e9, 0).work, 1000, 1e-6);
  EXPECT_NEAR(time_of(full, 4.3e9, 0, 0).work, 1000, 1e-6);
  EXPECT_EQ(time_of(full, 4.3e9, 0, 0).bound, Bound::memory);
  EXPECT_DOUBLE_EQ(time_of(full, 0, 0).waves, 10);

  // That of the tensor cores, for Calls whose precision is theirs.
  for (const auto& [precision, peak] : {std::pair{Precision::tf32, card.tf32}, {Precision::bf16, card.bf16}}) {
    const std::vector<KernelTime> times = predict(card, std::vector{full}, 0, 1000 * peak, 1, precision);
    EXPECT_NEAR(times[0].work, 1000, 1e-6) << name_of(precision);
  }
  PlanLine line;
  line.flops = 1e9, line.precision = Precision::bf16;
  EXPECT_NEAR(predict(card, std::vector{line}, {{full}}, {{}}, 0).work, 1e9 / card.bf16, 1e-6);

  // One block more than multiprocessors: one of them has twice the arithmetic.
  EXPECT_NEAR(time_of(launch(133, 1024), 0, 133e6).work, 2 * time_of(launch(132, 1024), 0, 132e6).work, 1e-9);
  // Few threads draw little: twice as many, twice as much.
  EXPECT_NEAR(time_of(launch(2, 128), 1e6, 0).work, time_of(launch(4, 128), 1e6, 0).work * 2, 1e-9);
  // More threads than a multiprocessor holds are not resident together.
  EXPECT_LE(time_of(launch(1000000, 256), 1e9, 0).work, time_of(launch(100, 256), 1e9, 0).work);
}

TEST(GpuModel, DealsACallToItsKernelsByTheirThreads) {
  const std::vector<KernelTime> times = predict(h200(), std::vector{launch(30, 128), launch(10, 128)}, 4000, 800, 1);
  EXPECT_DOUBLE_EQ(times[0].bytes, 3000);
  EXPECT_DOUBLE_EQ(times[1].bytes, 1000);
  EXPECT_DOUBLE_EQ(times[1].flops, 200);
}

TEST(GpuModel, TheChainIsWhatWaitsForOneAnother) {
  // 0 -> 1 -> 3, and 2 parallel to them with two kernels.
  const std::vector<PlanLine> lines(4);
  const std::vector<std::vector<KernelLaunch>> launches{{launch(1, 32)}, {launch(1, 32)}, {launch(1, 32), launch(1, 32)}, {launch(1, 32)}};
  const StepTime step = predict(h200(), lines, launches, {{}, {0}, {}, {0, 1}}, 120e6);
  EXPECT_EQ(step.kernels, 5u);
  EXPECT_EQ(step.chain, 3u);
  EXPECT_DOUBLE_EQ(step.fixed, 5 * h200().node);
  EXPECT_DOUBLE_EQ(step.chain_fixed, 3 * h200().node);
  EXPECT_DOUBLE_EQ(step.fitting, 0.5);
}

Recipe recipe_on(const std::string& device) {
  const Override overrides[] = {{"device.kind", device, "--device"}};
  return parse_recipe(find_recipe("mnist-lenet-bn"), overrides);
}

TEST(PlanGpu, ListsTheKernelsOfLeNet) {
  if (!cuda_report().built) {
    expect_error(ErrorKind::device, {"no CUDA"}, [] { predict_plan(recipe_on("cuda"), Mode::train, Device::cuda(), h200()); });
    return;
  }
  const GpuPlan plan = predict_plan(recipe_on("cuda"), Mode::train, Device::cuda(), h200());
  EXPECT_EQ(plan.steps, 234);
  EXPECT_EQ(plan.tail, 96);
  ASSERT_EQ(plan.launches.size(), plan.lines.size());
  std::size_t kernels = 0;
  for (std::size_t c = 0; c < plan.lines.size(); ++c) {
    EXPECT_FALSE(plan.launches[c].empty()) << plan.lines[c].call;
    for (const KernelLaunch& l : plan.launches[c]) {
      ++kernels;
      EXPECT_GT(l.blocks, 0);
      EXPECT_FALSE(l.kernel.empty()) << plan.lines[c].call;
      EXPECT_EQ(l.kernel.find("norma"), std::string::npos) << l.kernel;
      if (const std::string a = cuda_report().architectures; a == "90" || a.starts_with("all")) {
        EXPECT_TRUE(l.compiled) << l.kernel;
      }
      if (l.compiled) {
        EXPECT_EQ(l.compiled->architecture, 90);
        EXPECT_GT(occupancy(l.threads, l.compiled->registers, l.compiled->shared_bytes).blocks, 0) << l.kernel;
      }
    }
  }
  EXPECT_EQ(kernels, plan.step.kernels);
  EXPECT_LE(plan.step.chain, kernels);
  EXPECT_LE(plan.step.chained(), plan.step.serial());
  // A step's operations can take no less than the card's peak allows, and a step is no quicker than its launches.
  EXPECT_GT(plan.step.work, 410e6 / h200().peak);
  EXPECT_GT(plan.step.serial(), static_cast<double>(kernels) * h200().node);

  GpuPlan measured = plan;
  measured.measured.assign(plan.lines.size(), 1234.5);
  for (const GpuPlan* p : {&plan, static_cast<const GpuPlan*>(&measured)}) {
    const std::string text = print(*p);
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
      EXPECT_LE(end - begin, 80u) << text.substr(begin, end - begin);
  }
  EXPECT_NE(print(measured).find("measured 1234.50, predicted"), std::string::npos);
  EXPECT_EQ(print(plan).find("1234.50"), std::string::npos);
}

TEST(PlanGpu, CardsAreNamed) {
  EXPECT_STREQ(choose_card("h100", Device::cuda()).name, "NVIDIA H100");
  expect_error(ErrorKind::usage, {"--card must be one of h100, h200", "h300"}, [] { choose_card("h300", Device::cuda()); });
}

}  // namespace
}  // namespace norma::app
