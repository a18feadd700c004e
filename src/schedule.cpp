// schedule: a Plan's Calls in phases. A group of samples can go from Call to Call on its own until one needs something of the whole
// batch, such as the statistics of a batch norm. A phase holds all that groups can do before that, so threads meet as seldom as the
// mathematics allows and a group's values are read back while they are in the nearest cache.
#include "src/plan.h"

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

struct Touch {
  std::size_t value;
  bool writes;
};

// A stage that waits for its phase.
struct Pending {
  Stage stage;
  std::vector<Touch> touches;
  enum class Where : std::uint8_t { nowhere, this_phase, earlier_phase } where = Where::nowhere;

  bool by_group() const { return stage.part == Part::group; }
};

class Scheduler {
 public:
  explicit Scheduler(Plan& plan) : plan_(plan) {
    for (int i = 0; i < static_cast<int>(plan.calls.size()); ++i) {
      const Call& call = plan.calls[static_cast<std::size_t>(i)].call;
      if (!can_cut(call)) {
        add({i, Part::whole});
        continue;
      }
      add({i, Part::group});
      if (is_reduction(call)) add({i, Part::finish});
    }
  }

  void run() {
    // What waits for no group comes before the first, in a phase of its own.
    bool before_groups = true;
    for (std::size_t left = pending_.size(); left > 0; before_groups = false) {
      Phase phase;
      for (std::size_t k = 0; k < pending_.size(); ++k)
        if (!before_groups && pending_[k].by_group() && ready(k)) take(k, phase.groups);
      for (std::size_t k = 0; k < pending_.size(); ++k)
        if (!pending_[k].by_group() && ready(k)) take(k, phase.whole);
      left -= phase.groups.size() + phase.whole.size();
      for (Pending& p : pending_)
        if (p.where == Pending::Where::this_phase) p.where = Pending::Where::earlier_phase;
      if (!phase.groups.empty() || !phase.whole.empty()) plan_.phases.push_back(std::move(phase));
    }
  }

 private:
  void add(Stage stage) {
    Pending& p = pending_.emplace_back();
    p.stage = stage;
    for_each_operand(plan_, stage, [&](const kernels::Operand& o) {
      p.touches.push_back({static_cast<std::size_t>(o.value.index), o.access != Access::read});
    });
  }

  void take(std::size_t k, std::vector<Stage>& into) {
    into.push_back(pending_[k].stage);
    pending_[k].where = Pending::Where::this_phase;
  }

  // Whether stage k, not yet taken, may be the next of this phase: every earlier stage that it has to follow is done by then.
  bool ready(std::size_t k) const {
    const Pending& p = pending_[k];
    if (p.where != Pending::Where::nowhere) return false;
    for (std::size_t j = 0; j < k; ++j) {
      const Pending& before = pending_[j];
      if (before.where == Pending::Where::earlier_phase) continue;
      const bool done_for_group = before.where == Pending::Where::this_phase && p.by_group() && before.by_group();
      const bool done = before.where == Pending::Where::this_phase && !p.by_group();
      if (!done && must_follow(p, before, done_for_group)) return false;
    }
    return true;
  }

  // Whether the two touch the same memory and one of them writes. own_group: what only the group's own part touches does not count.
  bool must_follow(const Pending& p, const Pending& before, bool own_group) const {
    for (const Touch& a : before.touches)
      for (const Touch& b : p.touches) {
        if (!a.writes && !b.writes) continue;
        const PlanValue &x = plan_.values[a.value], &y = plan_.values[b.value];
        const bool same = a.value == b.value || (x.region == y.region && (x.whole || y.whole));
        if (same && !(own_group && x.group_bytes > 0 && y.group_bytes > 0)) return true;
      }
    return false;
  }

  Plan& plan_;
  std::vector<Pending> pending_;
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
