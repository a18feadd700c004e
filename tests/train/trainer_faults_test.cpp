// Faults that must never pass as a result: non-finite parameters, statistics, losses, outputs and samples, and sets without a sample that
// counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "norma/instruments.h"
#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using nn::BatchNorm;
using nn::Flatten;
using nn::Linear;
using nn::Sequential;
using test::bars;
using test::expect_error;
using test::net;
using test::options;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();

Checkpoint with(Checkpoint model, const std::string& name, std::size_t element, float value) {
  for (StoredTensor& t : model.tensors)
    if (t.name == name) std::memcpy(t.bytes.data() + element * sizeof(float), &value, sizeof(float));
  return model;
}

// A line of points with features -1 .. 1, labels by sign.
Dataset points(std::int64_t n) {
  Dataset d;
  d.name = "points";
  d.sample = {3};
  d.classes = {"below", "above"};
  for (std::int64_t i = 0; i < n; ++i) {
    for (const float scale : {1.f, 0.5f, -1.f}) d.floats.push_back(scale * static_cast<float>(2 * i - n) / static_cast<float>(n));
    d.labels.push_back(2 * i >= n);
  }
  return d;
}
TrainerOptions for_points() { return {.input = {3}, .batch = 10, .optimizer = Sgd{.lr = 0.1}}; }

TEST(Faults, RecalibrationBeyondFloatChangesNothing) {
  Trainer t{Sequential{Linear{.out = 2}, BatchNorm{}, Linear{.out = 2}}, for_points()};
  Dataset large = points(20);
  for (float& x : large.floats) x *= 1e30f;
  const Checkpoint before = t.model();
  expect_error(ErrorKind::diverged, {"[bn1]", "variance", "beyond float"}, [&] { t.recalibrate(large); });
  const Checkpoint after = t.model();
  for (std::size_t i = 0; i < before.tensors.size(); ++i) EXPECT_EQ(after.tensors[i].bytes, before.tensors[i].bytes);
}

TEST(Faults, WhereEveryLabelIsIgnoredThereIsNoLossToLookAt) {
  Trainer t{Sequential{Linear{.out = 2}, BatchNorm{}, Linear{.out = 2}}, for_points()};
  Dataset half = points(20), none = half;
  std::fill(half.labels.begin(), half.labels.begin() + 10, -100), std::ranges::fill(none.labels, -100);
  const std::vector<std::string> names{"fc1"};
  for (const Mode mode : {Mode::train, Mode::eval}) {
    expect_error(ErrorKind::data, {"points", "every label is"}, [&] { t.observe(mode, none, names); });
    expect_error(ErrorKind::data, {"points", "samples 0 .. 9"}, [&] { t.observe(mode, half, names, 0, 10); });
    EXPECT_TRUE(std::isfinite(t.observe(mode, half, names).loss));
  }
  EXPECT_EQ(t.recalibrate(none).size(), 1U) << "needs no loss";
  const std::vector<Device> cpu{Device::cpu()};
  expect_error(ErrorKind::data, {"points", "every label"}, [&] { (void)verify(Linear{.out = 2}, for_points(), none, cpu); });
  EXPECT_FALSE(VerifyReport{}.passed()) << "nothing was compared";
}

// Its m / sqrt(v) is 0 / 0 where a gradient was 0 in every step.
TEST(Faults, AParameterThatIsNotFiniteIsNamedWhereAStepFails) {
  Dataset flat = points(30);
  for (std::size_t i = 0; i < flat.floats.size(); i += 3) flat.floats[i] = 0;
  Trainer t{Sequential{Linear{.out = 2}}, {.input = {3}, .batch = 10, .optimizer = Adam{.eps = 0}}};
  expect_error(ErrorKind::diverged, {"fc1.weight is", "nan at element 0", "eps above 0"}, [&] { t.fit(flat, nullptr, {.epochs = 1}); });
}

TEST(FirstFault, NamesTensorAndElement) {
  Trainer t{net, options()};
  const Checkpoint good = t.model();
  EXPECT_EQ(first_fault(good), "");
  EXPECT_EQ(first_fault(t.training()), "");
  EXPECT_EQ(first_fault(with(good, "fc1.weight", 7, nan_value)), "fc1.weight is nan at element 7");
  EXPECT_EQ(first_fault(with(good, "conv1.bias", 4, -infinite)), "conv1.bias is -inf at element 4");
  EXPECT_EQ(first_fault(with(good, "bn2.running_var", 0, -1)), "bn2.running_var is -1.000000 at element 0, which no variance can be");
  EXPECT_EQ(first_fault(with(good, "bn2.running_mean", 0, -1)), "");
  std::vector<float> many(10000, 1.0f);  // in any of the blocks that are looked at, and at their edges
  for (const std::size_t at : std::initializer_list<std::size_t>{0, 4095, 4096, 8191, 9999}) {
    many[at] = infinite;
    EXPECT_EQ(first_fault({{StoredTensor::from("w", {10000}, std::span<const float>(many))}, {}}),
              "w is inf at element " + std::to_string(at));
    many[at] = 1;
  }
}

TEST(TrainerFaults, ANetThatIsNotFiniteGivesNoFigures) {
  const Dataset data = bars(20);
  for (const auto& [name, value] : {std::pair("bn1.running_var", nan_value),
                                    {"fc1.weight", nan_value},
                                    {"conv1.weight", infinite},
                                    {"bn1.running_var", -1.f},
                                    {"fc2.bias", nan_value}}) {
    Trainer t{net, options()};
    const auto load = [&, &name = name, &value = value] { t.load_model(with(t.model(), name, 0, value)); };
    if (value < 0) {  // refused by name as soon as it is read
      expect_error(ErrorKind::data, {name, "at 0"}, load);
      continue;
    }
    load();
    expect_error(ErrorKind::diverged, {"data set bars", name, "at element 0"}, [&] { t.evaluate(data); });
    if (std::string(name) != "conv1.weight")  // of whose infinity the sigmoid makes 1
      expect_error(ErrorKind::diverged, {"data set bars", "for sample 0", name}, [&] { t.predict(data); });
    expect_error(ErrorKind::diverged, {name}, [&] { t.fit(data, nullptr, {.epochs = 1}); });
    EXPECT_EQ(t.steps_done(), 0);
    expect_error(ErrorKind::diverged, {"cannot fold", name}, [&, &name = name, &value = value] {
      fold_batch_norms(t.unfused_graph(), with(Trainer{net, options()}.model(), name, 0, value));
    });
  }
}

TEST(TrainerFaults, FiniteWeightsOfAnOutputThatIsNotNameTheModule) {
  Trainer t{Sequential{Flatten{}, Linear{.out = 4}, Linear{.out = 3}}, options()};
  Checkpoint large = t.model();
  for (const char* name : {"fc1.weight", "fc2.weight"})
    for (std::size_t i = 0; i < 12; ++i) large = with(large, name, i, 3e38f);
  t.load_model(large);
  expect_error(ErrorKind::diverged, {"data set bars", "[fc"}, [&] { t.evaluate(bars(20)); });
  expect_error(ErrorKind::diverged, {"data set bars", "[fc"}, [&] { t.predict(bars(20)); });
  EXPECT_EQ(t.steps_done(), 0);
}

// Only the last step of the epoch is too large: the losses and gradients before it are finite.
TEST(TrainerFaults, WhatTheLastStepOfAnEpochMakesInfiniteIsNoResult) {
  Trainer t{Sequential{Linear{.out = 2}}, {.input = {3}, .batch = 20, .optimizer = Sgd{.lr = 3e38}}};
  Dataset data = points(20);
  for (float& v : data.floats) v *= 1000;
  int told = 0;
  expect_error(ErrorKind::diverged, {"step 1, the last of epoch 1", "fc1.weight is", "lower learning rate"},
               [&] { t.fit(data, &data, {.epochs = 3, .on_epoch = [&](const EpochMetrics&) { ++told; }}); });
  EXPECT_EQ(told, 0);
  EXPECT_TRUE(t.history().empty());
}

TEST(TrainerFaults, OptimizerStateThatOverflowsIsNoResultEither) {
  Trainer t{Sequential{Linear{.out = 2}}, {.input = {3}, .batch = 20, .optimizer = Adam{.lr = 1e-3}}};
  Dataset data = points(20);
  for (std::size_t i = 0; i < 20; ++i) data.labels[i] = i % 2 == 0;  // some are wrong, whatever the weights are
  for (float& v : data.floats) v *= 1e25f;                           // its square is no float
  expect_error(ErrorKind::diverged, {"exp_avg_sq.fc1.weight is inf"}, [&] { t.fit(data, nullptr, {.epochs = 1}); });
}

TEST(TrainerFaults, AtTheFirstStepNoLearningRateIsToBlame) {
  const auto said = [](const TrainerOptions& o, float scale) {
    Dataset data = points(20);
    for (float& v : data.floats) v *= scale;
    Trainer t{Sequential{{"first", Linear{.out = 4, .weight_init = Init::constant(10)}},
                         {"second", Linear{.out = 2, .weight_init = Init::constant(10)}}},
              o};
    try {
      t.fit(data, nullptr, {.epochs = 1});
    } catch (const Error& e) {
      EXPECT_EQ(t.steps_done(), 0);
      return std::string(e.what());
    }
    return std::string();
  };
  for (const bool check_each : {false, true}) {
    TrainerOptions o = for_points();
    o.check_each = check_each;
    const std::string text = said(o, 2e38f);
    for (const char* word : {"step 1", "[first]", "nothing was learned yet", "scale the input"})
      EXPECT_NE(text.find(word), std::string::npos) << "no \"" << word << "\" in: " << text;
    EXPECT_EQ(text.find("learning rate"), std::string::npos) << text;
  }
}

TEST(TrainerFaults, AFeatureThatIsNotFiniteIsNamedNotTheLearningRate) {
  Trainer t{Sequential{Linear{.out = 2}}, for_points()};
  const std::string before = test::bytes_of(t.model());
  for (const float value : {nan_value, infinite, -infinite}) {
    Dataset bad = points(50);
    bad.floats[3 * 17 + 2] = value;
    const auto names = {std::string("data set points: feature 2 of sample 17 is "), std::string("it must be finite")};
    expect_error(ErrorKind::data, names, [&] { t.fit(bad, nullptr, {.epochs = 1}); });
    expect_error(ErrorKind::data, names, [&] { t.fit(points(50), &bad, {.epochs = 1}); });
    expect_error(ErrorKind::data, names, [&] { t.evaluate(bad); });
    expect_error(ErrorKind::data, names, [&] { t.predict(bad); });
  }
  EXPECT_EQ(t.steps_done(), 0);
  EXPECT_EQ(test::bytes_of(t.model()), before);
}

TEST(TrainerFaults, WithoutASampleThatCountsThereIsNoLoss) {
  TrainerOptions o = for_points();
  o.loss = CrossEntropy{.ignore_index = 1};
  Trainer t{Sequential{Linear{.out = 2}}, o};
  Dataset none = points(20), half = points(20);
  std::ranges::fill(none.labels, 1);
  expect_error(ErrorKind::data, {"points", "every label is ignore_index (1)"}, [&] { t.evaluate(none); });
  expect_error(ErrorKind::data, {"points", "every label is ignore_index (1)"}, [&] { t.fit(none, nullptr, {.epochs = 1}); });
  expect_error(ErrorKind::data, {"points", "every label is ignore_index (1)"}, [&] { t.fit(half, &none, {.epochs = 1}); });
  EXPECT_EQ(t.predict(none).size(), 40u);
  EXPECT_GT(t.evaluate(half).loss, 0);
  // A batch of which none counts: its mean is 0 / 0, whatever the learning rate is.
  o.shuffle = false;
  Trainer in_order{Sequential{Linear{.out = 2}}, o};
  expect_error(ErrorKind::data, {"points", "every label of a batch of epoch 1", "(1)"},
               [&] { in_order.fit(half, nullptr, {.epochs = 1}); });
  o.loss = CrossEntropy{.reduction = Reduction::sum, .ignore_index = 1};
  EXPECT_TRUE((Trainer{Sequential{Linear{.out = 2}}, o}.fit(half, nullptr, {.epochs = 1})));
}

TEST(TrainerFaults, WithoutRunningStatisticsATestSetsLastSampleIsRefusedBeforeTheFirstStep) {
  Trainer t{Sequential{Linear{.out = 4}, BatchNorm{.track_running_stats = false}, Linear{.out = 2}}, for_points()};
  const Dataset data = points(50), test = points(257);
  expect_error(ErrorKind::usage, {"[bn1]", "without running statistics", "(1, 4)"}, [&] { t.fit(data, &test, {.epochs = 1}); });
  EXPECT_EQ(t.steps_done(), 0);
  expect_error(ErrorKind::usage, {"[bn1]", "without running statistics"}, [&] { t.evaluate(points(1)); });
  EXPECT_EQ(t.evaluate(points(2)).samples, 2);
}

// Statistics that are broken are what recalibration mends, and what it says of how far they moved is no number.
TEST(TrainerFaults, RecalibrationMendsBrokenStatisticsAndSaysSo) {
  Trainer t{net, options()};
  t.load_model(with(t.model(), "bn1.running_mean", 1, nan_value));
  const std::vector<RecalibratedBatchNorm> layers = t.recalibrate(bars(60));
  EXPECT_TRUE(std::isnan(layers.at(0).mean_change));
  EXPECT_EQ(first_fault(t.model()), "");
  EXPECT_GT(t.evaluate(bars(60)).loss, 0);
}

}  // namespace
}  // namespace norma
