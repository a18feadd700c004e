// cost() of the Calls against the operands it counts, and against operations counted by hand.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <variant>

#include "kernels/cpu/backend.h"
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

// Bytes that must move: each tensor operand once, one updated in place twice.
double operand_bytes(const CallCase& c) {
  double bytes = 0;
  for_each_operand(c.plan.calls[0].call, [&](const Operand& o) {
    if (!o.value || c.values[static_cast<std::size_t>(o.value.index)].scratch) return;
    const PlanValue& v = c.plan[o.value];
    if (v.dtype == DType::bytes || o.name == std::string("rates")) return;  // one structure, one number
    bytes += static_cast<double>(v.shape.elements()) * static_cast<double>(size_of(v.dtype)) * (o.access == Access::update ? 2 : 1);
  });
  return bytes;
}

TEST(Cost, CountsTheBytesOfTheOperands) {
  std::set<std::string> counted;
  for (const Case& entry : cases()) {
    const CallCase c = entry.make(cpu::lanes);
    const Call& call = c.plan.calls[0].call;
    // Gather moves its samples, not the whole set; Advance moves two structures; without gamma the formula is one vector too high.
    const std::string name = name_of(call);
    if (name == "gather" || entry.name.find("not_affine") != std::string::npos) continue;
    const double structures = name.ends_with("advance") ? sizeof(StepState) + sizeof(LossResult) : 0;
    EXPECT_DOUBLE_EQ(cost(call).bytes, operand_bytes(c) + structures) << entry.name;
    counted.insert(name);
  }
  EXPECT_EQ(counted.size(), std::variant_size_v<Call> - 1);
}

TEST(Cost, CountsTheOperations) {
  // LeNet's layers for one sample: multiply-adds of each output times outputs, twice.
  const ConvShape conv1{{1, 1, 28, 28}, {1, 6, 24, 24}, {5, 5}}, conv2{{1, 6, 12, 12}, {1, 16, 8, 8}, {5, 5}};
  EXPECT_EQ((Conv2dForward{.shape = conv1}.cost().flops), 2.0 * 25 * 6 * 576);
  EXPECT_EQ((Conv2dForward{.shape = conv2}.cost().flops), 2.0 * 150 * 16 * 64);
  EXPECT_EQ((Conv2dBackwardInput{.shape = conv2}.cost().flops), 2.0 * 150 * 16 * 64);
  EXPECT_EQ((Conv2dBackwardWeight{.shape = conv2}.cost().flops), 2.0 * 150 * 16 * 64);
  EXPECT_EQ((Conv2dBackwardWeight{.db = ValueId{0}, .shape = conv2}.cost().flops), 2.0 * 150 * 16 * 64 + 16 * 64);
  const ConvShape depthwise{{2, 6, 5, 5}, {2, 6, 3, 3}, {3, 3}, 6};
  EXPECT_EQ((Conv2dForward{.shape = depthwise}.cost().flops), 2.0 * 9 * 2 * 6 * 9);
  const Dims f256{3, 256}, f120{3, 120};
  EXPECT_EQ((LinearForward{.x_dims = f256, .y_dims = f120}.cost().flops), 2.0 * 3 * 256 * 120);
  EXPECT_EQ((LinearBackwardInput{.x_dims = f256, .y_dims = f120}.cost().flops), 2.0 * 3 * 256 * 120);
  EXPECT_EQ((LinearBackwardWeight{.db = ValueId{0}, .x_dims = f256, .y_dims = f120}.cost().flops), 2.0 * 3 * 256 * 120 + 3 * 120);
  const Dims plane{4, 6, 5, 5};
  EXPECT_EQ((BatchNormApply{.dims = plane}.cost().flops), 4.0 * 600);  // minus, times, times, plus
  EXPECT_EQ((BatchNormApply{.r = ValueId{0}, .dims = plane}.cost().flops), 5.0 * 600);
  EXPECT_EQ((Add{.dims = plane}.cost().flops), 600);
}

}  // namespace
}  // namespace norma::test
