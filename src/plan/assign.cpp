// assign: the memory planner. Persistent regions are laid out in table order. Activations follow greedily by size, each at the lowest
// offset that is free for its whole lifetime [first, last].
#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/chunks.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

std::size_t align_up(std::size_t n) { return (n + alignment - 1) / alignment * alignment; }

// Steps in which a value is touched, counted through the schedule. The pack stages of a phase are one step for whole values, because packs
// are not in step with each other. They are one step each for values that live within a pack.
struct Lifetime {
  int first = -1, last = -1;              // steps
  int first_stage = -1, last_stage = -1;  // counted with each stage as a step of its own
  bool in_pack = true;                    // touched by the pack stages of one phase only
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
      else if (l.first != step) l.in_pack = false;
      l.in_pack = l.in_pack && stage.part == kernels::Part::pack;
      l.last = step;
      l.last_stage = number;
    });
    ++number;
  };
  for (const Phase& phase : plan.phases) {
    for (const Stage& stage : phase.packs) touch(stage);
    ++step;
    for (const Stage& stage : phase.whole) touch(stage), ++step;
  }
  // Values written from outside live from the start. A value read after the step lives until the end.
  for (Lifetime& l : lives)
    if (!l.written_first) l.first = 0, l.in_pack = false;
  if (plan.has("y")) {
    Lifetime& y = lives[static_cast<std::size_t>(plan.find("y").index)];
    y.last = step - 1, y.in_pack = false;
  }
  return lives;
}

// Memory that placed values take, by time. It is a tree over the steps: a value's range stands in each node that its lifetime meets. A
// place is thus found in the logarithm of the time that searching all placed values takes.
class Taken {
 public:
  explicit Taken(int steps) : leaves_(std::bit_ceil(static_cast<std::size_t>(steps))), met_(2 * leaves_), covered_(2 * leaves_) {}

  void add(int first, int last, std::size_t begin, std::size_t end) {
    visit(first, last, [&](std::size_t node, bool covers) {
      met_[node].add(begin, end);
      if (covers) covered_[node].add(begin, end);
    });
  }

  // Returns the lowest offset of `bytes` bytes that are free from the first step to the last.
  std::size_t lowest(int first, int last, std::size_t bytes) const {
    std::vector<const Ranges*> all;
    visit(first, last, [&](std::size_t node, bool covers) { all.push_back(&(covers ? met_ : covered_)[node]); });
    std::size_t at = 0;
    for (bool moved = true; std::exchange(moved, false);)
      for (const Ranges* ranges : all)
        if (const std::size_t free = ranges->first_free(at, bytes); free != at) at = free, moved = true;
    return at;
  }

 private:
  // Disjoint, by offset, none touching the next.
  class Ranges {
   public:
    void add(std::size_t begin, std::size_t end) {
      const auto from = after(begin == 0 ? 0 : begin - 1);  // may only touch
      auto to = from;
      for (; to != all_.end() && to->begin <= end; ++to) begin = std::min(begin, to->begin), end = std::max(end, to->end);
      if (from == to) all_.insert(from, {begin, end});
      else *from = {begin, end}, all_.erase(from + 1, to);
    }
    std::size_t first_free(std::size_t at, std::size_t bytes) const {
      for (auto r = after(at); r != all_.end() && r->begin < at + bytes; ++r) at = r->end;
      return at;
    }

   private:
    struct Range {
      std::size_t begin, end;
    };
    // The first that ends behind `at`.
    std::vector<Range>::const_iterator after(std::size_t at) const {
      return std::upper_bound(all_.begin(), all_.end(), at, [](std::size_t offset, const Range& r) { return offset < r.end; });
    }
    std::vector<Range>::iterator after(std::size_t at) { return all_.begin() + (std::as_const(*this).after(at) - all_.cbegin()); }

    std::vector<Range> all_;
  };

  // f(node, whether the steps cover it) of those that lead to the nodes which make up the steps, and of these.
  template <class F>
  void visit(int first, int last, F f) const {
    visit(1, 0, leaves_ - 1, static_cast<std::size_t>(first), static_cast<std::size_t>(last), f);
  }
  template <class F>
  void visit(std::size_t node, std::size_t begin, std::size_t end, std::size_t first, std::size_t last, F& f) const {
    if (last < begin || end < first) return;
    const bool covers = first <= begin && end <= last;
    f(node, covers);
    if (covers) return;
    const std::size_t middle = begin + (end - begin) / 2;
    visit(2 * node, begin, middle, first, last, f);
    visit(2 * node + 1, middle + 1, end, first, last, f);
  }

  std::size_t leaves_;
  std::vector<Ranges> met_, covered_;  // of values alive at some time, or all the time, of a node's steps
};

// Places values one by one, the largest first, at the lowest free offset; returns the arena's size.
std::size_t place(std::vector<PlanValue*> values, std::size_t guard, bool reuse) {
  const std::size_t before = align_up(guard);
  const auto size = [](const PlanValue& v) { return v.region == Region::pack ? v.pack_bytes : v.bytes; };
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
  int steps = 1;
  for (const PlanValue* v : values) steps = std::max(steps, v->last + 1);
  Taken taken(steps);
  for (PlanValue* v : values) {
    const std::size_t at = v->last < v->first ? 0 : taken.lowest(v->first, v->last, occupied(*v));
    v->offset = at + before;
    arena = std::max(arena, at + occupied(*v));
    if (v->first <= v->last) taken.add(v->first, v->last, at, at + occupied(*v));
  }
  return arena;
}

}  // namespace

void assign(Plan& plan, const AssignOptions& options) {
  const std::vector<Lifetime> lives = find_lifetimes(plan);
  plan.region_bytes = {};
  plan.activations_without_reuse = 0;
  std::vector<PlanValue*> activations, of_pack;
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    PlanValue& v = plan.values[i];
    v.first = lives[i].first;
    v.last = lives[i].last;
    if (v.region == Region::data) continue;
    if (v.region == Region::activations) {
      plan.activations_without_reuse += align_up(options.guard) + align_up(v.bytes + options.guard);
      if (options.reuse && v.pack_bytes > 0 && lives[i].in_pack) {
        v.region = Region::pack;
        v.first = lives[i].first_stage;
        v.last = lives[i].last_stage;
        of_pack.push_back(&v);
      } else {
        activations.push_back(&v);
      }
    } else if (!v.whole) {  // what stands for a region, or a part of it, has its place

      std::size_t& end = plan.region_bytes[static_cast<std::size_t>(v.region)];
      v.offset = end;
      end += align_up(v.bytes);
    }
  }
  const bool reuse = options.reuse && plan.activations_without_reuse > options.ample;
  plan.region_bytes[static_cast<std::size_t>(Region::activations)] = place(activations, options.guard, reuse);
  plan.region_bytes[static_cast<std::size_t>(Region::pack)] = place(of_pack, options.guard, options.reuse);
}

}  // namespace norma
