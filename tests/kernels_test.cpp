// Every Call x case x CPU level against the double reference: values within 4x of what float arithmetic must cost, guards, inputs
// and padding lanes; then the same bits on every level and for every number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <ostream>
#include <set>
#include <sstream>

#include "kernels/cpu/backend.h"
#include "tests/cases.h"
#include "tests/plan_memory.h"
#include "tests/reference.h"

namespace norma::test {

// What GoogleTest prints for a parameter.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

namespace {

using kernels::Access;
using kernels::LossResult;
using kernels::Part;
using kernels::StepState;
using kernels::cpu::Backend;
using reference::BasicReference;
using reference::Tracked;

constexpr std::uint64_t seed = 20240607;

// Result and what float must cost (tracked.h): 4x that, and never less than one subnormal step, since results may underflow.
double bound(const Tracked& t) { return 4 * std::sqrt(t.e2) + static_cast<double>(std::numeric_limits<float>::min()); }

bool agrees(double actual, const Tracked& expected) {
  if (std::isnan(expected.v) || std::isnan(actual)) return std::isnan(expected.v) && std::isnan(actual);
  return actual == expected.v || std::abs(actual - expected.v) <= bound(expected);
}

using Inputs = std::vector<std::vector<double>>;

template <class T>
void load(const CallCase& c, const Inputs& inputs, BasicReference<T>& reference) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (c.values[i].fill) reference.write(c.plan, ValueId{static_cast<std::int32_t>(i)}, inputs[i]);
  if (c.state_value) reference.state(c.plan, c.state_value) = c.state;
  if (c.loss_value) reference.loss(c.plan, c.loss_value) = {c.loss.loss, c.loss.loss_sum, c.loss.correct, c.loss.counted};
}

// A case in guarded memory, ready to run.
class Bench {
 public:
  Bench(const CallCase& c, const Inputs& inputs) : case_(c), memory_(c.plan) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const ValueId id{static_cast<std::int32_t>(i)};
      if (c.values[i].fill) memory_.write(id, inputs[i], c.values[i].padding == Padding::zero ? 0 : 1e3);
    }
    if (c.state_value) memory_.as<StepState>(c.state_value) = c.state;
    if (c.loss_value && access(c.loss_value) != Access::write) memory_.as<LossResult>(c.loss_value) = c.loss;
  }

  PlanMemory& memory() { return memory_; }
  void run(const Backend& backend, int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    backend.run(case_.plan.calls[0].call, kernels::Part::whole, memory_.view());
    omp_set_num_threads(before);
  }

  // Bytes of the operands with this access, scratch left out, by name.
  std::map<std::string, std::vector<std::byte>> bytes(std::set<Access> which) const {
    std::map<std::string, std::vector<std::byte>> all;
    for_each_operand(case_.plan.calls[0].call, [&](const kernels::Operand& o) {
      if (!o.value || !which.contains(o.access) || case_.values[static_cast<std::size_t>(o.value.index)].scratch) return;
      const auto span = memory_.bytes(o.value);
      all[o.name].assign(span.begin(), span.end());
    });
    return all;
  }

  Access access(ValueId v) const {
    Access found = Access::read;
    for_each_operand(case_.plan.calls[0].call, [&](const kernels::Operand& o) {
      if (o.value == v) found = o.access;
    });
    return found;
  }

 private:
  const CallCase& case_;
  PlanMemory memory_;
};

std::string position(const PlanValue& v, std::int64_t i) {
  if (!v.in_lanes()) return std::to_string(i);
  const Dims& d = v.dims;
  std::ostringstream s;
  s << "(" << i / d.features() << ", " << i / d.plane() % d.c << ", " << i / d.w % d.h << ", " << i % d.w << ")";
  return s.str();
}

using Problems = std::vector<std::string>;

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream s;
  s.precision(9);
  (s << ... << parts);
  return s.str();
}

void check_tensor(const CallCase& c, const PlanMemory& memory, const BasicReference<Tracked>& reference, ValueId id, Problems& problems) {
  const PlanValue& v = c.plan[id];
  const std::vector<double> actual = memory.read(id);
  const std::vector<Tracked> expected = reference.read(c.plan, id);
  std::size_t wrong = 0, worst = 0;
  double worst_ratio = -1;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const bool ok = v.dtype == DType::f32 ? agrees(actual[i], expected[i]) : actual[i] == expected[i].v;
    if (ok) continue;
    ++wrong;
    const double error = std::abs(actual[i] - expected[i].v);
    const double ratio = std::isfinite(error) ? error / bound(expected[i]) : std::numeric_limits<double>::infinity();
    if (ratio <= worst_ratio) continue;
    worst_ratio = ratio;
    worst = i;
  }
  if (wrong != 0)
    problems.push_back(text(v.name, ": ", wrong, " of ", actual.size(), " elements differ, worst at ",
                            position(v, static_cast<std::int64_t>(worst)), ": ", actual[worst], " instead of ", expected[worst].v, ", ",
                            worst_ratio, " times the bound of ", bound(expected[worst])));
  const bool zero = c.values[static_cast<std::size_t>(id.index)].padding == Padding::zero;
  std::int64_t bad = 0;
  memory.for_each_padding(id, [&](float x) { bad += zero ? x != 0 : !std::isfinite(x); });
  if (bad != 0) problems.push_back(text(v.name, ": ", bad, " elements of padding lanes are not ", zero ? "0" : "finite"));
}

void check_loss(const LossResult& actual, const reference::Loss<Tracked>& expected, Problems& problems) {
  const auto number = [&](const char* name, double is, const Tracked& wanted) {
    if (!agrees(is, wanted)) problems.push_back(text(name, ": ", is, " instead of ", wanted.v, " +- ", bound(wanted)));
  };
  number("loss", actual.loss, expected.loss);
  number("loss_sum", actual.loss_sum, expected.loss_sum);
  if (actual.correct != expected.correct) problems.push_back(text("correct: ", actual.correct, " instead of ", expected.correct));
  if (actual.counted != expected.counted) problems.push_back(text("counted: ", actual.counted, " instead of ", expected.counted));
}

void check_state(const StepState& actual, const StepState& expected, Problems& problems) {
  const auto number = [&](const char* name, auto is, auto wanted) {
    if (is != wanted) problems.push_back(text("state.", name, ": ", is, " instead of ", wanted));
  };
  number("seed", actual.seed, expected.seed);
  number("step", actual.step, expected.step);
  number("position", actual.position, expected.position);
  number("batch", actual.batch, expected.batch);
  number("status", actual.status, expected.status);
  number("samples", actual.samples, expected.samples);
  number("correct", actual.correct, expected.correct);
  number("counted", actual.counted, expected.counted);
  number("loss_sum", actual.loss_sum, expected.loss_sum);  // one sum of two doubles: no error is due
}

// What a backend's kernel does wrong on a case.
Problems check(const CallCase& c, const Backend& backend) {
  Problems problems;
  const Inputs inputs = c.inputs(seed);
  BasicReference<Tracked> reference(c.plan);
  load(c, inputs, reference);
  reference.run(c.plan);
  Bench bench(c, inputs);
  const auto before = bench.bytes({Access::read});
  bench.run(backend, 2);
  for (const std::string& place : bench.memory().broken_guards()) problems.push_back("wrote " + place);
  for (const auto& [name, bytes] : bench.bytes({Access::read}))
    if (bytes != before.at(name)) problems.push_back("wrote to its input " + name);
  for_each_operand(c.plan.calls[0].call, [&](const kernels::Operand& o) {
    if (!o.value || o.access == Access::read || c.values[static_cast<std::size_t>(o.value.index)].scratch) return;
    if (o.value == c.loss_value) check_loss(bench.memory().as<LossResult>(o.value), reference.loss(c.plan, o.value), problems);
    else if (o.value == c.state_value) check_state(bench.memory().as<StepState>(o.value), reference.state(c.plan, o.value), problems);
    else check_tensor(c, bench.memory(), reference, o.value, problems);
  });
  return problems;
}

class Kernels : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (kernels::cpu::backends().empty()) GTEST_SKIP() << "this machine can run none of the instruction-set levels in this build";
  }
};

TEST_P(Kernels, AgreeWithTheReference) {
  const CallCase c = GetParam().make(kernels::cpu::lanes);
  for (const Backend& backend : kernels::cpu::backends())
    for (const std::string& problem : check(c, backend)) ADD_FAILURE() << backend.isa << ": " << problem;
}

TEST_P(Kernels, GiveTheSameBitsOnEveryLevelAndForEveryNumberOfThreads) {
  const CallCase c = GetParam().make(kernels::cpu::lanes);
  const Inputs inputs = c.inputs(seed);
  std::map<std::string, std::vector<std::byte>> expected;
  for (const Backend& backend : kernels::cpu::backends())
    for (int threads : {1, 2, 3, 5, 8}) {
      Bench bench(c, inputs);
      bench.run(backend, threads);
      const auto outputs = bench.bytes({Access::write, Access::update});
      if (expected.empty()) expected = outputs;
      for (const auto& [name, bytes] : outputs) {
        const auto& first = expected.at(name);
        const auto at = std::mismatch(bytes.begin(), bytes.end(), first.begin()).first - bytes.begin();
        EXPECT_TRUE(bytes == first) << name << " differs at byte " << at << ": " << backend.isa << " with " << threads
                                    << " threads, against " << kernels::cpu::backends()[0].isa << " with 1";
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, Kernels, testing::ValuesIn(cases()), [](const auto& entry) { return entry.param.name; });

// The checks themselves: a kernel for Add with one fault each must be caught, and caught for that fault.
struct Fault {
  const char* expected;
  void (*run)(const Call&, Part, const kernels::Memory&);
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

TEST(Checks, PassARightKernel) {
  const Backend right{"right", [](const Call& call, Part, const kernels::Memory& m) { AddOperands{call, m}; }};
  EXPECT_EQ(check(add_case(Padding::garbage), right), Problems{});
  EXPECT_EQ(check(add_case(Padding::zero), right), Problems{});
}

TEST(Checks, CatchEveryFault) {
  const Fault faults[] = {
      {"wrote between y and a",
       [](const Call& c, Part, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[o.n] = 0;
       }},
      {"wrote between the start and y", [](const Call& c, Part, const kernels::Memory& m) { AddOperands(c, m).y[-1] = 0; }},
      {"wrote to its input b", [](const Call& c, Part, const kernels::Memory& m) { AddOperands(c, m).b[5] += 1; }},
      // An element left unwritten, and one made of what lies beyond the operand, are NaN.
      {"y: 1 of 102 elements differ",
       [](const Call& c, Part, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[7] = o.y[o.n];
       }},
      {"y: 1 of 102 elements differ",
       [](const Call& c, Part, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[7] = o.a[7] + o.b[o.n];
       }},
      // Three units in the last place off, where one rounding costs half a unit.
      {"y: 1 of 102 elements differ", [](const Call& c, Part, const kernels::Memory& m) { AddOperands(c, m).y[7] *= 1 + 3 * 0x1p-23f; }},
      {"not finite",
       [](const Call& c, Part, const kernels::Memory& m) {
         AddOperands o(c, m);
         o.y[o.n - 1] = o.y[o.n];
       }},
  };
  for (const Fault& fault : faults) {
    const Problems problems = check(add_case(Padding::garbage), {"faulty", fault.run});
    ASSERT_EQ(problems.size(), 1u) << fault.expected;
    EXPECT_NE(problems[0].find(fault.expected), std::string::npos) << problems[0];
  }
  const Backend leaky{"leaky", [](const Call& c, Part, const kernels::Memory& m) {
                        AddOperands o(c, m);
                        o.y[o.n - 1] = 1e-30f;
                      }};
  const Problems problems = check(add_case(Padding::zero), leaky);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("1 elements of padding lanes are not 0"), std::string::npos) << problems[0];
}

// The reference itself: its answers cannot depend on the layout, since its loops are over logical elements.
TEST(Reference, DoesNotDependOnTheLayout) {
  for (const Case& entry : cases()) {
    SCOPED_TRACE(entry.name);
    std::map<std::string, std::vector<double>> expected;
    for (int lanes : {1, 16, 32}) {
      const CallCase c = entry.make(lanes);
      BasicReference<double> reference(c.plan);
      load(c, c.inputs(seed), reference);
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
    EXPECT_EQ(entry.name.rfind(name_of(call), 0), 0u) << entry.name << " is a case of " << name_of(call);
  }
  EXPECT_EQ(calls.size(), std::variant_size_v<Call>);
}

}  // namespace

}  // namespace norma::test
