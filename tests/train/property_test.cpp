// Properties of random nets on the CPU. A sample's result does not depend on its batch, and padding lanes never enter. Ways of running that
// must not matter do not. The memory planner separates values that live at the same time.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/support/random_nets.h"

namespace norma::test {
namespace {

RC_GTEST_PROP(Property, ASampleDoesNotDependOnItsBatchInEvaluation, (const RandomNet& net)) {
  const std::int64_t n = *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::int64_t>(1, net.n + 1));
  const std::int64_t first = *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::int64_t>(0, net.n - n + 1));
  RC_CLASSIFY(net.layers.size() > 4, "more than 4 layers");
  const Outcome all = run(net, {.mode = Mode::eval}), some = run(net, {.mode = Mode::eval, .n = n, .first = first});
  for (std::int64_t i = 0; i < n * 4; ++i) {
    const float one = some.at("y")[static_cast<std::size_t>(i)], other = all.at("y")[static_cast<std::size_t>(first * 4 + i)];
    if (std::memcmp(&one, &other, sizeof one) != 0)
      RC_FAIL("sample " + std::to_string(i / 4) + ": " + std::to_string(one) + " alone, " + std::to_string(other) + " in the larger batch");
  }
}

RC_GTEST_PROP(Property, PaddingLanesNeverEnter, (const RandomNet& net)) {
  RC_PRE(net.n % 16 != 0);
  expect_same_bits(run(net, {}), run(net, {.garbage = 1e3}));
}

RC_GTEST_PROP(Property, ReuseOfMemoryDoesNotMatter, (const RandomNet& net)) {
  expect_same_bits(run(net, {}), run(net, {.reuse = false}));
  expect_same_bits(run(net, {.mode = Mode::eval}), run(net, {.mode = Mode::eval, .reuse = false}));
}

// A batch norm fused with its pooling sums its gradients over windows instead of elements: the same sums in another order.
RC_GTEST_PROP(Property, FusionChangesNothingButRounding, (const RandomNet& net)) {
  for (Mode mode : {Mode::train, Mode::eval}) {
    const Outcome fused = run(net, {.mode = mode}), plain = run(net, {.mode = mode, .fused = false});
    RC_ASSERT(fused.size() == plain.size());
    // Some gradients are 0 but for rounding, such as those of a beta before another batch norm: they are measured by the net's largest.
    const auto largest = [](const std::vector<float>& all) {
      float most = 0;
      for (float v : all) most = std::max(most, std::abs(v));
      return most;
    };
    float overall = 0;
    for (const auto& [name, values] : plain) overall = std::max(overall, largest(values));
    for (const auto& [name, values] : fused) {
      const std::vector<float>& expected = plain.at(name);
      const float allowed = 1e-4f * largest(expected) + 1e-5f * overall;
      for (std::size_t i = 0; i < values.size(); ++i)
        if (!(std::abs(values[i] - expected[i]) <= allowed))
          RC_FAIL(name + "[" + std::to_string(i) + "]: " + std::to_string(values[i]) + " and " + std::to_string(expected[i]));
    }
  }
}

RC_GTEST_PROP(Property, RunningGroupByGroupDoesNotMatter, (const RandomNet& net)) {
  for (Mode mode : {Mode::train, Mode::eval}) {
    const Outcome whole = run(net, {.mode = mode});
    for (int threads : {1, 2, 3}) {
      expect_same_bits(whole, run(net, {.mode = mode, .by_pack = true, .threads = threads}));
      expect_same_bits(whole, run(net, {.mode = mode, .reuse = false, .by_pack = true, .threads = threads}));
    }
  }
}

RC_GTEST_PROP(Property, TheCpuAgreesWithTheReference, (const RandomNet& net)) { expect_agreement_with_the_reference(net, {}); }

// Lifetimes found anew, stage by stage: from the first stage that touches a value (an outside value: from the start) to the last. In a
// phase all packs' stages are one moment for values of the whole batch, since packs do not wait for each other.
struct Lifetime {
  int first = -1, last = -1;
};

std::vector<Lifetime> lifetimes(const Plan& plan) {
  std::vector<Lifetime> all(plan.values.size());
  int moment = 0;
  const auto touch = [&](const Stage& stage, int offset) {
    for_each_operand(plan, stage, [&](const kernels::Operand& o) {
      const bool of_pack = plan[o.value].region == Region::pack;
      Lifetime& l = all[static_cast<std::size_t>(o.value.index)];
      const int now = moment + (of_pack ? offset : 0);
      if (l.first < 0) l.first = o.access == kernels::Access::write ? now : 0;
      l.last = now;
    });
  };
  for (const Phase& phase : plan.phases) {
    int offset = 0;
    for (const Stage& stage : phase.packs) touch(stage, offset++);
    moment += 1000;
    for (const Stage& stage : phase.whole) touch(stage, 0), ++moment;
  }
  all[static_cast<std::size_t>(plan.find("y").index)].last = moment;  // read after the step
  return all;
}

RC_GTEST_PROP(Property, TheMemoryPlannerKeepsLiveValuesApart, (const RandomNet& net)) {
  const std::size_t guard = *rc::gen::element<std::size_t>(0, 64, 300);
  const bool reuse = *rc::gen::arbitrary<bool>(), fused = *rc::gen::arbitrary<bool>(), adam = *rc::gen::arbitrary<bool>();
  const bool by_pack = *rc::gen::arbitrary<bool>();
  const Mode mode = *rc::gen::element(Mode::train, Mode::eval);
  std::optional<Optimizer> optimizer;
  if (mode == Mode::train) optimizer = adam ? Optimizer{Adam{}} : Optimizer{Sgd{.momentum = 0.9}};
  const Plan plan = make_plan(net, {.mode = mode, .fused = fused, .by_pack = by_pack}, {.reuse = reuse, .guard = guard}, optimizer);
  const std::vector<Lifetime> live = lifetimes(plan);
  const auto size = [](const PlanValue& v) { return v.region == Region::pack ? v.pack_bytes : v.bytes; };
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& a = plan.values[i];
    if (a.region == Region::data) continue;
    RC_ASSERT(a.offset % alignment == 0);
    RC_ASSERT(a.offset + size(a) <= plan.region_bytes[static_cast<std::size_t>(a.region)]);
    for (std::size_t j = 0; j < i; ++j) {
      const PlanValue& b = plan.values[j];
      if (a.region != b.region || a.whole || b.whole) continue;
      const bool activations = a.region == Region::activations || a.region == Region::pack;
      if (activations && reuse && (live[i].last < live[j].first || live[j].last < live[i].first)) continue;
      const std::size_t gap = activations ? guard : 0;
      if (a.offset < b.offset + size(b) + gap && b.offset < a.offset + size(a) + gap) RC_FAIL(a.name + " and " + b.name + " overlap");
    }
  }
  const std::size_t arena = plan.region_bytes[static_cast<std::size_t>(Region::activations)];
  RC_ASSERT(arena <= plan.activations_without_reuse);
  if (!reuse) RC_ASSERT(arena == plan.activations_without_reuse);
}

// Every Call once, in an order in which each value has its final content before it is read: what the order of the Calls says.
RC_GTEST_PROP(Property, TheScheduleKeepsEveryOrderThatMatters, (const RandomNet& net)) {
  const Plan plan = make_plan(net, {.by_pack = true}, {}, Optimizer{Adam{}});
  std::vector<int> started(plan.calls.size(), -1), finished(plan.calls.size(), -1);
  int phase_number = 0, moment = 0;
  std::vector<int> group_phase(plan.calls.size(), -1);
  for (const Phase& phase : plan.phases) {
    for (const Stage& s : phase.packs) {
      RC_ASSERT(started[static_cast<std::size_t>(s.call)] < 0);
      started[static_cast<std::size_t>(s.call)] = finished[static_cast<std::size_t>(s.call)] = moment++;
      group_phase[static_cast<std::size_t>(s.call)] = phase_number;
    }
    for (const Stage& s : phase.whole) {
      if (s.part == kernels::Part::whole) {
        RC_ASSERT(started[static_cast<std::size_t>(s.call)] < 0);
        started[static_cast<std::size_t>(s.call)] = moment;
      } else {
        RC_ASSERT(started[static_cast<std::size_t>(s.call)] >= 0);
      }
      finished[static_cast<std::size_t>(s.call)] = moment++;
    }
    ++phase_number;
  }
  for (std::size_t j = 0; j < plan.calls.size(); ++j) {
    RC_ASSERT(started[j] >= 0);
    for (std::size_t i = 0; i < j; ++i)
      for_each_operand(plan.calls[i].call, [&](const kernels::Operand& a) {
        if (!a.value || a.access == kernels::Access::read) return;
        for_each_operand(plan.calls[j].call, [&](const kernels::Operand& b) {
          if (!(a.value == b.value)) return;
          // A reduction's per-sample output exists once its packs are done.
          const int there = plan[a.value].pack_bytes > 0 ? started[i] : finished[i];
          if (there >= started[j]) RC_FAIL(plan[a.value].name + " is read before it is finished");
          if (group_phase[i] >= 0 && group_phase[i] == group_phase[j] && plan[a.value].pack_bytes == 0)
            RC_FAIL(plan[a.value].name + " goes from pack to pack within a phase");
        });
      });
  }
}

}  // namespace
}  // namespace norma::test
