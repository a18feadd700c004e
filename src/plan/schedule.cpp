// schedule: a Plan's Calls in phases. A group of samples can go from Call to Call on its own until one needs something of the whole
// batch, such as the statistics of a batch norm. A phase holds all that groups can do before that, so threads meet as seldom as the
// mathematics allows and a group's values are read back while they are in the nearest cache.
#include <algorithm>
#include <array>

#include "src/plan/plan.h"

namespace norma {
namespace {

using kernels::Access;
using kernels::Part;

bool can_cut(const Call& call) {
  return std::visit(
      [](const auto& c) {
        if constexpr (requires { c.can_cut(); }) return c.can_cut();
        else return requires(std::decay_t<decltype(c)> & d) {
            d.cut(1);
          };
      },
      call);
}

bool is_reduction(const Call& call) {
  return std::visit([](const auto& c) { return kernels::reduces<std::decay_t<decltype(c)>>; }, call);
}

// The last phases that touched some memory so far, by what touched it: group stages or the others, reading or writing. -1: none.
class Touched {
 public:
  void add(bool by_group, bool writes, int phase) {
    int& last = last_[by_group][writes];
    last = std::max(last, phase);
  }
  // Of stages that one which reads or writes must follow: a reader those that write, a writer all.
  int last(bool by_group, bool writes) const { return std::max(last_[by_group][true], writes ? last_[by_group][false] : -1); }

 private:
  int last_[2][2] = {{-1, -1}, {-1, -1}};
};

// Puts every stage, in the Plan's order, into the first phase where all earlier ones that touch the same memory, one of them writing, are
// done by then. In a phase the groups come first: of what only the group's own part touches, that group's earlier stages are done.
class Scheduler {
 public:
  explicit Scheduler(Plan& plan) : plan_(plan), values_(plan.values.size()) {}

  void run() {
    for (int i = 0; i < static_cast<int>(plan_.calls.size()); ++i) {
      const Call& call = plan_.calls[static_cast<std::size_t>(i)].call;
      if (!can_cut(call)) {
        add({i, Part::whole});
        continue;
      }
      add({i, Part::group});
      if (is_reduction(call)) add({i, Part::finish});
    }
    std::erase_if(plan_.phases, [](const Phase& p) { return p.groups.empty() && p.whole.empty(); });
  }

 private:
  void add(const Stage& stage) {
    const bool by_group = stage.part == Part::group;
    int phase = by_group ? 1 : 0;  // what waits for no group comes before the first, in a phase of its own
    for_each_operand(plan_, stage, [&](const kernels::Operand& o) { phase = std::max(phase, first_phase(o, by_group)); });
    for_each_operand(plan_, stage, [&](const kernels::Operand& o) {
      const PlanValue& v = plan_[o.value];
      const bool writes = o.access != Access::read;
      values_[index(o)].add(by_group, writes, phase);
      regions_[region(v)].add(by_group, writes, phase);
      if (v.whole) whole_[region(v)].add(by_group, writes, phase);
    });
    if (plan_.phases.size() <= static_cast<std::size_t>(phase)) plan_.phases.resize(static_cast<std::size_t>(phase) + 1);
    Phase& into = plan_.phases[static_cast<std::size_t>(phase)];
    (by_group ? into.groups : into.whole).push_back(stage);
  }

  // The first phase in which a stage may touch this value as it does.
  int first_phase(const kernels::Operand& o, bool by_group) const {
    const PlanValue& v = plan_[o.value];
    const bool writes = o.access != Access::read;
    const auto after = [&](const Touched& t, bool own_part) {
      const int groups = t.last(true, writes), others = t.last(false, writes);
      if (!by_group) return std::max(groups, others);
      return std::max(own_part || groups < 0 ? groups : groups + 1, others < 0 ? others : others + 1);
    };
    // A value that stands for its whole region shares memory with all values there.
    return std::max(after(values_[index(o)], v.group_bytes > 0), after((v.whole ? regions_ : whole_)[region(v)], false));
  }

  static std::size_t index(const kernels::Operand& o) { return static_cast<std::size_t>(o.value.index); }
  static std::size_t region(const PlanValue& v) { return static_cast<std::size_t>(v.region); }

  Plan& plan_;
  std::vector<Touched> values_;
  std::array<Touched, region_count> regions_, whole_;  // of all values there; of those that stand for the whole region
};

}  // namespace

void schedule(Plan& plan, bool by_group) {
  plan.phases.clear();
  if (by_group) {
    Scheduler{plan}.run();
    return;
  }
  Phase phase;
  for (int i = 0; i < static_cast<int>(plan.calls.size()); ++i) phase.whole.push_back({i, Part::whole});
  plan.phases.push_back(std::move(phase));
}

}  // namespace norma
