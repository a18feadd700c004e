// join: neighbours in a Plan that have a kernel together become one Call. On a GPU that is one node less that waits for another.
#include <utility>

#include "src/plan/plan.h"

namespace norma {

using namespace kernels;

namespace {

// follows() is true if the second Call works on the results of the first.
template <class A>
concept Layer = requires(const A& a) {
  a.precision;
};
bool follows(const Layer auto& a, const BatchNormStatistics& b) { return a.y == b.x && a.precision == Precision::fp32; }
bool follows(const Layer auto& a, const BatchNormBackwardReduce& b) { return a.dx == b.dy && !b.dr && a.precision == Precision::fp32; }
bool follows(const BatchNormStatistics& a, const BatchNormApply& b) {
  return a.x == b.x && a.mean == b.mean && resident(BatchNormForward{{a, b}});
}
bool follows(const BatchNormBackwardReduce& a, const BatchNormBackwardApply& b) {
  return (a.dr ? a.dr : a.dy) == b.dy && a.dgamma == b.dgamma && b.batch_statistics && resident(BatchNormBackward{{a, b}});
}

// Puts the second into the first where they are of these kinds.
template <class A, class B>
bool join_pair(Call& first, const Call& second) {
  const A* const a = std::get_if<A>(&first);
  const B* const b = std::get_if<B>(&second);
  if (!a || !b || !follows(*a, *b)) return false;
  first = Together<A, B>{{*a, *b}};
  return true;
}

// Joins the end of a step: the optimizer's update and the Calls before and after it.
void join_end(std::vector<PlanCall>& calls) {
  const std::size_t n = calls.size();
  const auto* const advance = n < 2 ? nullptr : std::get_if<Advance>(&calls[n - 1].call);
  const auto* const update = n < 2 ? nullptr : std::get_if<Update>(&calls[n - 2].call);
  if (!advance || !update) return;
  const auto* const running = n < 3 ? nullptr : std::get_if<BatchNormRunningUpdate>(&calls[n - 3].call);
  PlanCall all{EndOfStep{{running ? *running : BatchNormRunningUpdate{.state = update->state}, *update, *advance}}, calls[n - 2].path};
  calls.resize(n - (running ? 3 : 2));
  calls.push_back(std::move(all));
}

}  // namespace

void join(Plan& plan) {
  std::vector<PlanCall> joined;
  for (PlanCall& c : plan.calls) {
    if (!joined.empty()) {
      PlanCall& last = joined.back();
      if (join_pair<Conv2dForward, BatchNormStatistics>(last.call, c.call) ||
          join_pair<LinearForward, BatchNormStatistics>(last.call, c.call) ||
          join_pair<Conv2dBackwardInput, BatchNormBackwardReduce>(last.call, c.call) ||
          join_pair<LinearBackwardInput, BatchNormBackwardReduce>(last.call, c.call) ||
          join_pair<BatchNormStatistics, BatchNormApply>(last.call, c.call) ||
          join_pair<BatchNormBackwardReduce, BatchNormBackwardApply>(last.call, c.call)) {
        if (last.path != c.path) last.path += "+" + c.path;
        continue;
      }
    }
    joined.push_back(std::move(c));
  }
  join_end(joined);
  plan.calls = std::move(joined);
}

}  // namespace norma
