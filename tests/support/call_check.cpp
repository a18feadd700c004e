#include "tests/support/call_check.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <type_traits>

#include "src/verify/tolerance.h"

namespace norma::test {
namespace {

using kernels::Access;
using kernels::LossResult;
using kernels::StepState;
using reference::BasicReference;
using reference::Tracked;

// A case in guarded memory, ready to run.
class Bench {
 public:
  explicit Bench(const CallCase& c) : case_(c), memory_(c.plan) {
    const std::vector<std::vector<double>> inputs = c.inputs(case_seed);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const ValueId id{static_cast<std::int32_t>(i)};
      if (c.values[i].fill) memory_.write(id, inputs[i], c.values[i].padding == Padding::zero ? 0 : 1e3);
    }
    if (c.state_value) memory_.as<StepState>(c.state_value) = c.state;
    if (c.loss_value && access(c.loss_value) != Access::write) memory_.as<LossResult>(c.loss_value) = c.loss;
  }

  PlanMemory& memory() { return memory_; }
  void run(const RunCall& run_call) { run_call(case_.plan.calls[0].call, memory_); }

  // Bytes of the operands with this access, scratch left out, by name.
  Outputs bytes(std::set<Access> which) const {
    Outputs all;
    for_each_operand(case_.plan.calls[0].call, [&](const kernels::Operand& o) {
      if (!o.value || !which.contains(o.access) || case_.values[static_cast<std::size_t>(o.value.index)].scratch) return;
      const auto span = memory_.bytes(o.value);
      all[role_of(o)].assign(span.begin(), span.end());
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

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream s;
  s.precision(9);
  (s << ... << parts);
  return s.str();
}

void check_tensor(const CallCase& c, const PlanMemory& memory, const std::vector<Tracked>& expected, ValueId id, double of_largest,
                  Problems& problems) {
  const PlanValue& v = c.plan[id];
  const std::vector<double> actual = memory.read(id);
  const reference::Agreement agreement = reference::compare(v.dtype, actual, expected, {.of_largest = of_largest});
  if (agreement.wrong != 0) problems.push_back(v.name + ": " + describe(v, agreement));
  const bool zero = c.values[static_cast<std::size_t>(id.index)].padding == Padding::zero;
  std::int64_t bad = 0;
  memory.for_each_padding(id, [&](float x) { bad += zero ? x != 0 : !std::isfinite(x); });
  if (bad != 0) problems.push_back(text(v.name, ": ", bad, " elements of padding lanes are not ", zero ? "0" : "finite"));
}

// name: what stands before each member's, such as "state.".
template <class Actual, class Expected>
void check_members(const char* name, const Actual& actual, const Expected& expected, Problems& problems) {
  reference::for_each_member(actual, expected, [&](const char* member, const auto& is, const auto& wanted) {
    if (reference::share_of_bound(is, wanted) <= 1) return;
    if constexpr (std::is_same_v<std::decay_t<decltype(wanted)>, Tracked>)
      problems.push_back(text(name, member, ": ", is, " instead of ", wanted.v, " +- ", reference::bound(wanted)));
    else problems.push_back(text(name, member, ": ", is, " instead of ", wanted));
  });
}

}  // namespace

Expected::Expected(const CallCase& c) : case_(c), reference_(case_.plan) {
  load(case_, reference_);
  reference_.run(case_.plan);
}

Problems check(const CallCase& c, const Expected& expected, const RunCall& run, double of_largest, Outputs* outputs) {
  Problems problems;
  const BasicReference<Tracked>& reference = expected.reference_;
  const Plan& plan = expected.case_.plan;
  Bench bench(c);
  const auto before = bench.bytes({Access::read});
  bench.run(run);
  for (const std::string& place : bench.memory().broken_guards()) problems.push_back("wrote " + place);
  for (const auto& [name, bytes] : bench.bytes({Access::read}))
    if (bytes != before.at(name)) problems.push_back("wrote to its input " + name);
  for_each_operand(c.plan.calls[0].call, [&](const kernels::Operand& o) {
    if (!o.value || o.access == Access::read || c.values[static_cast<std::size_t>(o.value.index)].scratch) return;
    if (o.value == c.loss_value) check_members("", bench.memory().as<LossResult>(o.value), reference.loss(plan, o.value), problems);
    else if (o.value == c.state_value)
      check_members("state.", bench.memory().as<StepState>(o.value), reference.state(plan, o.value), problems);
    else check_tensor(c, bench.memory(), reference.read(plan, o.value), o.value, of_largest, problems);
  });
  if (outputs) *outputs = bench.bytes({Access::write, Access::update});
  return problems;
}

Outputs outputs_of(const CallCase& c, const RunCall& run) {
  Bench bench(c);
  bench.run(run);
  return bench.bytes({Access::write, Access::update});
}

Problems compare_bits(const Outputs& a, const Outputs& b) {
  Problems problems;
  for (const auto& [name, bytes] : a) {
    const auto& other = b.at(name);
    if (bytes != other)
      problems.push_back(text(name, " differs at byte ", std::mismatch(bytes.begin(), bytes.end(), other.begin()).first - bytes.begin()));
  }
  return problems;
}

}  // namespace norma::test
