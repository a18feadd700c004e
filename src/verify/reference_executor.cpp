#include "src/verify/reference_executor.h"

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "src/execute/tensor_io.h"

namespace norma {

using kernels::LossResult;
using kernels::StepState;

namespace {

std::span<const std::byte> bytes_at(const void* source, std::size_t bytes) { return {static_cast<const std::byte*>(source), bytes}; }

// Throws unless all of a value is asked for.
const PlanValue& whole(const Plan& plan, int value, std::size_t bytes, std::size_t offset) {
  const PlanValue& v = plan[ValueId{value}];
  if (offset != 0 || bytes != v.bytes) throw std::invalid_argument("the reference reads and writes whole values, not parts of " + v.name);
  return v;
}

}  // namespace

void ReferenceExecutor::bind(const Plan& plan, int value, const void* source, std::size_t bytes, std::int64_t) {
  PlanValue v = plan[ValueId{value}];
  v.shape = Shape{static_cast<std::int64_t>(bytes / size_of(v.dtype))};
  reference_.write(plan, ValueId{value}, elements(v, bytes_at(source, bytes)));
}

// Opaque bytes are a StepState, a LossResult or scratch, which their size tells.
void ReferenceExecutor::write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset) {
  const PlanValue& v = whole(plan, value, bytes, offset);
  const ValueId id{value};
  if (v.dtype != DType::bytes) {
    reference_.write(plan, id, elements(v, bytes_at(source, bytes)));
  } else if (bytes == sizeof(StepState)) {
    std::memcpy(&reference_.state(plan, id), source, bytes);
  } else if (bytes == sizeof(LossResult)) {
    LossResult loss;
    std::memcpy(&loss, source, bytes);
    reference_.loss(plan, id) = {loss.loss, loss.loss_sum, loss.correct, loss.counted};
  }
}

void ReferenceExecutor::read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset) {
  const PlanValue& v = whole(plan, value, bytes, offset);
  const ValueId id{value};
  if (v.dtype != DType::bytes) {
    std::vector<double> values;
    for (const reference::Tracked& x : reference_.read(plan, id)) values.push_back(x.v);
    set_elements(v, values, {static_cast<std::byte*>(destination), bytes});
  } else if (bytes == sizeof(StepState)) {
    std::memcpy(destination, &reference_.state(plan, id), bytes);
  } else if (bytes == sizeof(LossResult)) {
    const auto& l = reference_.loss(plan, id);
    const LossResult loss{l.loss.v, l.loss_sum.v, l.correct, l.counted};
    std::memcpy(destination, &loss, bytes);
  }
}

void ReferenceExecutor::run(const Plan& plan, std::int64_t times, bool) {
  for (std::int64_t i = 0; i < times; ++i) reference_.run(plan);
}

std::vector<double> ReferenceExecutor::run_timed(const Plan& plan) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (std::size_t i = 0; i < plan.calls.size(); ++i) {
    const Clock::time_point start = Clock::now();
    run_call(plan, i);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return seconds;
}

}  // namespace norma
