// schedule: each stage in the first phase that it can be in. assign: each value at the lowest place. Both in a time that grows with the
// net.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "norma/norma.h"
#include "tests/support/random_nets.h"
#include "tests/support/sanitizers.h"

namespace norma::test {
namespace {

using kernels::Access;
using kernels::Part;

// A stage and the memory it touches.
struct Placed {
  Stage stage;
  int phase = 0;
  std::vector<std::pair<std::size_t, bool>> touches{};  // value number, whether it is written

  bool by_pack() const { return stage.part == Part::pack; }
};

// Stages in the Plan's order: a Call's part of a pack before its finish.
std::vector<Placed> stages_of(const Plan& plan) {
  std::vector<Placed> all;
  int phase = plan.phases.empty() || plan.phases[0].packs.empty() ? 0 : 1;
  for (const Phase& p : plan.phases) {
    for (const auto* stages : {&p.packs, &p.whole})
      for (const Stage& s : *stages) all.push_back({s, phase});
    ++phase;
  }
  std::stable_sort(all.begin(), all.end(), [](const Placed& a, const Placed& b) { return a.stage.call < b.stage.call; });
  for (Placed& p : all)
    for_each_operand(plan, p.stage, [&](const kernels::Operand& o) {
      p.touches.emplace_back(static_cast<std::size_t>(o.value.index), o.access != Access::read);
    });
  return all;
}

// The phase in which `p` may be at the earliest because of `before`, which precedes it in the Plan; -1 where it need not follow.
int earliest(const Plan& plan, const Placed& before, const Placed& p) {
  int phase = -1;
  for (const auto& [a, a_writes] : before.touches)
    for (const auto& [b, b_writes] : p.touches) {
      if (!a_writes && !b_writes) continue;
      const PlanValue &x = plan.values[a], &y = plan.values[b];
      if (a != b && !(x.region == y.region && (x.whole || y.whole))) continue;
      const bool own_part = before.by_pack() && x.pack_bytes > 0 && y.pack_bytes > 0;
      phase = std::max(phase, p.by_pack() && !own_part ? before.phase + 1 : before.phase);
    }
  return phase;
}

RC_GTEST_PROP(ScheduleOfStages, EveryStageIsInTheFirstPhaseThatItsOperandsAllow, (const RandomNet& net)) {
  const Mode mode = *rc::gen::element(Mode::train, Mode::eval);
  std::optional<Optimizer> optimizer;
  if (mode == Mode::train) optimizer = Sgd{.momentum = 0.9};
  const Plan plan = make_plan(net, {.mode = mode, .by_pack = true}, {}, optimizer);
  const std::vector<Placed> stages = stages_of(plan);
  for (std::size_t k = 0; k < stages.size(); ++k) {
    int phase = stages[k].by_pack() ? 1 : 0;
    for (std::size_t j = 0; j < k; ++j) phase = std::max(phase, earliest(plan, stages[j], stages[k]));
    if (phase != stages[k].phase)
      RC_FAIL("call " + std::to_string(stages[k].stage.call) + " is in phase " + std::to_string(stages[k].phase) + " instead of " +
              std::to_string(phase));
  }
}

// Three nodes each: 2,000 of them took hours where every stage looked at every other.
TEST(ScheduleOfStages, TwoThousandLayersTakeNoMinute) {
  SLOW_UNDER_SANITIZERS("it measures time");
  nn::Sequential net;
  for (int i = 0; i < 2000; ++i) net.append(nn::Linear{.out = 4}).append(nn::BatchNorm{}).append(nn::ReLU{});
  net.append(nn::Linear{.out = 3});
  const auto start = std::chrono::steady_clock::now();
  const auto plan = compile(net, {.input = {4}, .batch = 64, .executor = {.threads = 1}}, Mode::train);
  const std::size_t waiting = dependencies(*plan).size();
  EXPECT_EQ(waiting, plan->calls.size());
  EXPECT_EQ(plan->phases.size(), 4002U);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 60) << "0.4 s where nothing else runs";
}

// Values are placed one after the other, the largest first. Each lies at the lowest offset where no other value alive with it does.
RC_GTEST_PROP(Memory, EveryValueLiesAtTheLowestPlaceThatIsFree, (const RandomNet& net)) {
  const Mode mode = *rc::gen::element(Mode::train, Mode::eval);
  const Plan plan = make_plan(net, {.mode = mode, .by_pack = *rc::gen::arbitrary<bool>()}, {},
                              mode == Mode::train ? std::optional<Optimizer>(Sgd{}) : std::nullopt);
  for (const Region region : {Region::activations, Region::pack}) {
    const auto size = [&](const PlanValue* v) {
      return ((region == Region::pack ? v->pack_bytes : v->bytes) + alignment - 1) / alignment * alignment;
    };
    std::vector<const PlanValue*> values;
    for (const PlanValue& v : plan.values)
      if (v.region == region) values.push_back(&v);
    std::stable_sort(values.begin(), values.end(),
                     [&](auto* a, auto* b) { return region == Region::pack ? a->pack_bytes > b->pack_bytes : a->bytes > b->bytes; });
    for (std::size_t i = 0; i < values.size(); ++i) {
      const PlanValue& v = *values[i];
      const auto is_free = [&](std::size_t at) {
        return std::none_of(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), [&](const PlanValue* w) {
          return w->first <= v.last && v.first <= w->last && w->offset < at + size(&v) && at < w->offset + size(w);
        });
      };
      std::size_t lowest = 0;
      while (!is_free(lowest)) lowest += alignment;
      RC_ASSERT(v.offset == lowest);
    }
  }
}

// A search of all values for each would make it 64.
TEST(Memory, OfEightTimesTheLayersIsPlannedInAboutEightTimesTheTime) {
  SLOW_UNDER_SANITIZERS("it measures time");
  const auto seconds = [](int layers) {
    nn::Sequential net;
    for (int i = 0; i < layers; ++i) net.append(nn::Linear{.out = 4}).append(nn::ReLU{});
    const std::clock_t start = std::clock();
    compile(net, {.input = {4}, .batch = 64, .executor = {.threads = 1}}, Mode::train);
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  seconds(100);
  const double few = seconds(2500);
  EXPECT_LT(seconds(20000), 24 * few);
}

}  // namespace
}  // namespace norma::test
