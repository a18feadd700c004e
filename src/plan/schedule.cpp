// schedule: orders a Plan's Calls in phases. A pack of samples goes from Call to Call on its own until one needs the whole batch. A batch
// norm's statistics are such a Call. A phase holds all that packs can do before that. Threads thus meet as seldom as the mathematics
// allows. A pack's values are read back while they are in the nearest cache.
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

// The last phases that touched some memory so far, by pack stages or the others, and by reading or writing. -1: none.
class Touched {
 public:
  void add(bool by_pack, bool writes, int phase) {
    int& last = last_[by_pack][writes];
    last = std::max(last, phase);
  }
  // Returns the last stage that a new stage must follow: a reader follows writers, a writer all.
  int last(bool by_pack, bool writes) const { return std::max(last_[by_pack][true], writes ? last_[by_pack][false] : -1); }

 private:
  int last_[2][2] = {{-1, -1}, {-1, -1}};
};

// Puts every stage, in the Plan's order, into the first phase that it can join. By then all earlier stages must be done that touch the same
// memory, if one of the two writes. In a phase the packs come first. A pack's earlier stages are done for memory that only the pack's own
// part touches.
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
      add({i, Part::pack});
      if (is_reduction(call)) add({i, Part::finish});
    }
    std::erase_if(plan_.phases, [](const Phase& p) { return p.packs.empty() && p.whole.empty(); });
  }

 private:
  void add(const Stage& stage) {
    const bool by_pack = stage.part == Part::pack;
    int phase = by_pack ? 1 : 0;  // a stage that waits for no pack comes before the first pack, in a phase of its own
    for_each_operand(plan_, stage, [&](const kernels::Operand& o) { phase = std::max(phase, first_phase(o, by_pack)); });
    for_each_operand(plan_, stage, [&](const kernels::Operand& o) {
      const PlanValue& v = plan_[o.value];
      const bool writes = o.access != Access::read;
      values_[index(o)].add(by_pack, writes, phase);
      regions_[region(v)].add(by_pack, writes, phase);
      if (v.whole) whole_[region(v)].add(by_pack, writes, phase);
    });
    if (plan_.phases.size() <= static_cast<std::size_t>(phase)) plan_.phases.resize(static_cast<std::size_t>(phase) + 1);
    Phase& into = plan_.phases[static_cast<std::size_t>(phase)];
    (by_pack ? into.packs : into.whole).push_back(stage);
  }

  // The first phase in which a stage may touch this value as it does.
  int first_phase(const kernels::Operand& o, bool by_pack) const {
    const PlanValue& v = plan_[o.value];
    const bool writes = o.access != Access::read;
    const auto after = [&](const Touched& t, bool own_part) {
      const int packs = t.last(true, writes), others = t.last(false, writes);
      if (!by_pack) return std::max(packs, others);
      return std::max(own_part || packs < 0 ? packs : packs + 1, others < 0 ? others : others + 1);
    };
    // A value that stands for its whole region shares memory with all values there.
    return std::max(after(values_[index(o)], v.pack_bytes > 0), after((v.whole ? regions_ : whole_)[region(v)], false));
  }

  static std::size_t index(const kernels::Operand& o) { return static_cast<std::size_t>(o.value.index); }
  static std::size_t region(const PlanValue& v) { return static_cast<std::size_t>(v.region); }

  Plan& plan_;
  std::vector<Touched> values_;
  std::array<Touched, region_count> regions_, whole_;  // of all values there; of those that stand for the whole region
};

}  // namespace

void schedule(Plan& plan, bool by_pack) {
  plan.phases.clear();
  if (by_pack) {
    Scheduler{plan}.run();
    return;
  }
  Phase phase;
  for (int i = 0; i < static_cast<int>(plan.calls.size()); ++i) phase.whole.push_back({i, Part::whole});
  plan.phases.push_back(std::move(phase));
}

}  // namespace norma
