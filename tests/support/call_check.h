// The check of one Call on one case. A backend runs it in guarded memory. Its outputs are compared with the reference's. Its inputs and
// padding lanes must keep their values.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/verify/reference.h"
#include "tests/support/cases.h"
#include "tests/support/plan_memory.h"

namespace norma::test {

// Seed of the cases' inputs.
inline constexpr std::uint64_t case_seed = 20240607;

// A case's inputs, in the reference.
template <class T>
void load(const CallCase& c, reference::BasicReference<T>& reference) {
  const std::vector<std::vector<double>> inputs = c.inputs(case_seed);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (c.values[i].fill) reference.write(c.plan, ValueId{static_cast<std::int32_t>(i)}, inputs[i]);
  if (c.state_value) reference.state(c.plan, c.state_value) = c.state;
  if (c.loss_value) reference.loss(c.plan, c.loss_value) = {c.loss.loss, c.loss.loss_sum, c.loss.correct, c.loss.counted};
}

// Runs a Call of a case; the memory holds everything it reads, and afterwards what it wrote.
using RunCall = std::function<void(const Call& call, const PlanMemory& memory)>;

// The bytes of everything the Call writes, but scratch, by operand.
using Outputs = std::map<std::string, std::vector<std::byte>>;

// Problems, one line each.
using Problems = std::vector<std::string>;

// What the reference says of a case. It depends on no layout, so one of them serves every number of lanes.
class Expected {
 public:
  explicit Expected(const CallCase& c);
  Expected(const Expected&) = delete;
  Expected& operator=(const Expected&) = delete;

 private:
  friend Problems check(const CallCase& c, const Expected& expected, const RunCall& run, double of_largest, Outputs* outputs);
  CallCase case_;
  reference::BasicReference<reference::Tracked> reference_;
};

// Returns a backend's faults on a case. Values may differ from the reference by 4 times the necessary float error (tracked.h), or by
// of_largest times the tensor's largest value: of 70,000 short sums some cancel in one order and not in another. outputs gets the run's.
Problems check(const CallCase& c, const Expected& expected, const RunCall& run, double of_largest = 0, Outputs* outputs = nullptr);
inline Problems check(const CallCase& c, const RunCall& run, double of_largest = 0, Outputs* outputs = nullptr) {
  return check(c, Expected(c), run, of_largest, outputs);
}

Outputs outputs_of(const CallCase& c, const RunCall& run);

// Lists the differences of two: "y differs at byte 12".
Problems compare_bits(const Outputs& a, const Outputs& b);

}  // namespace norma::test
