// Float targets, and losses of one's own.
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
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
using test::huber;
using test::line;
using test::net;
using test::options;
using test::pick;

TEST(TrainerTargets, RegressionFindsALine) {
  const Dataset data = line(70);
  for (const bool own : {false, true}) {
    TrainerOptions o{.input = {2}, .batch = 35, .optimizer = Adam{.lr = 0.05}};
    if (own) o.loss = CustomLoss{huber};
    else o.loss = MeanSquared{};
    Trainer t{nn::Sequential{nn::Linear{.out = 2}}, o};
    t.fit(data, &data, {.epochs = 150});
    EXPECT_LT(*t.history().back().test_loss, 1e-4) << "own " << own;
    EXPECT_NEAR(t.evaluate(data).loss, *t.history().back().test_loss, 1e-12);
    const std::vector<float> w = t.read("fc1.weight"), b = t.read("fc1.bias");
    for (const auto& [is, should] :
         std::vector<std::pair<float, float>>{{w[0], 2.0f}, {w[1], -1.0f}, {w[2], -2.0f}, {w[3], 1.0f}, {b[0], 1.0f}, {b[1], -1.0f}})
      EXPECT_NEAR(is, should, 0.1f);
    Dataset unlabelled = data;
    unlabelled.targets.clear();
    EXPECT_EQ(t.predict(unlabelled).size(), 140u);
  }
}

// The output of an autoencoder is an image.
TEST(TrainerTargets, AnAutoencoderLearnsItsInput) {
  Dataset data = bars(64);
  for (const std::uint8_t v : data.bytes) data.targets.push_back(static_cast<float>(v) / 255.0f);
  data.labels.clear();
  const std::int64_t channels = data.sample[0];
  const nn::Sequential coder{nn::Conv2d{.out = 8, .kernel = 3, .padding = 1}, nn::BatchNorm{}, nn::ReLU{},
                             nn::Conv2d{.out = channels, .kernel = 3, .padding = 1}};
  Trainer t{coder, {.input = data.sample, .batch = 32, .optimizer = Adam{.lr = 0.02}, .loss = MeanSquared{}}};
  t.fit(data, &data, {.epochs = 15});
  EXPECT_LT(*t.history().back().test_loss, *t.history().front().test_loss / 3);
  const std::vector<float> y = t.predict(data);
  double squares = 0;
  for (std::size_t i = 0; i < y.size(); ++i) squares += std::pow(static_cast<double>(y[i] - data.targets[i]), 2);
  EXPECT_NEAR(squares / static_cast<double>(y.size()), *t.history().back().test_loss, 1e-5);
}

TEST(TrainerLoss, OneOfOnesOwnTrainsAsTheBuiltIn) {
  const Dataset data = bars(95);
  TrainerOptions o = options();
  o.optimizer = Sgd{.lr = 0.05};
  Trainer built_in{net, o};
  o.loss = CustomLoss{cross_entropy, CustomLoss::Against::labels};
  Trainer own{net, o};
  for (Trainer* t : {&built_in, &own}) t->fit(data, &data, {.epochs = 2});
  EXPECT_NEAR(own.history()[1].train_loss, built_in.history()[1].train_loss, 1e-4);
  EXPECT_NEAR(*own.history()[1].test_loss, *built_in.history()[1].test_loss, 1e-4);
  EXPECT_EQ(own.history()[1].test_accuracy, built_in.history()[1].test_accuracy);
  // However it is run.
  o.executor.threads = 3, o.reuse = false, o.check_each = true;
  Trainer otherwise{net, o};
  otherwise.fit(data, &data, {.epochs = 2});
  EXPECT_EQ(otherwise.parameters_hash(), own.parameters_hash());
  // Observed, and in steps.
  const Observation seen = own.observe(Mode::eval, data, std::vector<std::string>{"fc1"});
  EXPECT_NEAR(seen.loss, *own.history()[1].test_loss, 1e-9);
}

TEST(TrainerLoss, WhatItThrowsLeavesTheStepUndone) {
  const Dataset data = line(40);
  bool fails = true;
  const auto loss = [&](const LossInput& in, std::span<float> gradient) {
    if (fails) throw std::runtime_error("no such loss");
    return huber(in, gradient);
  };
  Trainer t{nn::Sequential{nn::Linear{.out = 2}, nn::BatchNorm{}}, {.input = {2}, .batch = 20, .loss = CustomLoss{loss}}};
  const std::string before = t.parameters_hash();
  EXPECT_THROW(t.fit(data, nullptr, {.epochs = 1}), std::runtime_error);
  const std::vector<std::int32_t> some{0, 1, 2, 3};
  EXPECT_THROW(t.step(pick(data, some).batch()), std::runtime_error);
  EXPECT_EQ(t.parameters_hash(), before);
  EXPECT_EQ(t.read("bn1.running_mean"), (std::vector<float>{0, 0}));
  EXPECT_EQ(t.steps_done(), 0);
  fails = false;
  EXPECT_TRUE(t.fit(data, nullptr, {.epochs = 1}));
  EXPECT_EQ(t.steps_done(), 2);
}

TEST(TrainerLoss, OneThatIsNotFiniteIsRefusedByStep) {
  const Dataset data = line(20);
  const auto loss = [](const LossInput&, std::span<float> gradient) {
    std::fill(gradient.begin(), gradient.end(), 1.0f);
    return std::nan("");
  };
  Trainer t{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .batch = 20, .loss = CustomLoss{loss}}};
  const std::string before = t.parameters_hash();
  const std::vector<std::int32_t> some{0, 1, 2, 3};
  expect_error(ErrorKind::diverged, {"step 1"}, [&] { t.step(pick(data, some).batch()); });
  expect_error(ErrorKind::diverged, {"step 1"}, [&] { t.fit(data, nullptr, {.epochs = 1}); });
  EXPECT_EQ(t.parameters_hash(), before);
  (void)t.forward(pick(data, some).batch());
  expect_error(ErrorKind::diverged, {"step 1", "backward"}, [&] { t.backward(std::vector<float>(8, HUGE_VALF)); });
  (void)t.forward(pick(data, some).batch());
  t.backward(std::vector<float>(8, 1.0f));
  t.set_gradient("fc1.bias", std::vector<float>{1, HUGE_VALF});
  expect_error(ErrorKind::diverged, {"a gradient"}, [&] { t.update(); });
  EXPECT_EQ(t.parameters_hash(), before);
  EXPECT_EQ(t.steps_done(), 0);
}

// A loss sees its Trainer in the middle of a step, whose memory another run would take.
TEST(TrainerLoss, RunsNothingOfItsOwnTrainer) {
  const Dataset data = line(40);
  Trainer* own = nullptr;
  Trainer other{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .batch = 20, .loss = MeanSquared{}}};
  int calls = 0;
  const auto loss = [&](const LossInput& in, std::span<float> gradient) {
    const std::vector<float> x(8, 1.0f);
    expect_error(ErrorKind::usage, {"within a loss or an operation"}, [&] { own->evaluate(data); });
    expect_error(ErrorKind::usage, {"within a loss or an operation"}, [&] { (void)own->predict(data); });
    expect_error(ErrorKind::usage, {"within a loss or an operation"}, [&] { own->step({.floats = x, .targets = x}); });
    expect_error(ErrorKind::usage, {"within a loss or an operation"}, [&] { own->load_model(other.model()); });
    EXPECT_EQ(own->read("fc1.bias").size(), 2u);
    other.evaluate(data);
    ++calls;
    return huber(in, gradient);
  };
  Trainer t{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .batch = 20, .loss = CustomLoss{loss}}};
  Trainer plain{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .batch = 20, .loss = CustomLoss{huber}}};
  own = &t;
  t.fit(data, nullptr, {.epochs = 1});
  plain.fit(data, nullptr, {.epochs = 1});
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(t.parameters_hash(), plain.parameters_hash());
  EXPECT_NO_THROW(plain.evaluate(data));
}

// Labels do not count where the loss is against targets.
TEST(TrainerTargets, LabelsBesideThemAreNotLookedAt) {
  Dataset data = line(20);
  data.labels.assign(20, 7);
  Trainer t{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .batch = 20, .loss = MeanSquared{}}};
  t.fit(data, &data, {.epochs = 1});
  EXPECT_EQ(t.predict(data).size(), 40u);
  EXPECT_EQ(t.forward({.floats = data.floats, .labels = data.labels, .targets = data.targets}).size(), 40u);
}

}  // namespace
}  // namespace norma
