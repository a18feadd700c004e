// Precisions below fp32: the rounding of floats. Convolutions and linear layers multiply rounded factors, and nothing else changes. The
// bits are equal however a net is run.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/round.h"
#include "norma/instruments.h"
#include "norma/norma.h"
#include "src/execute/cpu_executor.h"
#include "src/plan/lower.h"
#include "tests/support/call_check.h"
#include "tests/support/sanitizers.h"
#include "tests/support/trainer_cases.h"

namespace norma::test {
namespace {

using kernels::round_to_bf16;
using kernels::round_to_tf32;

constexpr float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();

TEST(Rounding, ToTf32GoesToTheNearestAndFromTheMiddleAwayFromZero) {
  EXPECT_EQ(round_to_tf32(1 + 0x1p-10f), 1 + 0x1p-10f);  // 10 bits behind the point
  EXPECT_EQ(round_to_tf32(1 + 0x1p-12f), 1);
  EXPECT_EQ(round_to_tf32(1 + 0x1p-11f), 1 + 0x1p-10f);
  EXPECT_EQ(round_to_tf32(-1 - 0x1p-11f), -1 - 0x1p-10f);
  EXPECT_EQ(round_to_tf32(1 + 0x1p-10f + 0x1p-11f), 1 + 0x1p-9f);
  EXPECT_EQ(round_to_tf32(2 - 0x1p-20f), 2);
}

TEST(Rounding, ToBf16GoesToTheNearestAndFromTheMiddleToTheEvenOne) {
  EXPECT_EQ(round_to_bf16(1 + 0x1p-7f), 1 + 0x1p-7f);  // 7 bits behind the point
  EXPECT_EQ(round_to_bf16(1 + 0x1p-8f), 1);
  EXPECT_EQ(round_to_bf16(1 + 0x1p-8f + 0x1p-20f), 1 + 0x1p-7f);
  EXPECT_EQ(round_to_bf16(1 + 0x1p-7f + 0x1p-8f), 1 + 0x1p-6f);
  EXPECT_EQ(round_to_bf16(-1 - 0x1p-7f - 0x1p-8f), -1 - 0x1p-6f);
}

TEST(Rounding, KeepsWhatIsNoNumber) {
  for (const auto round : {round_to_tf32, round_to_bf16}) {
    EXPECT_EQ(round(infinity), infinity);
    EXPECT_EQ(round(-infinity), -infinity);
    EXPECT_EQ(round(largest), infinity);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(round(-0.0f)), 0x80000000u);
    EXPECT_EQ(round(0x1p-149f), 0);  // the smallest subnormal
    for (const std::uint32_t nan : {0x7FFFFFFFu, 0xFFFFFFFFu, 0x7F800001u, 0x7FC00000u})
      EXPECT_TRUE(std::isnan(round(std::bit_cast<float>(nan)))) << std::hex << nan;
  }
}

Outputs on_cpu(const CallCase& c) {
  return outputs_of(
      c, [](const Call& call, const PlanMemory& memory) { choose_cpu_backend("auto").run(call, kernels::Part::whole, memory.view()); });
}

// A case's Call of another precision.
CallCase with_precision(CallCase c, Precision precision) {
  std::visit(
      [&](auto& call) {
        if constexpr (requires { call.precision; }) call.precision = precision;
      },
      c.plan.calls[0].call);
  return c;
}

bool is_layer(const Case& c) {
  for (const char* kind : {"conv2d_forward_", "conv2d_backward_input_", "conv2d_backward_weight_", "linear_forward_", "linear_backward_"})
    if (c.name.starts_with(kind) && c.name.find("batch_norm") == std::string::npos) return true;
  return false;
}

// Rounded factors in fp32 are what a lower precision makes of any, to the bit; and that is not what fp32 makes of these.
TEST(Precision, MultipliesRoundedFactorsAndChangesNothingElse) {
  SLOW_UNDER_SANITIZERS("it runs every layer twice more");
  int compared = 0, changed = 0;
  for (const Case& of : cases()) {
    if (!is_layer(of)) continue;
    for (const Precision precision : {Precision::tf32, Precision::bf16}) {
      CallCase fp32 = with_precision(of.make(kernels::cpu::lanes), Precision::fp32);
      const Outputs exact = on_cpu(fp32), rounded = on_cpu(with_precision(of.make(kernels::cpu::lanes), precision));
      std::visit(
          [&](const auto& call) {
            if constexpr (requires { call.factors(); })
              for (const kernels::Factor& factor : call.factors()) {
                auto& fill = fp32.values[static_cast<std::size_t>(factor.value.index)].fill;
                ASSERT_TRUE(fill);
                fill = [precision, before = fill](std::int64_t e, Random& random) {
                  return static_cast<double>(kernels::round_to(static_cast<float>(before(e, random)), precision));
                };
              }
          },
          fp32.plan.calls[0].call);
      for (const std::string& problem : compare_bits(rounded, on_cpu(fp32))) ADD_FAILURE() << of.name << ": " << problem;
      changed += !compare_bits(rounded, exact).empty();
      ++compared;
    }
  }
  EXPECT_GE(compared, 300);
  EXPECT_GE(changed, compared * 9 / 10);
}

std::string hash_of(TrainerOptions o, const Dataset& data) {
  Trainer trainer{net, std::move(o)};
  trainer.fit(data, nullptr, {.epochs = 2});
  return trainer.parameters_hash();
}

TEST(Precision, OfANetGivesTheSameBitsHoweverItIsRun) {
  const Dataset data = bars(250);
  TrainerOptions o = options();
  o.batch = 100;
  const std::string fp32 = hash_of(o, data);
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    o.precision = precision, o.executor = {}, o.reuse = true;
    const std::string first = hash_of(o, data);
    EXPECT_NE(first, fp32);
    for (const std::string& isa : cpu_isa_levels())
      for (const int threads : {1, 3, 8}) {  // pack by pack, and all threads on one Call
        o.executor = {.threads = threads, .isa = isa};
        EXPECT_EQ(hash_of(o, data), first) << name_of(precision) << ", " << threads << " threads, " << isa;
      }
    o.reuse = false;
    EXPECT_EQ(hash_of(o, data), first);
  }
}

// The prediction and the roofline are those of the Call's precision.
TEST(Precision, IsInThePlansLinesAndHasARooflineOfItsOwn) {
  TrainerOptions o = options();
  o.precision = Precision::tf32;
  int layers = 0;
  for (const PlanLine& line : describe(Trainer(net, o).plan(Mode::train))) {
    const bool layer = line.call.starts_with("conv2d") || line.call.starts_with("linear");
    EXPECT_EQ(line.precision, layer ? Precision::tf32 : Precision::fp32) << line.call;
    layers += layer && line.detail.find("tf32") != std::string::npos;
  }
  EXPECT_GE(layers, 5);
  Roofline gpu;
  gpu.flops = 1e3, gpu.tf32_flops = 4e3, gpu.bf16_flops = 8e3, gpu.copy = 1e9;
  EXPECT_EQ(gpu.least_seconds(0, 8e3), 8);
  EXPECT_EQ(gpu.least_seconds(0, 8e3, Precision::tf32), 2);
  EXPECT_EQ(gpu.least_seconds(0, 8e3, Precision::bf16), 1);
  gpu.tf32_flops = gpu.bf16_flops = 0;  // none: a CPU, or an early GPU
  EXPECT_EQ(gpu.least_seconds(0, 8e3, Precision::bf16), 8);
}

// A kernel that makes a layer and the statistics of its output is one of fp32.
TEST(Precision, LayersOfLowerPrecisionAreNotJoined) {
  Builder b;
  const Value y = nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3},
                                 nn::BatchNorm{},
                                 nn::Conv2d{.out = 4, .kernel = 3},
                                 nn::BatchNorm{},
                                 nn::Flatten{},
                                 nn::Linear{.out = 3}}(b, b.input("x", {8, 2, 9, 9}));
  const Graph graph = std::move(b).finish({y});
  const auto joined = [&](Precision precision) {
    int layers = 0, with_sums = 0;
    LowerOptions o;
    o.precision = precision, o.join = true;
    for (const PlanCall& c : lower(graph, o).calls) {
      const std::string name = name_of(c.call);
      layers += name.starts_with("conv2d") || name.starts_with("linear");
      with_sums += name.find("+batch_norm") != std::string::npos && name.starts_with("conv2d");
      std::visit(
          [&](const auto& call) {
            if constexpr (requires { call.precision; }) {
              EXPECT_EQ(call.precision, precision) << name;
            }
          },
          c.call);
    }
    EXPECT_EQ(layers, 8);
    return with_sums;
  };
  EXPECT_EQ(joined(Precision::fp32), 3);
  EXPECT_EQ(joined(Precision::tf32), 0);
  EXPECT_EQ(joined(Precision::bf16), 0);
}

}  // namespace
}  // namespace norma::test
