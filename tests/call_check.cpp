#include "tests/call_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>

namespace norma::test {
namespace {

using kernels::Access;
using kernels::LossResult;
using kernels::StepState;
using reference::BasicReference;
using reference::Tracked;

// Result and what float must cost (tracked.h): 4x that, and never less than one subnormal step, since results may underflow.
double bound(const Tracked& t) { return 4 * std::sqrt(t.e2) + static_cast<double>(std::numeric_limits<float>::min()); }

bool agrees(double actual, const Tracked& expected) {
  if (std::isnan(expected.v) || std::isnan(actual)) return std::isnan(expected.v) && std::isnan(actual);
  return actual == expected.v || std::abs(actual - expected.v) <= bound(expected);
}

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

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream s;
  s.precision(9);
  (s << ... << parts);
  return s.str();
}

void check_tensor(const CallCase& c, const PlanMemory& memory, const BasicReference<Tracked>& reference, ValueId id, double of_largest,
                  Problems& problems) {
  const PlanValue& v = c.plan[id];
  const std::vector<double> actual = memory.read(id);
  const std::vector<Tracked> expected = reference.read(c.plan, id);
  double allowed = 0;  // of every element
  if (of_largest > 0)
    for (const Tracked& t : expected)
      if (std::isfinite(t.v)) allowed = std::max(allowed, of_largest * std::abs(t.v));
  std::size_t wrong = 0, worst = 0;
  double worst_ratio = -1;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const bool ok = v.dtype == DType::f32 ? agrees(actual[i], expected[i]) : actual[i] == expected[i].v;
    if (ok || (v.dtype == DType::f32 && std::abs(actual[i] - expected[i].v) <= allowed)) continue;
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
  number("population", actual.population, expected.population);
  number("epoch", actual.epoch, expected.epoch);
  number("position", actual.position, expected.position);
  number("batch", actual.batch, expected.batch);
  number("status", actual.status, expected.status);
  number("samples", actual.samples, expected.samples);
  number("correct", actual.correct, expected.correct);
  number("counted", actual.counted, expected.counted);
  number("loss_sum", actual.loss_sum, expected.loss_sum);  // one sum of two doubles: no error is due
}

}  // namespace

Problems check(const CallCase& c, const RunCall& run, double of_largest) {
  Problems problems;
  BasicReference<Tracked> reference(c.plan);
  load(c, reference);
  reference.run(c.plan);
  Bench bench(c);
  const auto before = bench.bytes({Access::read});
  bench.run(run);
  for (const std::string& place : bench.memory().broken_guards()) problems.push_back("wrote " + place);
  for (const auto& [name, bytes] : bench.bytes({Access::read}))
    if (bytes != before.at(name)) problems.push_back("wrote to its input " + name);
  for_each_operand(c.plan.calls[0].call, [&](const kernels::Operand& o) {
    if (!o.value || o.access == Access::read || c.values[static_cast<std::size_t>(o.value.index)].scratch) return;
    if (o.value == c.loss_value) check_loss(bench.memory().as<LossResult>(o.value), reference.loss(c.plan, o.value), problems);
    else if (o.value == c.state_value) check_state(bench.memory().as<StepState>(o.value), reference.state(c.plan, o.value), problems);
    else check_tensor(c, bench.memory(), reference, o.value, of_largest, problems);
  });
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
