// assign: the memory planner. Persistent regions are laid out in table order; activations greedily by size, each at the lowest
// offset that is free for its whole lifetime [first, last].
#include <algorithm>

#include "kernels/chunks.h"
#include "src/plan.h"

namespace norma {
namespace {

std::size_t align_up(std::size_t n) { return (n + alignment - 1) / alignment * alignment; }

// Where a value is touched. Steps count through the schedule; the group stages of a phase are one step for whole values, because
// groups are not in step with each other, and one each for what lives within a group.
struct Lifetime {
  int first = -1, last = -1;              // steps
  int first_stage = -1, last_stage = -1;  // the same, each stage a step of its own
  bool in_group = true;                   // touched by the group stages of one phase only
  bool written_first = false;
};

std::vector<Lifetime> find_lifetimes(const Plan& plan) {
  std::vector<Lifetime> lives(plan.values.size());
  int step = 0, number = 0;
  const auto touch = [&](const Stage& stage) {
    for_each_operand(plan, stage, [&](const kernels::Operand& o) {
      Lifetime& l = lives[static_cast<std::size_t>(o.value.index)];
      const bool new_to_it = l.first < 0;
      if (new_to_it) l.first = step, l.first_stage = number, l.written_first = o.access == kernels::Access::write;
      else if (l.first != step) l.in_group = false;
      l.in_group = l.in_group && stage.part == kernels::Part::group;
      l.last = step;
      l.last_stage = number;
    });
    ++number;
  };
  for (const Phase& phase : plan.phases) {
    for (const Stage& stage : phase.groups) touch(stage);
    ++step;
    for (const Stage& stage : phase.whole) touch(stage), ++step;
  }
  // Values written from outside live from the start, and what is read after the step until the end.
  for (Lifetime& l : lives)
    if (!l.written_first) l.first = 0, l.in_group = false;
  if (plan.has("y")) {
    Lifetime& y = lives[static_cast<std::size_t>(plan.find("y").index)];
    y.last = step - 1, y.in_group = false;
  }
  return lives;
}

// Places values one by one, the largest first, at the lowest free offset; returns the arena's size.
std::size_t place(std::vector<PlanValue*> values, std::size_t guard, bool reuse) {
  const std::size_t before = align_up(guard);
  const auto size = [](const PlanValue& v) { return v.region == Region::group ? v.group_bytes : v.bytes; };
  const auto occupied = [&](const PlanValue& v) { return before + align_up(size(v) + guard); };
  std::size_t arena = 0;
  if (!reuse) {
    for (PlanValue* v : values) {
      v->offset = arena + before;
      arena += occupied(*v);
    }
    return arena;
  }
  std::stable_sort(values.begin(), values.end(), [&](const PlanValue* a, const PlanValue* b) { return size(*a) > size(*b); });
  std::vector<const PlanValue*> placed;  // by offset
  for (PlanValue* v : values) {
    std::size_t at = 0;
    for (const PlanValue* other : placed) {
      if (other->last < v->first || v->last < other->first) continue;  // never alive together
      const std::size_t begin = other->offset - before;
      if (at + occupied(*v) <= begin) break;
      at = std::max(at, begin + occupied(*other));
    }
    v->offset = at + before;
    arena = std::max(arena, at + occupied(*v));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), v, [](auto* a, auto* b) { return a->offset < b->offset; }), v);
  }
  return arena;
}

}  // namespace

void assign(Plan& plan, const AssignOptions& options) {
  const std::vector<Lifetime> lives = find_lifetimes(plan);
  plan.region_bytes = {};
  plan.activations_without_reuse = 0;
  std::vector<PlanValue*> activations, of_group;
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    PlanValue& v = plan.values[i];
    v.first = lives[i].first;
    v.last = lives[i].last;
    if (v.region == Region::data) continue;
    if (v.region == Region::activations) {
      plan.activations_without_reuse += align_up(options.guard) + align_up(v.bytes + options.guard);
      if (options.reuse && v.group_bytes > 0 && lives[i].in_group) {
        v.region = Region::group;
        v.first = lives[i].first_stage;
        v.last = lives[i].last_stage;
        of_group.push_back(&v);
      } else {
        activations.push_back(&v);
      }
    } else if (v.whole) {
      v.offset = 0;
    } else {
      std::size_t& end = plan.region_bytes[static_cast<std::size_t>(v.region)];
      v.offset = end;
      end += align_up(v.bytes);
    }
  }
  const bool reuse = options.reuse && plan.activations_without_reuse > options.ample;
  plan.region_bytes[static_cast<std::size_t>(Region::activations)] = place(activations, options.guard, reuse);
  plan.region_bytes[static_cast<std::size_t>(Region::group)] = place(of_group, options.guard, options.reuse);
}

}  // namespace norma
