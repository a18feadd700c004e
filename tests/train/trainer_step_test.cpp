// Steps of one's own: the bits of fit, three parts that make one step, float targets, losses and operations of one's own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "norma/gradient_check.h"
#include "norma/module_runner.h"
#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::expect_error;
using test::net;
using test::options;

// Samples of a set in another order.
struct Picked {
  std::vector<std::uint8_t> bytes;
  std::vector<float> floats, targets;
  std::vector<std::int32_t> labels;
  Batch batch() const { return {bytes, floats, labels, targets}; }
};
Picked pick(const Dataset& data, std::span<const std::int32_t> samples) {
  Picked p;
  const auto features = static_cast<std::size_t>(data.sample.elements());
  const std::size_t outputs = data.targets.size() / static_cast<std::size_t>(data.size());
  for (const std::int32_t number : samples) {
    const auto i = static_cast<std::size_t>(number);
    const auto copy = [i](const auto& from, auto& to, std::size_t n) {
      for (std::size_t k = 0; k < n && !from.empty(); ++k) to.push_back(from[i * n + k]);
    };
    copy(data.bytes, p.bytes, features), copy(data.floats, p.floats, features);
    copy(data.labels, p.labels, 1), copy(data.targets, p.targets, outputs);
  }
  return p;
}

// f(batch) for each of an epoch, as fit takes them.
template <class F>
void for_each_batch(const Trainer& t, const Dataset& data, std::int64_t epoch, std::int64_t size, F f) {
  const std::vector<std::int32_t> order = t.sample_order(data.size(), epoch);
  for (std::size_t at = 0; at < order.size(); at += static_cast<std::size_t>(size)) {
    const std::size_t n = std::min(order.size() - at, static_cast<std::size_t>(size));
    f(pick(data, std::span(order).subspan(at, n)).batch());
  }
}

// The softmax cross entropy, as PyTorch's mean.
double cross_entropy(const LossInput& in, std::span<float> gradient) {
  const std::size_t n = static_cast<std::size_t>(in.samples), classes = in.outputs.size() / n;
  double loss = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const float* z = &in.outputs[i * classes];
    const float top = *std::max_element(z, z + classes);
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(z[c] - top));
    const auto label = static_cast<std::size_t>(in.labels[i]);
    loss += std::log(sum) - static_cast<double>(z[label] - top);
    for (std::size_t c = 0; c < classes && !gradient.empty(); ++c)
      gradient[i * classes + c] =
          static_cast<float>((std::exp(static_cast<double>(z[c] - top)) / sum - (c == label ? 1 : 0)) / static_cast<double>(n));
  }
  return loss / static_cast<double>(n);
}

double huber(const LossInput& in, std::span<float> gradient) {
  double loss = 0;
  const auto n = static_cast<double>(in.outputs.size());
  for (std::size_t i = 0; i < in.outputs.size(); ++i) {
    const double d = static_cast<double>(in.outputs[i]) - static_cast<double>(in.targets[i]);
    loss += std::abs(d) < 1 ? d * d / 2 : std::abs(d) - 0.5;
    if (!gradient.empty()) gradient[i] = static_cast<float>(std::clamp(d, -1.0, 1.0) / n);
  }
  return loss / n;
}

// Points of a line y = 2 a - b + 1 and its negative, with targets of two numbers.
Dataset line(std::int64_t n) {
  Dataset d;
  d.name = "line", d.sample = {2};
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = static_cast<float>(i % 7) / 7 - 0.4f, b = static_cast<float>(i % 5) / 5 - 0.3f;
    d.floats.insert(d.floats.end(), {a, b});
    d.targets.insert(d.targets.end(), {2 * a - b + 1, b - 2 * a - 1});
  }
  return d;
}

// ------------------------------------------------------------------------------------------------------------------ the bits of fit

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

// ------------------------------------------------------------------------------------------------------------------ rates

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

// ------------------------------------------------------------------------------------------------------------------ targets and losses

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

// ------------------------------------------------------------------------------------------------------------------ several inputs and
// outputs

// sum = left(a) + right(b), scaled = head(tanh(sum))
std::map<std::string, Value> two_headed(Builder& b, const std::map<std::string, Value>& in) {
  const Value left = [&] {
    const Builder::Scope scope(b, "left");
    return nn::Linear{.out = 4}(b, in.at("a"));
  }();
  const Value right = [&] {
    const Builder::Scope scope(b, "right");
    return nn::Linear{.out = 4}(b, in.at("b"));
  }();
  const Value sum = b.add(left, right), bent = nn::Tanh{}(b, sum);
  const Builder::Scope scope(b, "head");
  return {{"sum", sum}, {"scaled", nn::Linear{.out = 2}(b, bent)}};
}

using Named = std::map<std::string, std::span<const float>>;

TEST(TrainerNetwork, LearnsFromSeveralInputsForSeveralOutputs) {
  Trainer t{two_headed, {{"a", {3}}, {"b", {2}}}, {.optimizer = Adam{.lr = 0.02}, .seed = 3}};
  std::vector<float> a, b, sums, scaled;
  for (int i = 0; i < 40; ++i) {
    for (int k = 0; k < 3; ++k) a.push_back(static_cast<float>((i * 7 + k * 3) % 11) / 11 - 0.5f);
    for (int k = 0; k < 2; ++k) b.push_back(static_cast<float>((i * 5 + k * 2) % 9) / 9 - 0.5f);
    const float* x = &a[a.size() - 3];
    for (int k = 0; k < 4; ++k) sums.push_back(x[0] * static_cast<float>(k) - x[1] + b.back());
    for (int k = 0; k < 2; ++k) scaled.push_back(x[2] + static_cast<float>(k) * b.back());
  }
  const auto off = [](const std::vector<float>& y, const std::vector<float>& wanted, std::vector<float>& dy) {
    double loss = 0;
    dy.resize(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      dy[i] = (y[i] - wanted[i]) / static_cast<float>(y.size());
      loss += static_cast<double>(dy[i] * (y[i] - wanted[i]));
    }
    return loss;
  };
  double first = 0, last = 0;
  for (int step = 0; step < 400; ++step) {
    const auto y = t.forward(Named{{"a", a}, {"b", b}});
    ASSERT_EQ(y.at("sum").size(), 160u);
    std::vector<float> d_sum, d_scaled;
    last = off(y.at("sum"), sums, d_sum) + off(y.at("scaled"), scaled, d_scaled);
    if (step == 0) first = last;
    t.backward(Named{{"sum", d_sum}, {"scaled", d_scaled}});
    t.update();
  }
  EXPECT_LT(last, first / 20);
  EXPECT_EQ(t.steps_done(), 400);
  const auto y = t.predict(Named{{"a", a}, {"b", b}});
  std::vector<float> ignored;
  EXPECT_LT(off(y.at("scaled"), scaled, ignored), first / 20);

  // Another number of samples, another Trainer with the weights; a single sample alone.
  Trainer again{two_headed, {{"a", {3}}, {"b", {2}}}, {.seed = 4}};
  again.load_model(t.model());
  const auto one = again.predict(Named{{"a", std::span(a).first(3)}, {"b", std::span(b).first(2)}});
  for (std::size_t k = 0; k < 4; ++k) EXPECT_FLOAT_EQ(one.at("sum")[k], y.at("sum")[k]);
}

// An output without a gradient has that of 0: what leads to it alone does not move.
TEST(TrainerNetwork, AGradientThatIsNotGivenIsZero) {
  Trainer t{two_headed, {{"a", {3}}, {"b", {2}}}, {.optimizer = Sgd{.lr = 0.1}}};
  const std::vector<float> a(6, 1.0f), b(4, 1.0f), ones(8, 1.0f);
  (void)t.forward(Named{{"a", a}, {"b", b}});
  t.backward(Named{{"sum", ones}});
  for (const float g : t.read("head.weight.grad")) EXPECT_EQ(g, 0);
  EXPECT_EQ(t.read("left.bias.grad"), (std::vector<float>{2, 2, 2, 2}));
}

TEST(TrainerNetwork, MisuseIsNamed) {
  constexpr ErrorKind usage = ErrorKind::usage;
  Trainer t{two_headed, {{"a", {3}}, {"b", {2}}}, {}};
  const std::vector<float> a(6, 1.0f), b(4, 1.0f), nan(4, std::nanf("")), ones(8, 1.0f);
  expect_error(usage, {"\"b\" is not given"}, [&] { (void)t.forward(Named{{"a", a}}); });
  expect_error(usage, {"no input \"bb\"", "a, b"}, [&] { (void)t.forward(Named{{"a", a}, {"bb", b}}); });
  expect_error(usage, {"\"b\" holds 6", "2 samples"}, [&] { (void)t.forward(Named{{"a", a}, {"b", a}}); });
  expect_error(usage, {"\"a\" holds 4"}, [&] { (void)t.predict(Named{{"a", b}, {"b", b}}); });
  expect_error(ErrorKind::data, {"\"b\" is nan", "element 0"}, [&] { (void)t.forward(Named{{"a", a}, {"b", nan}}); });
  expect_error(usage, {"backward comes after forward"}, [&] { t.backward(Named{{"sum", ones}}); });
  (void)t.forward(Named{{"a", a}, {"b", b}});
  expect_error(usage, {"no output \"summ\"", "sum"}, [&] { t.backward(Named{{"summ", ones}}); });
  expect_error(usage, {"got 4"}, [&] { t.backward(Named{{"sum", b}}); });
  expect_error(usage, {"by name"}, [&] { t.step({.floats = a}); });
  expect_error(usage, {"by name"}, [&] { (void)t.forward(Batch{.floats = a}); });
  expect_error(usage, {"by name"}, [&] { t.fit(line(10), nullptr, {.epochs = 1}); });
  expect_error(usage, {"by name"}, [&] { t.evaluate(line(10)); });
  expect_error(usage, {"by name"}, [&] { (void)t.predict(line(10)); });
  expect_error(usage, {"by name"}, [&] { (void)t.plan(Mode::train); });
  expect_error(usage, {"by name"}, [&] { (void)t.observe(Mode::eval, line(10), std::vector<std::string>{}); });
  expect_error(usage, {"no value called \"left.weigh\"", "left.weight"}, [&] { (void)t.read("left.weigh"); });
  expect_error(usage, {"empty Network"}, [] { Trainer(Network{}, {{"a", {3}}}, {}); });
  expect_error(usage, {"at least one input"}, [] { Trainer(two_headed, {}, {}); });
  expect_error(usage, {"no outputs"}, [] {
    Trainer([](Builder&, const std::map<std::string, Value>&) { return std::map<std::string, Value>{}; }, {{"a", {3}}}, {});
  });
  Trainer single{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .loss = MeanSquared{}}};
  expect_error(usage, {"one input without a name"}, [&] { (void)single.forward(Named{{"a", a}}); });
  expect_error(usage, {"one output without a name"}, [&] { single.backward(Named{{"y", a}}); });
}

// ------------------------------------------------------------------------------------------------------------------ operations

// y = x * scale + shift, a channel each: what batch norm does after normalising.
nn::Operation affine() {
  return {.kind = "affine",
          .forward =
              [](const nn::Operation::ForwardValues& v) {
                const std::size_t channels = v.parameters[0].size();
                for (std::size_t i = 0; i < v.output.size(); ++i)
                  v.output[i] = v.inputs[0][i] * v.parameters[0][i % channels] + v.parameters[1][i % channels];
              },
          .backward =
              [](const nn::Operation::BackwardValues& v) {
                const std::size_t channels = v.parameters[0].size();
                for (std::size_t i = 0; i < v.output_gradient.size(); ++i) {
                  if (!v.input_gradients[0].empty()) v.input_gradients[0][i] = v.output_gradient[i] * v.parameters[0][i % channels];
                  v.parameter_gradients[0][i % channels] += v.output_gradient[i] * v.inputs[0][i];
                  v.parameter_gradients[1][i % channels] += v.output_gradient[i];
                }
              },
          .parameters = {{"scale", {4}, Init::constant(1)}, {"shift", {4}}}};
}

// a * b, element by element.
nn::Operation product(double fault = 0) {
  return {.kind = "product",
          .forward =
              [](const nn::Operation::ForwardValues& v) {
                for (std::size_t i = 0; i < v.output.size(); ++i) v.output[i] = v.inputs[0][i] * v.inputs[1][i];
              },
          .backward =
              [fault](const nn::Operation::BackwardValues& v) {
                for (const std::size_t k : {0, 1})
                  for (std::size_t i = 0; i < v.input_gradients[k].size(); ++i)
                    v.input_gradients[k][i] = v.output_gradient[i] * v.inputs[1 - k][i] * static_cast<float>(1 + fault);
              },
          .inputs = 2};
}

TEST(Operation, ComputesWhatItsFunctionsSay) {
  for (const bool fuse : {true, false})
    for (const bool reuse : {true, false}) {
      ModuleRunner run{affine(), {3, 4}, {.fuse = fuse, .reuse = reuse}};
      const std::vector<float> x{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, dy{1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 3, 0};
      run.write("x", x), run.write("dy", dy);
      run.write("affine.scale", std::vector<float>{1, 2, 3, 4}), run.write("affine.shift", std::vector<float>{0, 10, 20, 30});
      run.step();
      EXPECT_EQ(run.read("y"), (std::vector<float>{1, 14, 29, 46, 5, 22, 41, 62, 9, 30, 53, 78}));
      EXPECT_EQ(run.read("dx"), (std::vector<float>{1, 0, 0, 8, 0, 2, 0, 0, 0, 0, 9, 0}));
      EXPECT_EQ(run.read("affine.scale.grad"), (std::vector<float>{1, 6, 33, 8}));
      EXPECT_EQ(run.read("affine.shift.grad"), (std::vector<float>{1, 1, 3, 2}));
    }
}

TEST(Operation, TakesSeveralInputsAndTheSameOneTwice) {
  const auto square = [](Builder& b, Value x) { return product()(b, std::vector<Value>{x, x}); };
  ModuleRunner run{Module(square), {2, 3}};
  run.write("x", std::vector<float>{1, 2, 3, 4, 5, 6}), run.write("dy", std::vector<float>{1, 1, 1, 1, 1, 2});
  run.step();
  EXPECT_EQ(run.read("y"), (std::vector<float>{1, 4, 9, 16, 25, 36}));
  EXPECT_EQ(run.read("dx"), (std::vector<float>{2, 4, 6, 8, 10, 24}));
}

TEST(Operation, TrainsInsideANet) {
  const auto gated = [](Builder& b, Value x) {
    const Value h = nn::Linear{.out = 4}(b, x), gate = nn::Sigmoid{}(b, nn::Linear{.out = 4}(b, x));
    return nn::Linear{.out = 2}(b, affine()(b, product()(b, {h, gate})));
  };
  const Dataset data = line(70);
  TrainerOptions o{.input = {2}, .batch = 35, .optimizer = Adam{.lr = 0.02}, .loss = MeanSquared{}};
  Trainer t{Module(gated), o};
  t.fit(data, &data, {.epochs = 60});
  EXPECT_LT(*t.history().back().test_loss, *t.history().front().test_loss / 10);
  const Checkpoint saved = t.model();
  Trainer loaded{Module(gated), o};
  loaded.load_model(saved);
  EXPECT_EQ(loaded.evaluate(data).loss, t.evaluate(data).loss);
  o.executor.threads = 3, o.reuse = false;
  Trainer again{Module(gated), o};
  again.fit(data, nullptr, {.epochs = 60});
  EXPECT_EQ(again.parameters_hash(), t.parameters_hash());
}

// ------------------------------------------------------------------------------------------------------------------ gradient checks

TEST(GradientCheck, AcceptsRightGradientsAndNamesWrongOnes) {
  const auto squared = [](double fault) {
    return [fault](Builder& b, Value x) {
      const Value h = nn::Linear{.out = 4}(b, x);
      return product(fault)(b, std::vector<Value>{h, nn::Tanh{}(b, h)});
    };
  };
  const GradientCheck right = check_gradients(Module(squared(0)), {6, 3});
  EXPECT_TRUE(right.ok()) << to_string(right);
  EXPECT_EQ(right.compared, 18 + 12 + 4);
  const GradientCheck wrong = check_gradients(Module(squared(0.05)), {6, 3});
  EXPECT_GT(wrong.wrong, 20) << to_string(wrong);
  EXPECT_NE(to_string(wrong).find("are wrong"), std::string::npos);
  for (const Shape& shape : {Shape{5, 4}, Shape{3, 2, 4, 4}})
    for (const Module& m : {Module(nn::BatchNorm{}), Module(nn::LayerNorm{}), Module(nn::GELU{})}) {
      const GradientCheck c = check_gradients(m, shape);
      EXPECT_TRUE(c.ok()) << m.kind() << " " << to_string(shape) << ": " << to_string(c);
    }
}

TEST(GradientCheck, ChecksALoss) {
  EXPECT_TRUE(check_gradient(CustomLoss{huber}, {7, 3}).ok());
  EXPECT_TRUE(check_gradient(CustomLoss{cross_entropy, CustomLoss::Against::labels}, {7, 3}).ok());
  const auto twice = [](const LossInput& in, std::span<float> gradient) {
    const double loss = huber(in, gradient);
    for (float& g : gradient) g *= 2;
    return loss;
  };
  const GradientCheck c = check_gradient(CustomLoss{twice}, {7, 3});
  EXPECT_GT(c.wrong, 15) << to_string(c);
  EXPECT_EQ(c.value, "outputs");
}

// ------------------------------------------------------------------------------------------------------------------ misuse

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

TEST(GradientCheck, RefusesWhatItCannotCheck) {
  constexpr ErrorKind usage = ErrorKind::usage;
  expect_error(usage, {"dropout1", "other masks"}, [] { check_gradients(nn::Sequential{nn::Linear{.out = 4}, nn::Dropout{}}, {8, 4}); });
  const CustomLoss labelled{cross_entropy, CustomLoss::Against::labels};
  for (const Shape& shape : {Shape{4, 0}, Shape{0, 4}, Shape{4}, Shape{4, 2, 1, 1}})
    expect_error(usage, {"outputs (N,C)", to_string(shape)}, [&] { check_gradient(labelled, shape); });
  EXPECT_TRUE(check_gradient(CustomLoss{huber}, {2, 3, 4, 5}).ok());
  expect_error(usage, {"above 0"}, [] { check_gradient(CustomLoss{huber}, {2, 3}, {.step = 0}); });
}

TEST(Operation, MisuseIsNamed) {
  constexpr ErrorKind usage = ErrorKind::usage;
  const auto run = [](nn::Operation o) { return [o] { ModuleRunner{o, {2, 4}}; }; };
  expect_error(usage, {"[operation]", "forward and backward"}, run({}));
  nn::Operation o = affine();
  o.parameters[1].name = "scale";
  expect_error(usage, {"[affine]", "used twice", "scale"}, run(o));
  o = affine();
  o.parameters[0].init = Init::he_normal();
  expect_error(usage, {"no fan"}, run(o));
  o = affine();
  o.shape = [](const std::vector<Shape>&) { return Shape{5, 4}; };
  expect_error(usage, {"must give (N,F)", "(5, 4)"}, run(o));
  o = affine();
  o.inputs = 2;
  expect_error(usage, {"affine"}, run(o));
  for (const std::int64_t inputs : {0, -1}) {
    o = affine();
    o.inputs = inputs;
    expect_error(usage, {"at least one input"}, run(o));
  }
  o = affine();
  o.parameters.resize(7, {"more", {1}});
  expect_error(usage, {"more than 6"}, run(o));
}

}  // namespace
}  // namespace norma
