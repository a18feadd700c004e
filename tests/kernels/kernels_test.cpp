// Every Call x case x CPU level against the double reference: values within 4x of the necessary float error, guards, inputs and padding
// lanes. Then equal bits on every level and for every number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <ostream>
#include <set>

#include "kernels/cpu/backend.h"
#include "src/execute/thread_pool.h"
#include "tests/support/call_check.h"
#include "tests/support/sanitizers.h"

namespace norma::test {

// GoogleTest's text for a parameter.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

namespace {

using kernels::cpu::Backend;
using reference::BasicReference;

RunCall on(const Backend& backend, int threads) {
  return [&backend, threads](const Call& call, const PlanMemory& memory) {
    static std::map<int, ThreadPool> pools;
    const kernels::cpu::TeamScope scope(&pools.try_emplace(threads, threads).first->second.team());
    backend.run(call, kernels::Part::whole, memory.view());
  };
}

class Kernels : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (kernels::cpu::backends().empty()) GTEST_SKIP() << "this machine can run none of the instruction-set levels in this build";
  }
};

TEST_P(Kernels, AgreeWithTheReference) {
  const CallCase c = GetParam().make(kernels::cpu::lanes);
  const Expected answer(c);
  for (const Backend& backend : kernels::cpu::backends())
    for (const std::string& problem : check(c, answer, on(backend, 2))) ADD_FAILURE() << backend.isa << ": " << problem;
}

TEST_P(Kernels, GiveTheSameBitsOnEveryLevelAndForEveryNumberOfThreads) {
  const CallCase c = GetParam().make(kernels::cpu::lanes);
  Outputs expected;
  for (const Backend& backend : kernels::cpu::backends())
    for (int threads : {1, 2, 3, 5, 8}) {
      const Outputs outputs = outputs_of(c, on(backend, threads));
      if (expected.empty()) expected = outputs;
      for (const std::string& problem : compare_bits(outputs, expected))
        ADD_FAILURE() << problem << ": " << backend.isa << " with " << threads << " threads, against " << kernels::cpu::backends()[0].isa
                      << " with 1";
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, Kernels, testing::ValuesIn(cases()), [](const auto& entry) { return entry.param.name; });

// The checks themselves: a kernel for Add with one fault each must be caught, and caught for that fault.
struct Fault {
  const char* expected;
  void (*run)(const Call&, const kernels::Memory&);
};

CallCase add_case(Padding padding) {
  CallCase c(kernels::cpu::lanes);
  kernels::Add call{.dims = c.dims(17, 2, 3, 1)};
  call.y = c.out("y", call.dims, padding);
  call.a = c.in("a", call.dims, normal(), padding);
  call.b = c.in("b", call.dims, normal(), padding);
  return c.call(call);
}

struct AddOperands {
  float *y, *a, *b;
  std::int64_t n;
  AddOperands(const Call& call, const kernels::Memory& m) {
    const auto& add = std::get<kernels::Add>(call);
    y = m.at<float>(add.y);
    a = m.at<float>(add.a);
    b = m.at<float>(add.b);
    n = add.dims.stored();
    for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
  }
};

RunCall with(void (*run)(const Call&, const kernels::Memory&)) {
  return [run](const Call& call, const PlanMemory& memory) { run(call, memory.view()); };
}

TEST(Checks, PassARightKernel) {
  const RunCall right = with([](const Call& call, const kernels::Memory& m) { AddOperands{call, m}; });
  EXPECT_EQ(check(add_case(Padding::garbage), right), Problems{});
  EXPECT_EQ(check(add_case(Padding::zero), right), Problems{});
}

TEST(Checks, CatchEveryFault) {
  const Fault faults[] = {
      {"wrote between y and a",
       [](const Call& c, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[o.n] = 0;
       }},
      {"wrote between the start and y", [](const Call& c, const kernels::Memory& m) { AddOperands(c, m).y[-1] = 0; }},
      {"wrote to its input b", [](const Call& c, const kernels::Memory& m) { AddOperands(c, m).b[5] += 1; }},
      // An element left unwritten, and one made of what lies beyond the operand, are NaN.
      {"y: 1 of 102 elements differ",
       [](const Call& c, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[7] = o.y[o.n];
       }},
      {"y: 1 of 102 elements differ",
       [](const Call& c, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[7] = o.a[7] + o.b[o.n];
       }},
      // Three units in the last place off, where one rounding costs half a unit.
      {"y: 1 of 102 elements differ", [](const Call& c, const kernels::Memory& m) { AddOperands(c, m).y[7] *= 1 + 3 * 0x1p-23f; }},
      {"not finite",
       [](const Call& c, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[o.n - 1] = o.y[o.n];
       }},
  };
  for (const Fault& fault : faults) {
    const Problems problems = check(add_case(Padding::garbage), with(fault.run));
    ASSERT_EQ(problems.size(), 1u) << fault.expected;
    EXPECT_NE(problems[0].find(fault.expected), std::string::npos) << problems[0];
  }
  const RunCall leaky = with([](const Call& c, const kernels::Memory& m) {
    AddOperands o(c, m);
    o.y[o.n - 1] = 1e-30f;
  });
  const Problems problems = check(add_case(Padding::zero), leaky);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("1 elements of padding lanes are not 0"), std::string::npos) << problems[0];
}

// The reference itself: its answers cannot depend on the layout, since its loops are over logical elements. The largest cases differ from
// others in size alone, and would take most of the time.
constexpr double most_flops = 1e7;
TEST(Reference, DoesNotDependOnTheLayout) {
  SLOW_UNDER_SANITIZERS("the reference runs in every case");
  for (const Case& entry : cases()) {
    SCOPED_TRACE(entry.name);
    if (cost(entry.make(1).plan.calls[0].call).flops > most_flops) continue;
    std::map<std::string, std::vector<double>> expected;
    for (int lanes : {1, 32}) {
      const CallCase c = entry.make(lanes);
      BasicReference<double> reference(c.plan);
      load(c, reference);
      reference.run(c.plan);
      for (const PlanValue& v : c.plan.values) {
        if (v.dtype == DType::bytes) continue;
        const std::vector<double> values = reference.read(v.name);
        const auto [it, inserted] = expected.emplace(v.name, values);
        if (inserted) continue;
        for (std::size_t i = 0; i < values.size(); ++i) {
          const bool same = values[i] == it->second[i] || (std::isnan(values[i]) && std::isnan(it->second[i]));
          ASSERT_TRUE(same) << v.name << "[" << i << "] with " << lanes << " lanes: " << values[i] << " instead of " << it->second[i];
        }
      }
    }
  }
}

TEST(Cases, CoverEveryCallUnderDistinctNames) {
  std::set<std::string> names;
  std::set<std::size_t> calls;
  for (const Case& entry : cases()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    const CallCase c = entry.make(16);
    const Call& call = c.plan.calls.at(0).call;
    calls.insert(call.index());
    std::string of = name_of(call);  // of Calls together with a + between them
    std::replace(of.begin(), of.end(), '+', '_');
    EXPECT_EQ(entry.name.rfind(of, 0), 0u) << entry.name << " is a case of " << of;
  }
  EXPECT_EQ(calls.size(), std::variant_size_v<Call>);
}

// Outputs are compared by role, so one role for two operands would hide one of them.
TEST(Cases, OperandsHaveDistinctRoles) {
  std::set<std::string> of_layers;
  for (const Case& entry : cases()) {
    std::set<std::string> roles;
    const CallCase c = entry.make(16);
    for_each_operand(c.plan.calls.at(0).call, [&](const kernels::Operand& o) {
      if (!o.value) return;
      const bool alone = o.access == kernels::Access::read || roles.insert(role_of(o)).second;
      EXPECT_TRUE(alone) << entry.name << ": " << role_of(o);
      if (o.layer > 0) of_layers.insert(role_of(o));
    });
  }
  for (const char* role : {"running_mean.1", "tracked.1", "mean.1"}) EXPECT_TRUE(of_layers.contains(role)) << role;
}

}  // namespace

}  // namespace norma::test
