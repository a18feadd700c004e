// Properties of random nets on the CPU: a sample's result does not depend on its batch, padding lanes never enter, ways of running
// that must not matter do not, and the memory planner keeps apart what lives at the same time.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <ostream>

#include "norma/executor.h"
#include "norma/graph.h"
#include "src/layout.h"
#include "src/lower.h"
#include "tests/cases.h"
#include "tests/reference.h"

namespace norma::test {

// A net as numbers, so that RapidCheck can shrink it: each layer that fits the shape so far is taken, then Flatten and Linear.
struct RandomNet {
  std::int64_t n = 2, c = 1, h = 2, w = 2;
  std::vector<int> layers;
  int loss = 0;
};

constexpr int layer_kinds = 11;

struct Net {
  RandomNet r;
  bool smooth;  // no kinks: rounding cannot choose another branch

  Value operator()(Builder& b, Value x) const {
    for (std::size_t i = 0; i < r.layers.size(); ++i) {
      const Builder::Scope scope(b, "l" + std::to_string(i));
      x = layer(b, x, r.layers[i]);
    }
    const Builder::Scope scope(b, "head");
    return nn::Linear{.out = 4}(b, nn::Flatten{}(b, x));
  }

 private:
  Value activation(Builder& b, Value x) const { return smooth ? nn::Tanh{}(b, x) : nn::ReLU{}(b, x); }
  Value layer(Builder& b, Value x, int kind) const {
    const Shape s = b.shape(x);
    const bool pools = s[2] >= 2 && s[3] >= 2;
    switch (kind) {
      case 0: return nn::Conv2d{.out = 3, .kernel = 3, .padding = 1}(b, x);
      case 1: return pools ? nn::Conv2d{.out = 2, .kernel = 2, .stride = 2}(b, x) : x;
      case 2: return nn::Conv2d{.out = s[1], .kernel = {1, 3}, .padding = {0, 2}, .dilation = 2, .groups = s[1], .bias = false}(b, x);
      case 3: return nn::BatchNorm{}(b, x);
      case 4: return activation(b, x);
      case 5: return nn::Sigmoid{}(b, x);
      case 6: return activation(b, nn::BatchNorm{.affine = false}(b, x));
      case 7: return !pools ? x : smooth ? nn::AvgPool2d{}(b, x) : nn::MaxPool2d{}(b, x);
      case 8: return nn::AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}(b, x);
      case 9: return nn::Dropout{.p = 0.3}(b, x);
      default: {
        const nn::Sequential body{nn::Conv2d{.out = s[1], .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}, nn::Tanh{}};
        return nn::Residual{body}(b, x);
      }
    }
  }
};

void showValue(const RandomNet& r, std::ostream& out) {
  out << "input (" << r.n << ", " << r.c << ", " << r.h << ", " << r.w << "), loss " << r.loss << ", layers";
  for (int l : r.layers) out << " " << l;
}

}  // namespace norma::test

namespace rc {
template <>
struct Arbitrary<norma::test::RandomNet> {
  static Gen<norma::test::RandomNet> arbitrary() {
    using norma::test::RandomNet;
    // Ranges grow with RapidCheck's size; at its nominal size they are whole.
    const auto within = [](auto low, auto high) { return gen::resize(kNominalSize, gen::inRange(low, high)); };
    return gen::build<RandomNet>(
        gen::set(&RandomNet::n, within(std::int64_t{2}, std::int64_t{40})),
        gen::set(&RandomNet::c, within(std::int64_t{1}, std::int64_t{4})),
        gen::set(&RandomNet::h, within(std::int64_t{2}, std::int64_t{8})),
        gen::set(&RandomNet::w, within(std::int64_t{2}, std::int64_t{8})),
        gen::set(&RandomNet::layers, gen::resize(8, gen::container<std::vector<int>>(within(0, norma::test::layer_kinds)))),
        gen::set(&RandomNet::loss, within(0, 3)));
  }
};
}  // namespace rc

namespace norma::test {
namespace {

std::optional<Loss> loss_of(int kind) {
  if (kind == 0) return CrossEntropy{};
  if (kind == 1) return CrossEntropy{.reduction = Reduction::sum, .label_smoothing = 0.1};
  return MeanSquared{};
}

struct Way {
  Mode mode = Mode::train;
  bool fused = true, reuse = true, by_group = false, smooth = false;
  int threads = 2;
  std::int64_t n = 0;      // samples; 0: the net's own
  double garbage = 0;      // in padding lanes of what is written
  std::int64_t first = 0;  // of the samples
};

Plan make_plan(const RandomNet& r, const Way& way, AssignOptions assign, std::optional<Optimizer> optimizer = {}) {
  const Shape input{way.n ? way.n : r.n, r.c, r.h, r.w};
  Graph graph = trace(Net{r, way.smooth}, input);
  if (way.fused) graph = fuse(std::move(graph));
  LowerOptions options;
  options.mode = way.mode;
  options.backward = way.mode == Mode::train;
  options.loss = loss_of(r.loss);
  options.optimizer = optimizer;
  options.by_group = way.by_group;
  options.assign = assign;
  return lower(graph, options);
}

// Elements are drawn by value name and position alone, so every way of running gets the same numbers; samples by their own index.
std::vector<float> content(const PlanValue& v, std::int64_t first) {
  std::uint64_t key = 0xcbf29ce484222325;  // FNV-1a
  for (char ch : v.name) key = (key ^ static_cast<unsigned char>(ch)) * 0x100000001b3;
  std::vector<float> out;
  const bool batched = v.in_lanes() || v.dtype == DType::i32;
  const std::int64_t per_sample = v.in_lanes() ? v.dims.features() : 1;
  Random random(key);
  if (batched)
    for (std::int64_t i = 0; i < first * per_sample; ++i) random.uniform();
  for (std::int64_t i = 0; i < v.shape.elements(); ++i) {
    const double u = random.uniform();
    out.push_back(static_cast<float>(v.dtype == DType::i32             ? std::floor(4 * u)
                                     : v.name.ends_with("running_var") ? 0.5 + u
                                     : v.in_lanes()                    ? 4 * u - 2
                                                                       : u - 0.5));
  }
  return out;
}

bool written_from_outside(const PlanValue& v) {
  return v.region == Region::parameters || v.region == Region::buffers || v.name == "x" || v.name == "labels" || v.name == "targets";
}

using Outcome = std::map<std::string, std::vector<float>>;

Outcome run(const RandomNet& r, const Way& way) {
  const Plan plan = make_plan(r, way, {.reuse = way.reuse});
  const auto executor = make_executor(Device::cpu(), {.threads = way.threads});
  executor->prepare(plan);
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    const ValueId id{static_cast<std::int32_t>(i)};
    if (!written_from_outside(v) || v.dtype == DType::i64) continue;
    const std::vector<float> values = content(v, way.first);
    if (!v.in_lanes()) {
      write_tensor(*executor, plan, id, values);
      continue;
    }
    std::vector<float> stored(v.bytes / sizeof(float), static_cast<float>(way.garbage));
    std::size_t k = 0;
    reference::for_each_element(
        v.dims, [&](auto n, auto c, auto h, auto w) { stored[static_cast<std::size_t>(v.dims.index(n, c, h, w))] = values[k++]; });
    executor->write(plan, id.index, stored.data(), v.bytes);
  }
  write_struct(*executor, plan, plan.find("state"), kernels::StepState{.seed = 5, .step = 3});
  executor->run(plan);

  Outcome out;
  for (const auto& [name, id] : plan.names)
    if (name == "y" || (way.mode == Mode::train && (plan[id].region == Region::gradients || plan[id].region == Region::buffers)))
      out[name] = read_tensor(*executor, plan, id);
  const auto loss = read_struct<kernels::LossResult>(*executor, plan, plan.find("loss"));
  out["loss"] = {static_cast<float>(loss.loss), static_cast<float>(loss.loss_sum), static_cast<float>(loss.correct)};
  return out;
}

void expect_same_bits(const Outcome& a, const Outcome& b) {
  RC_ASSERT(a.size() == b.size());
  for (const auto& [name, values] : a) {
    const auto it = b.find(name);
    RC_ASSERT(it != b.end());
    RC_ASSERT(values.size() == it->second.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      if (std::memcmp(&values[i], &it->second[i], sizeof(float)) != 0)
        RC_FAIL(name + "[" + std::to_string(i) + "]: " + std::to_string(values[i]) + " and " + std::to_string(it->second[i]));
  }
}

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
      expect_same_bits(whole, run(net, {.mode = mode, .by_group = true, .threads = threads}));
      expect_same_bits(whole, run(net, {.mode = mode, .reuse = false, .by_group = true, .threads = threads}));
    }
  }
}

// Whole nets against the reference, whose numbers carry the error float must cost (tracked.h) through all Calls. It takes errors for
// independent; a channel's mean and rstd err alike for all elements of the channel, hence 16 times (6 has held for 600 nets).
RC_GTEST_PROP(Property, TheCpuAgreesWithTheReference, (const RandomNet& net)) {
  const Way way{.smooth = true};
  const Outcome actual = run(net, way);
  const Plan plan = make_plan(net, way, {});
  reference::BasicReference<reference::Tracked> reference(plan);
  for (std::size_t i = 0; i < plan.values.size(); ++i)
    if (const PlanValue& v = plan.values[i]; written_from_outside(v) && v.dtype != DType::i64) reference.write(v.name, content(v, 0));
  reference.state(plan, plan.find("state")) = {.seed = 5, .step = 3};
  reference.run(plan);
  const auto agrees = [](float x, const reference::Tracked& expected) {
    return std::abs(static_cast<double>(x) - expected.v) <=
           64 * std::sqrt(expected.e2) + static_cast<double>(std::numeric_limits<float>::min());
  };
  RC_ASSERT(agrees(actual.at("loss")[0], reference.loss(plan, plan.find("loss")).loss));
  for (const auto& [name, values] : actual) {
    if (name == "loss") continue;
    const std::vector<reference::Tracked> expected = reference.read(plan, plan.find(name));
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!agrees(values[i], expected[i]))
        RC_FAIL(name + "[" + std::to_string(i) + "]: " + std::to_string(values[i]) + " instead of " + std::to_string(expected[i].v) + ", " +
                std::to_string(std::abs(static_cast<double>(values[i]) - expected[i].v) / std::sqrt(expected[i].e2)) +
                " standard errors off");
  }
}

// Lifetimes found anew, stage by stage: from the first that touches a value (for what comes from outside: from the start) to the last.
// In a phase all groups' stages are one moment for values of the whole batch, since groups do not wait for each other.
struct Lifetime {
  int first = -1, last = -1;
};

std::vector<Lifetime> lifetimes(const Plan& plan) {
  std::vector<Lifetime> all(plan.values.size());
  int moment = 0;
  const auto touch = [&](const Stage& stage, int offset) {
    for_each_operand(plan, stage, [&](const kernels::Operand& o) {
      const bool of_group = plan[o.value].region == Region::group;
      Lifetime& l = all[static_cast<std::size_t>(o.value.index)];
      const int now = moment + (of_group ? offset : 0);
      if (l.first < 0) l.first = o.access == kernels::Access::write ? now : 0;
      l.last = now;
    });
  };
  for (const Phase& phase : plan.phases) {
    int offset = 0;
    for (const Stage& stage : phase.groups) touch(stage, offset++);
    moment += 1000;
    for (const Stage& stage : phase.whole) touch(stage, 0), ++moment;
  }
  all[static_cast<std::size_t>(plan.find("y").index)].last = moment;  // read after the step
  return all;
}

RC_GTEST_PROP(Property, TheMemoryPlannerKeepsLiveValuesApart, (const RandomNet& net)) {
  const std::size_t guard = *rc::gen::element<std::size_t>(0, 64, 300);
  const bool reuse = *rc::gen::arbitrary<bool>(), fused = *rc::gen::arbitrary<bool>(), adam = *rc::gen::arbitrary<bool>();
  const bool by_group = *rc::gen::arbitrary<bool>();
  const Mode mode = *rc::gen::element(Mode::train, Mode::eval);
  std::optional<Optimizer> optimizer;
  if (mode == Mode::train) optimizer = adam ? Optimizer{Adam{}} : Optimizer{Sgd{.momentum = 0.9}};
  const Plan plan = make_plan(net, {.mode = mode, .fused = fused, .by_group = by_group}, {.reuse = reuse, .guard = guard}, optimizer);
  const std::vector<Lifetime> live = lifetimes(plan);
  const auto size = [](const PlanValue& v) { return v.region == Region::group ? v.group_bytes : v.bytes; };
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& a = plan.values[i];
    if (a.region == Region::data) continue;
    RC_ASSERT(a.offset % alignment == 0);
    RC_ASSERT(a.offset + size(a) <= plan.region_bytes[static_cast<std::size_t>(a.region)]);
    for (std::size_t j = 0; j < i; ++j) {
      const PlanValue& b = plan.values[j];
      if (a.region != b.region || a.whole || b.whole) continue;
      const bool activations = a.region == Region::activations || a.region == Region::group;
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
  const Plan plan = make_plan(net, {.by_group = true}, {}, Optimizer{Adam{}});
  std::vector<int> started(plan.calls.size(), -1), finished(plan.calls.size(), -1);
  int phase_number = 0, moment = 0;
  std::vector<int> group_phase(plan.calls.size(), -1);
  for (const Phase& phase : plan.phases) {
    for (const Stage& s : phase.groups) {
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
          if (finished[i] >= started[j]) RC_FAIL(plan[a.value].name + " is read before it is finished");
          if (group_phase[i] >= 0 && group_phase[i] == group_phase[j] && plan[a.value].group_bytes == 0)
            RC_FAIL(plan[a.value].name + " goes from group to group within a phase");
        });
      });
  }
}

}  // namespace
}  // namespace norma::test
