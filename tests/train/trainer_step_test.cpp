// Steps on batches of the caller's, whole and in three parts: the bits of fit, sums of gradients, rates, misuse.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/own_steps.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::cross_entropy;
using test::expect_error;
using test::for_each_batch;
using test::huber;
using test::line;
using test::net;
using test::options;
using test::pick;
using test::Picked;

TEST(TrainerStep, GivesTheBitsOfFit) {
  const Dataset data = bars(95);
  for (const bool cosine : {false, true})
    for (const bool fuse : {true, false}) {
      TrainerOptions o = options();
      o.fuse = fuse;
      const std::int64_t steps = (data.size() + o.batch - 1) / o.batch;
      if (cosine) o.schedule.kind = Schedule::Kind::cosine, o.total_steps = 2 * steps;
      Trainer fitted{net, o}, stepped{net, o};
      fitted.fit(data, nullptr, {.epochs = 2});
      double last_rate = 0;
      for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
        double loss = 0;
        std::int64_t correct = 0, samples = 0;
        for_each_batch(stepped, data, epoch, o.batch, [&](const Batch& b) {
          const StepResult r = stepped.step(b);
          loss += r.loss * static_cast<double>(r.counted), correct += r.correct, samples += r.samples;
          last_rate = r.rate;
        });
        EXPECT_NEAR(loss / static_cast<double>(samples), fitted.history()[static_cast<std::size_t>(epoch)].train_loss, 1e-9);
        EXPECT_EQ(static_cast<double>(correct) / static_cast<double>(samples),
                  fitted.history()[static_cast<std::size_t>(epoch)].train_accuracy);
      }
      EXPECT_EQ(stepped.parameters_hash(), fitted.parameters_hash()) << "cosine " << cosine << ", fuse " << fuse;
      EXPECT_EQ(stepped.steps_done(), fitted.steps_done());
      EXPECT_DOUBLE_EQ(static_cast<float>(last_rate), static_cast<float>(fitted.history()[1].learning_rate));
      const Checkpoint a = fitted.model(), b = stepped.model();
      for (std::size_t i = 0; i < a.tensors.size(); ++i) EXPECT_EQ(a.tensors[i].bytes, b.tensors[i].bytes) << a.tensors[i].name;
    }
}

TEST(TrainerStep, LeavesFitsPlaceInTheEpoch) {
  const Dataset data = bars(95);
  TrainerOptions o = options();
  o.optimizer = Sgd{.lr = 0};
  const nn::Sequential mlp{nn::Flatten{}, nn::Linear{.out = 3}};  // which no step changes
  Trainer a{mlp, o}, b{mlp, o};
  int steps = 0;
  a.fit(data, nullptr, {.epochs = 1, .on_step = [&](const Progress&) { return ++steps < 2; }});
  const std::vector<std::int32_t> some{3, 1, 4, 1, 5, 9, 2, 6};
  a.step(pick(data, some).batch());
  EXPECT_TRUE(a.fit(data, nullptr, {.epochs = 1}));
  b.fit(data, nullptr, {.epochs = 1});
  EXPECT_EQ(a.steps_done(), b.steps_done() + 1);
  EXPECT_DOUBLE_EQ(a.history()[0].train_loss, b.history()[0].train_loss);
}

// With mean cross entropy by hand the three parts are the same step but for the loss's own arithmetic.
TEST(TrainerStep, ThreePartsAreOneStep) {
  const Dataset data = bars(60);
  TrainerOptions o = options();
  o.optimizer = Sgd{.lr = 0.05, .momentum = 0.9};
  Trainer whole{net, o}, parts{net, o};
  for_each_batch(whole, data, 0, o.batch, [&](const Batch& b) {
    whole.step(b);
    const std::vector<float> y = parts.forward({.bytes = b.bytes, .floats = b.floats});
    std::vector<float> dy(y.size());
    cross_entropy({.samples = static_cast<std::int64_t>(b.labels.size()), .outputs = y, .targets = {}, .labels = b.labels}, dy);
    parts.backward(dy);
    EXPECT_EQ(parts.update(), 0.05);
  });
  EXPECT_EQ(whole.steps_done(), parts.steps_done());
  for (const ParameterInfo& p : whole.graph().parameters()) {
    const std::vector<float> a = whole.read(p.name), b = parts.read(p.name);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-5f * std::max(1.0f, std::abs(a[i]))) << p.name << " " << i;
  }
}

// A batch in two halves, without a batch norm, which would see another batch.
TEST(TrainerStep, GradientsAddUp) {
  const nn::Sequential mlp{nn::Linear{.out = 8}, nn::Tanh{}, nn::Linear{.out = 2}};
  const Dataset data = line(40);
  const TrainerOptions o{.input = {2}, .batch = 40, .optimizer = Sgd{.lr = 0.1}, .loss = MeanSquared{Reduction::sum}};
  Trainer whole{mlp, o}, halves{mlp, o};
  std::vector<std::int32_t> all(40);
  std::iota(all.begin(), all.end(), 0);
  whole.step(pick(data, all).batch());
  for (const std::size_t first : {std::size_t{0}, std::size_t{20}}) {
    const Picked half = pick(data, std::span(all).subspan(first, 20));
    std::vector<float> dy = halves.forward(half.batch());
    for (std::size_t i = 0; i < dy.size(); ++i) dy[i] = 2 * (dy[i] - half.targets[i]);
    halves.backward(dy, first > 0);
  }
  const std::vector<float> g = whole.read("fc1.weight.grad"), h = halves.read("fc1.weight.grad");
  for (std::size_t i = 0; i < g.size(); ++i) EXPECT_NEAR(g[i], h[i], 1e-4) << i;
  halves.update();
  EXPECT_EQ(halves.steps_done(), 1);
  // A gradient written by hand is the one that counts.
  const std::vector<float> before = halves.read("fc2.bias");
  halves.backward(halves.forward(pick(data, all).batch()));
  halves.set_gradient("fc2.bias", std::vector<float>{1, -2});
  EXPECT_EQ(halves.update({.rate = 0.5}), 0.5);
  EXPECT_EQ(halves.read("fc2.bias"), (std::vector<float>{before[0] - 0.5f, before[1] + 1.0f}));
}

TEST(TrainerStep, PassesOfAStepDrawMasksOfTheirOwn) {
  const nn::Sequential dropped{nn::Linear{.out = 64}, nn::Dropout{.p = 0.5}, nn::Linear{.out = 2}};
  Trainer t{dropped, {.input = {2}, .batch = 8, .loss = MeanSquared{}}};
  const std::vector<float> x(16, 1.0f);
  const std::vector<float> first = t.forward({.floats = x}), again = t.forward({.floats = x});
  EXPECT_EQ(first, again) << "the masks of a step";
  t.backward(std::vector<float>(16, 1.0f));
  EXPECT_NE(t.forward({.floats = x}), first);
}

TEST(TrainerStep, RatesAreThoseAskedFor) {
  const Dataset data = bars(64);
  TrainerOptions o = options();
  o.batch = 32, o.optimizer = Sgd{.lr = 0.1};
  o.schedule = {.kind = Schedule::Kind::cosine};
  Trainer t{net, o};
  const std::vector<std::int32_t> some{0, 1, 2, 3, 4, 5, 6, 7};
  const Picked p = pick(data, some);
  expect_error(ErrorKind::usage, {"total_steps"}, [&] { t.step(p.batch()); });
  EXPECT_EQ(t.step(p.batch(), {.rate = 0.25}).rate, 0.25);
  t.set_rate(0.5);
  EXPECT_EQ(t.step(p.batch()).rate, 0.5);
  t.set_rate({});
  expect_error(ErrorKind::usage, {"total_steps"}, [&] { t.step(p.batch()); });
  for (const double wrong : {-1.0, std::nan(""), HUGE_VAL, 1e39}) {
    expect_error(ErrorKind::usage, {"learning rate"}, [&] { t.set_rate(wrong); });
    expect_error(ErrorKind::usage, {"learning rate"}, [&] { t.step(p.batch(), {.rate = wrong}); });
  }
  EXPECT_EQ(t.steps_done(), 2);
  // Within fit it counts from the step after on_step on.
  std::int64_t step = 0;
  t.fit(data, nullptr, {.epochs = 1, .on_step = [&](const Progress&) {
                          if (++step == 1) t.set_rate(0);
                          return true;
                        }});
  EXPECT_EQ(t.history().back().learning_rate, 0);
  t.set_rate({});

  o.schedule = {.kind = Schedule::Kind::step, .step_epochs = 1, .gamma = 0.5};
  o.total_steps = 6;
  Trainer by_epoch{net, o};
  expect_error(ErrorKind::usage, {"steps_per_epoch"}, [&] { by_epoch.step(p.batch()); });
  o.steps_per_epoch = 2;
  Trainer counted{net, o};
  std::vector<double> rates;
  for (int i = 0; i < 6; ++i) rates.push_back(counted.step(p.batch()).rate);
  EXPECT_EQ(rates, (std::vector<double>{0.1, 0.1, 0.05, 0.05, 0.025, 0.025}));
  expect_error(ErrorKind::usage, {"6"}, [&] { counted.step(p.batch()); });
}

// Shards of a set, one fit each: the schedule goes on.
TEST(TrainerStep, AScheduleOverAllStepsDoesNotBeginAnewWithAnotherFit) {
  const Dataset data = bars(64);
  TrainerOptions o = options();
  o.batch = 32, o.optimizer = Sgd{.lr = 0.1};
  o.schedule = {.kind = Schedule::Kind::cosine};
  o.total_steps = 8;
  Trainer t{net, o};
  for (std::int64_t epoch = 1; epoch <= 4; ++epoch) t.fit(data, nullptr, {.epochs = epoch});
  for (std::int64_t epoch = 0; epoch < 4; ++epoch)
    EXPECT_FLOAT_EQ(static_cast<float>(t.history()[static_cast<std::size_t>(epoch)].learning_rate),
                    static_cast<float>(0.1 * o.schedule.factor(2 * epoch + 1, 2, 8)));
  expect_error(ErrorKind::usage, {"total_steps is 8", "step 10"}, [&] { t.fit(data, nullptr, {.epochs = 5}); });
  o.total_steps = -1;
  expect_error(ErrorKind::usage, {"total_steps"}, [&] { Trainer{net, o}; });
}

TEST(TrainerStep, MisuseIsNamed) {
  const Dataset data = line(20);
  const nn::Sequential mlp{nn::Linear{.out = 2}};
  const TrainerOptions o{.input = {2}, .batch = 20, .loss = MeanSquared{}};
  Trainer t{mlp, o};
  const std::vector<float> x(8, 1.0f), three(3, 1.0f), empty, y(8, 1.0f), nan(8, std::nanf(""));
  const std::vector<std::uint8_t> bytes(8, 1);
  constexpr ErrorKind usage = ErrorKind::usage, fault = ErrorKind::data;
  expect_error(fault, {"empty"}, [&] { t.step({}); });
  expect_error(fault, {"labels or targets"}, [&] { t.step({.floats = x}); });
  expect_error(usage, {"targets hold 3", "8"}, [&] { t.step({.floats = x, .targets = three}); });
  expect_error(fault, {"target 0", "finite"}, [&] { t.step({.floats = x, .targets = nan}); });
  expect_error(fault, {"feature 0 of sample 0"}, [&] { t.step({.floats = nan, .targets = y}); });
  expect_error(usage, {"floats"}, [&] { t.step({.bytes = bytes, .targets = y}); });
  expect_error(usage, {"backward comes after forward"}, [&] { t.backward(y); });
  expect_error(usage, {"update comes after backward"}, [&] { t.update(); });
  expect_error(usage, {"set_gradient"}, [&] { t.set_gradient("fc1.bias", y); });
  (void)t.forward({.floats = x});
  expect_error(usage, {"got 3"}, [&] { t.backward(three); });
  expect_error(usage, {"no gradients"}, [&] { t.backward(y, true); });
  (void)t.evaluate(data);
  expect_error(usage, {"nothing of this Trainer may run between"}, [&] { t.backward(y); });
  (void)t.forward({.floats = x});
  t.backward(y);
  expect_error(usage, {"fc1.bias.grad"}, [&] { t.set_gradient("fc1.bia", y); });
  t.fit(data, nullptr, {.epochs = 1});
  expect_error(usage, {"update comes after backward"}, [&] { t.update(); });
  t.fit(data, nullptr, {.epochs = 2, .on_step = [&](const Progress&) {
                          expect_error(usage, {"step cannot run within on_step"}, [&] { t.step({.floats = x, .targets = y}); });
                          expect_error(usage, {"forward cannot"}, [&] { (void)t.forward({.floats = x}); });
                          return true;
                        }});
  expect_error(usage, {"empty function"}, [] { CustomLoss{nullptr}; });
  Trainer own{mlp, {.input = {2}, .batch = 20, .loss = CustomLoss{huber}}};
  Dataset labelled = data;
  labelled.targets.clear(), labelled.labels.assign(20, 1);
  expect_error(fault, {"no targets"}, [&] { own.fit(labelled, nullptr, {.epochs = 1}); });
  Trainer images{nn::Sequential{nn::Conv2d{.out = 2}}, {.input = {1, 3, 3}, .batch = 4, .loss = MeanSquared{}}};
  const std::vector<std::uint8_t> pixels(36, 1);
  const std::vector<std::int32_t> labels(4, 1);
  expect_error(usage, {"(N, C)", "Flatten"}, [&] { images.step({.bytes = pixels, .labels = labels}); });
  Trainer none{nn::Sequential{nn::ReLU{}}, {.input = {2}, .batch = 4, .loss = MeanSquared{}}};
  expect_error(usage, {"nothing to train"}, [&] { none.step({.floats = x, .targets = y}); });
}

TEST(TrainerStep, NewWeightsEndAForwardAndABackward) {
  Trainer t{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .loss = MeanSquared{}}};
  const Checkpoint weights = t.model();
  const std::vector<float> x(8, 1.0f);
  (void)t.forward({.floats = x});
  t.load_model(weights);
  expect_error(ErrorKind::usage, {"backward comes after forward"}, [&] { t.backward(x); });
  (void)t.forward({.floats = x});
  t.backward(x);
  t.load_training(t.training());
  expect_error(ErrorKind::usage, {"update comes after backward"}, [&] { t.update(); });
}

}  // namespace
}  // namespace norma
