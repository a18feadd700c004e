// assign: the memory planner. Persistent regions are laid out in table order; activations greedily by size, each at the lowest
// offset that is free for its whole lifetime [first, last].
#include <algorithm>
#include <numeric>

#include "kernels/chunks.h"
#include "src/plan.h"

namespace norma {
namespace {

std::size_t align_up(std::size_t n) { return (n + alignment - 1) / alignment * alignment; }

void find_lifetimes(Plan& plan) {
  for (PlanValue& v : plan.values) v.first = v.last = -1;
  for (std::size_t i = 0; i < plan.calls.size(); ++i)
    for_each_operand(plan.calls[i].call, [&](const kernels::Operand& o) {
      if (!o.value) return;
      PlanValue& v = plan.values[static_cast<std::size_t>(o.value.index)];
      if (v.first < 0) v.first = static_cast<int>(i);
      v.last = static_cast<int>(i);
    });
}

// Values written from outside live from the start, and what is read after the step ("y", gradients by name) until the end.
void widen_borders(Plan& plan) {
  const int end = static_cast<int>(plan.calls.size()) - 1;
  std::vector<bool> written(plan.values.size(), false);
  for (const PlanCall& c : plan.calls)
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (!o.value) return;
      const std::size_t k = static_cast<std::size_t>(o.value.index);
      if (o.access == kernels::Access::read && !written[k]) plan.values[k].first = 0;
      if (o.access != kernels::Access::read) written[k] = true;
    });
  if (plan.has("y")) plan.values[static_cast<std::size_t>(plan.find("y").index)].last = end;
}

}  // namespace

void assign(Plan& plan, const AssignOptions& options) {
  find_lifetimes(plan);
  widen_borders(plan);
  plan.region_bytes = {};
  std::vector<std::size_t> activations;
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    PlanValue& v = plan.values[i];
    std::size_t& end = plan.region_bytes[static_cast<std::size_t>(v.region)];
    if (v.region == Region::data) continue;
    if (v.region == Region::activations) {
      activations.push_back(i);
    } else if (v.whole) {
      v.offset = 0;
    } else {
      v.offset = end;
      end += align_up(v.bytes);
    }
  }

  const std::size_t before = align_up(options.guard);
  const auto occupied = [&](const PlanValue& v) { return before + align_up(v.bytes + options.guard); };
  std::size_t& arena = plan.region_bytes[static_cast<std::size_t>(Region::activations)];
  plan.activations_without_reuse = 0;
  for (std::size_t i : activations) plan.activations_without_reuse += occupied(plan.values[i]);

  if (!options.reuse) {
    for (std::size_t i : activations) {
      plan.values[i].offset = arena + before;
      arena += occupied(plan.values[i]);
    }
    return;
  }
  std::stable_sort(activations.begin(), activations.end(),
                   [&](std::size_t a, std::size_t b) { return plan.values[a].bytes > plan.values[b].bytes; });
  std::vector<std::size_t> placed;  // by offset
  for (std::size_t i : activations) {
    PlanValue& v = plan.values[i];
    std::size_t at = 0;
    for (std::size_t j : placed) {
      const PlanValue& other = plan.values[j];
      if (other.last < v.first || v.last < other.first) continue;  // never alive together
      const std::size_t begin = other.offset - before;
      if (at + occupied(v) <= begin) break;
      at = std::max(at, begin + occupied(other));
    }
    v.offset = at + before;
    arena = std::max(arena, at + occupied(v));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](std::size_t a, std::size_t b) { return plan.values[a].offset < plan.values[b].offset; }),
                  i);
  }
}

}  // namespace norma
