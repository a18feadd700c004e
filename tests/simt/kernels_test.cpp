// Every Call x case on the CUDA kernels, emulated, compared with the double reference in lanes and in NCHW. Threads and blocks run in
// random order. The bits are equal whatever the order, and equal to the CPU's where nothing is summed over the batch.
#include <gtest/gtest.h>

#include <cstring>
#include <ostream>
#include <type_traits>

#include "kernels/cpu/backend.h"
#include "src/execute/tensor_io.h"
#include "tests/simt/emulated_call.h"
#include "tests/simt/runtime.h"

namespace norma::test {

// GoogleTest's text for a parameter.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

namespace {

// True if an output has the CPU's bits. Sums over the batch do not: packs have 32 samples here and 16 there. Sums over the classes of a
// loss and normalised samples do not: threads share them out. Overlapping windows do not: the CPU takes those at the edges first. Sums of
// tensor cores do not.
template <class C>
bool has_cpu_bits(const C& c, const std::string& operand) {
  if constexpr (requires { c.precision; })
    if (c.precision != Precision::fp32) return false;
  if constexpr (requires { c.calls; }) {
    bool of_sums = false;  // what follows a sum is made of it
    const auto gives = [&]<class Each>(const Each& each) {
      if (of_sums) return false;
      of_sums = kernels::reduces<Each>;
      for (const kernels::Operand& o : each.operands())
        if (o.access != kernels::Access::read && operand == role_of(o)) return has_cpu_bits(each, operand);
      return false;
    };
    return std::apply([&](const auto&... each) { return (gives(each) || ...); }, c.calls);
  }
  if constexpr (kernels::reduces<C> || std::is_same_v<C, kernels::LinearBackwardWeight>) return operand == "dr";
  if constexpr (std::is_same_v<C, kernels::MeanSquaredError>) return operand != "loss";
  return !(std::is_same_v<C, kernels::GroupNormForward> || std::is_same_v<C, kernels::GroupNormBackwardInput> ||
           std::is_same_v<C, kernels::SoftmaxCrossEntropy> || std::is_same_v<C, kernels::MaxPoolBackward> ||
           std::is_same_v<C, kernels::AvgPoolBackward>);
}
bool has_cpu_bits(const Call& call, const std::string& operand) {
  return std::visit([&](const auto& c) { return has_cpu_bits(c, operand); }, call);
}

// Lists where the logical elements of a case in 32 lanes differ from the CPU's for that case in its own lanes.
Problems compare_with_cpu(const Case& of, const CallCase& c, const Outputs& given) {
  Problems problems;
  if (kernels::cpu::backends().empty()) return problems;
  const CallCase on_cpu = of.make(kernels::cpu::lanes);
  const Outputs expected = outputs_of(on_cpu, [](const Call& call, const PlanMemory& memory) {
    kernels::cpu::backends()[0].run(call, kernels::Part::whole, memory.view());
  });
  for_each_operand(c.plan.calls[0].call, [&](const kernels::Operand& o) {
    const std::string role = role_of(o);
    if (!o.value || !given.contains(role) || !has_cpu_bits(c.plan.calls[0].call, role)) return;
    bool same = given.at(role) == expected.at(role);  // flat values, losses, counters
    if (c.plan[o.value].in_lanes()) {
      const std::vector<double> a = elements(c.plan[o.value], given.at(role)), b = elements(on_cpu.plan[o.value], expected.at(role));
      same = a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
    }
    if (!same) problems.push_back(role + " has not the CPU's bits");
  });
  return problems;
}

class EmulatedKernels : public testing::TestWithParam<Case> {};

// One test, so that a case's process starts once.
TEST_P(EmulatedKernels, AgreeWithTheReferenceInEveryOrderOfThreads) {
  const Expected answer(GetParam().make(1));
  for (const int lanes : {32, 1}) {
    const CallCase c = GetParam().make(lanes);
    Outputs in_random_order;
    for (const std::string& problem : check(c, answer, emulated({.seed = 1, .together = 4, .weak = true}), 0, &in_random_order))
      ADD_FAILURE() << lanes << " lanes: " << problem;
    if (lanes != kernels::cuda::lanes) continue;
    for (const std::string& problem : compare_with_cpu(GetParam(), c, in_random_order)) ADD_FAILURE() << problem;
    // The largest cases take seconds a run, and each of their kernels has smaller ones.
    if (cost(c.plan.calls[0].call).flops > 1e7) continue;
    const Outputs expected = outputs_of(c, emulated({.order = simt::Order::ascending}));
    for (const std::string& problem : compare_bits(in_random_order, expected))
      ADD_FAILURE() << lanes << " lanes, threads in random order instead of ascending: " << problem;
  }
}

// A channel may wait on chip for its sums; another GPU is too small for that.
TEST(ResidentBatchNorm, HasTheBitsOfItsCallsOneByOne) {
  int compared = 0, resident = 0, of_columns = 0;
  for (const Case& of : cases()) {
    if (of.name.find("_batch_norm_apply_") == std::string::npos && of.name.find("_batch_norm_backward_apply_") == std::string::npos)
      continue;
    if (of.name.find("_relu_") == std::string::npos) continue;
    for (const int lanes : {32, 1}) {
      const CallCase c = of.make(lanes);
      const Outputs one_by_one = outputs_of(c, emulated({}, 0));
      for (const std::string& problem : compare_bits(outputs_of(c, emulated({})), one_by_one))
        ADD_FAILURE() << of.name << ", " << lanes << " lanes: " << problem;
      ++compared;
      const std::vector<kernels::cuda::Launch> kernels = kernels::cuda::launches(c.plan.calls[0].call, PlanMemory(c.plan).view(), 132);
      if (kernels.size() != 1 || !kernels[0].cooperative) continue;
      ++resident;
      of_columns += c.plan[c.plan.find("x")].dims.plane() * lanes < 32;
    }
  }
  EXPECT_GE(compared, 100);
  EXPECT_GE(resident, 100);
  EXPECT_GE(of_columns, 30);
}

// A debugger, or a share of the device, leaves a cooperative launch less room than the device says it has.
TEST(ResidentBatchNorm, RefusedLaunchesTakeTheTwoKernels) {
  int refused = 0;
  for (const Case& of : cases()) {
    if (of.name.find("_batch_norm_apply_") == std::string::npos && of.name.find("_batch_norm_backward_apply_") == std::string::npos)
      continue;
    const CallCase c = of.make(32);
    const std::vector<kernels::cuda::Launch> kernels = kernels::cuda::launches(c.plan.calls[0].call, PlanMemory(c.plan).view(), 3);
    if (kernels.size() != 1 || !kernels[0].cooperative || ++refused > 8) continue;
    simt::machine().next_launch = cudaErrorCooperativeLaunchTooLarge;
    const Outputs two_kernels = outputs_of(c, emulated({}));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    for (const std::string& problem : compare_bits(two_kernels, outputs_of(c, emulated({}, 0))))
      ADD_FAILURE() << of.name << ": " << problem;
  }
  EXPECT_GE(refused, 8);
}

INSTANTIATE_TEST_SUITE_P(Cases, EmulatedKernels, testing::ValuesIn(cases()), [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace norma::test
