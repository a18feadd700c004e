// Observations: what they read is what a module alone computes, and nobody else sees that they were there.
#include <gtest/gtest.h>

#include <cmath>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;

const std::vector<std::string> everything{"x",
                                          "conv1",
                                          "bn1",
                                          "relu1",
                                          "pool1",
                                          "flatten1",
                                          "fc1",
                                          "bn2",
                                          "sigmoid1",
                                          "dropout1",
                                          "fc2",
                                          "y",
                                          "bn1.mean",
                                          "bn1.var",
                                          "bn2.mean",
                                          "bn2.var",
                                          "dy",
                                          "fc2.grad",
                                          "dropout1.grad",
                                          "sigmoid1.grad",
                                          "bn2.grad",
                                          "fc1.grad",
                                          "flatten1.grad",
                                          "relu1.grad",
                                          "bn1.grad",
                                          "conv1.grad",
                                          "conv1.weight.grad",
                                          "bn1.weight.grad",
                                          "bn2.bias.grad",
                                          "fc2.bias.grad",
                                          "conv1.weight",
                                          "bn1.running_var"};

TEST(TrainerObserve, ReadsWhatTheModuleAloneComputes) {
  const Dataset data = bars(95);
  Trainer t{net, options()};
  const Observation observed = t.observe(Mode::train, data, everything, 20, 40);
  ModuleRunner alone{net, {40, 2, 9, 8}, {.seed = 11, .fuse = false, .input_gradients = false}};
  alone.write("x", observed.values.at("x").values);
  alone.write("dy", observed.values.at("dy").values);
  alone.step();
  for (const std::string& name : everything) {
    if (name == "bn1.running_var") continue;  // which the module alone has moved
    EXPECT_EQ(observed.values.at(name).values, alone.read(name)) << name;
  }
  EXPECT_EQ(observed.samples, 40);
  const std::map<std::string, Shape> shapes{{"conv1", {40, 5, 7, 6}}, {"pool1.grad", {40, 5, 3, 3}},
                                            {"flatten1", {40, 45}},   {"fc2.grad", {40, 3}},
                                            {"bn1.var", {5}},         {"conv1.weight.grad", {5, 2, 3, 3}}};
  std::vector<std::string> names;
  for (const auto& [name, shape] : shapes) names.push_back(name);
  const Observation again = t.observe(Mode::train, data, names, 20, 40);
  for (const auto& [name, shape] : shapes) EXPECT_EQ(again.values.at(name).shape, shape) << name;

  for (const std::int64_t samples : {1, 16, 23}) {
    const ObserveRequest some[] = {{"bn1.grad", samples}, {"fc1", samples}, {"bn1.mean", samples}};
    const Observation part = t.observe(Mode::train, data, some, 20, 40);
    EXPECT_EQ(part.values.at("bn1.grad").shape, (Shape{samples, 5, 7, 6}));
    for (const ObserveRequest& r : some) {
      const std::vector<float>&got = part.values.at(r.name).values, &all = observed.values.at(r.name).values;
      ASSERT_EQ(got.size(), static_cast<std::size_t>(part.values.at(r.name).shape.elements()));
      EXPECT_TRUE(std::equal(got.begin(), got.end(), all.begin())) << r.name;
    }
  }

  // The samples asked for: x is their transform.
  const std::vector<float>& x = observed.values.at("x").values;
  for (const std::size_t e : {0u, 71u, 72u, 143u})
    EXPECT_NEAR(x[7 * 144 + e], (data.bytes[27 * 144 + e] / 255.0 - (e < 72 ? 0.3 : 0.4)) / 0.5, 1e-6);
  // Batch statistics, in double.
  const std::vector<float>& fc1 = observed.values.at("fc1").values;
  for (std::size_t c = 0; c < 12; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t n = 0; n < 40; ++n) sum += static_cast<double>(fc1[12 * n + c]);
    for (std::size_t n = 0; n < 40; ++n) squares += std::pow(static_cast<double>(fc1[12 * n + c]) - sum / 40, 2);
    EXPECT_NEAR(observed.values.at("bn2.mean").values[c], sum / 40, 1e-6);
    EXPECT_NEAR(observed.values.at("bn2.var").values[c], squares / 40, 1e-6 * squares / 40);
  }
}

TEST(TrainerObserve, EvaluationUsesTheRunningStatistics) {
  const Dataset data = bars(95);
  Trainer t{net, options()};
  t.fit(data, nullptr, {.epochs = 2});
  const std::vector<std::string> names{"y", "bn2", "fc1", "dropout1", "sigmoid1"};
  const Observation observed = t.observe(Mode::eval, data, names);
  EXPECT_EQ(observed.values.at("y").values, t.predict(data));
  EXPECT_EQ(observed.values.at("dropout1").values, observed.values.at("sigmoid1").values);
  const Evaluation e = t.evaluate(data);
  EXPECT_EQ(observed.loss, e.loss);
  EXPECT_EQ(observed.accuracy, e.accuracy);
  const std::vector<float> mean = t.read("bn2.running_mean"), var = t.read("bn2.running_var"), gamma = t.read("bn2.weight"),
                           beta = t.read("bn2.bias");
  for (std::size_t c = 0; c < 12; ++c) {
    const double x = static_cast<double>(observed.values.at("fc1").values[12 + c]) - static_cast<double>(mean[c]);
    EXPECT_NEAR(observed.values.at("bn2").values[12 + c], gamma[c] * x / std::sqrt(static_cast<double>(var[c]) + 1e-5) + beta[c], 1e-5);
  }
}

TEST(TrainerObserve, ChangesNothing) {
  const Dataset data = bars(95), other = bars(50, 5);
  Trainer plain{net, options()}, observed{net, options()};
  plain.fit(data, nullptr, {.epochs = 2});
  std::int64_t taps = 0;
  const auto look = [&](Trainer& t) {
    const std::string model = bytes_of(t.model()), training = bytes_of(t.training());
    const std::vector<float> gradient = t.read("conv1.weight.grad");
    t.observe(Mode::train, data, everything, 3, 40);
    t.observe(Mode::eval, other, std::vector<std::string>{"fc1"});
    EXPECT_EQ(bytes_of(t.model()), model);
    EXPECT_EQ(bytes_of(t.training()), training);
    EXPECT_EQ(t.read("conv1.weight.grad"), gradient);
    return ++taps;
  };
  observed.fit(
      data, nullptr,
      {.epochs = 2, .on_step = [&](const Progress&) { return look(observed) > 0; }, .on_epoch = [&](const auto&) { look(observed); }});
  EXPECT_EQ(taps, 8);
  EXPECT_EQ(bytes_of(observed.model()), bytes_of(plain.model()));
  EXPECT_EQ(bytes_of(observed.training()), bytes_of(plain.training()));
}

TEST(TrainerObserve, AnotherLossFloatsAndANetWithoutStatistics) {
  const DatasetPair data = make_circles(200, 0.1, 0.5, 0.2, 4);
  Trainer t{nn::Sequential{nn::Linear{.out = 4}, nn::BatchNorm{.track_running_stats = false}, nn::Tanh{}, nn::Linear{.out = 2}},
            {.input = {2}, .batch = 30, .loss = MeanSquared{}}};
  t.fit(data, {.epochs = 1});
  const Observation eval = t.observe(Mode::eval, data.train, std::vector<std::string>{"bn1.mean"});
  EXPECT_EQ(eval.samples, 160);
  EXPECT_EQ(eval.values.at("bn1.mean").shape, (Shape{4}));
  const Observation train = t.observe(Mode::train, data.train, std::vector<std::string>{"bn1.grad"});
  EXPECT_EQ(train.loss, eval.loss);  // both normalise by the batch
}

TEST(TrainerObserve, WhatItCannotReadIsNamed) {
  const Dataset data = bars(20);
  Trainer t{net, options()};
  const auto tap = [&](Mode mode, const char* name, std::int64_t first = 0, std::int64_t count = 0) {
    return [=, &t, &data] { t.observe(mode, data, std::vector<std::string>{name}, first, count); };
  };
  expect_error(ErrorKind::usage, {"\"bn11\"", "training", "did you mean \"bn1\"?"}, tap(Mode::train, "bn11"));
  expect_error(ErrorKind::usage, {"\"bn1.grad\"", "evaluating"}, tap(Mode::eval, "bn1.grad"));
  expect_error(ErrorKind::usage, {"\"nothing like it\"", "bn1", "sigmoid1"}, tap(Mode::eval, "nothing like it"));
  for (const char* name : {"loss", "state", "data/samples"}) expect_error(ErrorKind::usage, {name}, tap(Mode::train, name));
  expect_error(ErrorKind::usage, {"20 samples", "8", "number 13"}, tap(Mode::train, "bn1", 13, 8));
  expect_error(ErrorKind::usage, {"number -1"}, tap(Mode::train, "bn1", -1, 8));
  expect_error(ErrorKind::usage, {"[bn2]", "more than one value"}, tap(Mode::train, "bn1", 3, 1));
  EXPECT_NO_THROW(tap(Mode::eval, "bn1", 3, 1)());
}

TEST(GraphBatchNorms, WithWhatComesBeforeAndAfter) {
  const auto named = [](const Module& m) {
    const Graph g = trace(m, {2, 4, 6, 6});
    std::string text;
    for (const BatchNormSite& s : batch_norms(g))
      text += g[s.input].path + ">" + g[s.norm].path + ">" + (s.activation ? g[*s.activation].path : "-") + " ";
    return text;
  };
  using namespace nn;
  EXPECT_EQ(named(net), "conv1>bn1>relu1 fc1>bn2>sigmoid1 ");
  EXPECT_EQ(named(Sequential{Conv2d{.out = 2}, ReLU{}, BatchNorm{}, MaxPool2d{}, BatchNorm{}, Tanh{}}), "relu1>bn1>- pool1>bn2>tanh1 ");
  EXPECT_EQ(named(Sequential{Residual{Sequential{Conv2d{.out = 4}, BatchNorm{}}}, ReLU{}}), "residual1/body/conv1>residual1/body/bn1>- ");
  EXPECT_EQ(named(Sequential{Conv2d{.out = 2}}), "");
}

}  // namespace
}  // namespace norma
