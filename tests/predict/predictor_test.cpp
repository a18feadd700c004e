// Predictor: the bits of Trainer::predict for any number of samples, threads, misuse.
#include "norma/predictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/layer_shapes.h"
#include "tests/support/random_model.h"
#include "tests/support/random_nets.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::expect_error;
using test::net;
using test::options;
using test::random_model;

PredictorOptions predictor_options(bool fold = true) { return {.input = options().input, .transform = options().transform, .fold = fold}; }

// A model with some training behind it: its batch norms have statistics.
Checkpoint trained() {
  Trainer trainer{net, options()};
  trainer.fit(bars(80), nullptr, {.epochs = 1});
  return trainer.model();
}

// Equal numbers: a zero may have either sign.
void expect_same(std::span<const float> a, std::span<const float> b, const std::string& where) {
  ASSERT_EQ(a.size(), b.size()) << where;
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i], b[i]) << where << ", output " << i;
}

std::span<const std::uint8_t> first(const Dataset& d, std::int64_t samples) {
  return std::span(d.bytes).first(static_cast<std::size_t>(samples * d.sample.elements()));
}

TEST(Predictor, GivesTheBitsOfTrainerForAnyNumberOfSamples) {
  const Checkpoint model = trained();
  const Dataset data = bars(50);
  for (const std::string& isa : cpu_isa_levels())
    for (const bool fold : {false, true}) {
      PredictorOptions o = predictor_options(fold);
      o.isa = isa;
      const Predictor predictor{net, model, o};
      const Module used = fold ? fold_batch_norms(trace(net, Shape{2, 2, 9, 8}), model).net : Module(net);
      Trainer trainer{used, options()};
      trainer.load_model(fold ? fold_batch_norms(trace(net, Shape{2, 2, 9, 8}), model).model : model);
      EXPECT_EQ(to_string(predictor.output()), "(3)");
      for (const std::int64_t n : {1, 2, 6, 7, 9, 15, 16, 17, 24, 32, 50}) {
        const Dataset some = test::slice(data, 0, n);
        expect_same(predictor.predict(some.bytes), trainer.predict(some), isa + ", " + std::to_string(n) + " samples");
      }
    }
}

TEST(Predictor, OfNoSamplesThereIsNothing) {
  const Predictor predictor{net, trained(), predictor_options()};
  EXPECT_TRUE(predictor.predict(std::span<const std::uint8_t>{}).empty());
}

RC_GTEST_PROP(PredictorProperty, RandomNetsGiveTheBitsOfTrainer, (const test::RandomNet& random)) {
  const Module module = test::module_of(random);
  const Shape input{random.c, random.h, random.w};
  const Checkpoint model = random_model(trace(module, input.prepend(2)), 7);
  Dataset data;
  data.sample = input;
  for (std::int64_t i = 0; i < random.n * input.elements(); ++i)
    data.floats.push_back(static_cast<float>(std::sin(static_cast<double>(i * i % 1000)) * 2));
  Trainer trainer{module, {.input = input, .sample_type = DType::f32}};
  trainer.load_model(model);
  const std::vector<float> expected = trainer.predict(data);
  const Predictor predictor{module, model, {.input = input, .sample_type = DType::f32, .fold = false}};
  const auto features = static_cast<std::size_t>(input.elements());
  for (const std::int64_t n : {std::int64_t{1}, std::min<std::int64_t>(8, random.n), random.n}) {
    const std::vector<float> y = predictor.predict(std::span(data.floats).first(static_cast<std::size_t>(n) * features));
    RC_ASSERT(y.size() == static_cast<std::size_t>(n) * 4);
    for (std::size_t i = 0; i < y.size(); ++i)
      if (y[i] != expected[i])
        RC_FAIL(std::to_string(n) + " samples: output " + std::to_string(i) + " is " + std::to_string(y[i]) + ", of Trainer " +
                std::to_string(expected[i]));
  }
}

// Every layer, with shapes that no tile or vector divides.
TEST(Predictor, LayersOfManyShapesGiveTheBitsOfTrainer) {
  const Shape input = test::odd_input;
  Dataset data;
  data.sample = input;
  for (std::int64_t i = 0; i < 20 * input.elements(); ++i)
    data.floats.push_back(static_cast<float>(std::sin(static_cast<double>(i * i % 1000)) * 2));
  for (const auto& [what, layer] : test::layers_of_odd_shapes()) {
    const Module module = nn::Sequential{{"layer", layer}, {"end", nn::Flatten{}}};
    const Checkpoint model = random_model(trace(module, input.prepend(2)), 3);
    Trainer trainer{module, {.input = input, .sample_type = DType::f32}};
    trainer.load_model(model);
    const std::vector<float> expected = trainer.predict(data);
    for (const std::string& isa : cpu_isa_levels()) {
      const Predictor predictor{module, model, {.input = input, .sample_type = DType::f32, .fold = false, .isa = isa}};
      for (const std::int64_t n : {1, 11, 20})
        expect_same(predictor.predict(std::span(data.floats).first(static_cast<std::size_t>(n * input.elements()))),
                    std::span(expected).first(expected.size() / 20 * static_cast<std::size_t>(n)),
                    std::string(what) + ", " + std::to_string(n) + " samples");
    }
  }
}

TEST(Predictor, ImagesOfFloatsResizedAndOutputsThatAreImages) {
  const Module picture = nn::Conv2d{.out = 4, .kernel = 3, .padding = 1};
  Dataset data;
  data.sample = {1, 7, 10};
  for (int i = 0; i < 18 * 70; ++i) data.floats.push_back(static_cast<float>(i % 37) / 37);
  TrainerOptions o{.input = data.sample, .sample_type = DType::f32, .loss = MeanSquared{}};
  o.transform.mean = {0.5}, o.transform.resize = Size2{5, 12};
  Trainer trainer{picture, o};
  const Predictor predictor{picture, trainer.model(), {.input = data.sample, .sample_type = DType::f32, .transform = o.transform}};
  EXPECT_EQ(to_string(predictor.output()), "(4, 5, 12)");
  EXPECT_EQ(predictor.sample_type(), DType::f32);
  const std::vector<float> expected = trainer.predict(data);
  for (const std::int64_t n : {1, 18})
    expect_same(predictor.predict(std::span(data.floats).first(static_cast<std::size_t>(n * 70))),
                std::span(expected).first(static_cast<std::size_t>(n * 240)), std::to_string(n) + " samples");
}

TEST(Predictor, AnOperationOfOnesOwnIsCalledWithTheSamplesAlone) {
  std::atomic<std::size_t> most = 0, least = 1000;
  nn::Operation halve;
  halve.kind = "halve";
  halve.forward = [&](const auto& t) {
    most = std::max<std::size_t>(most, t.inputs[0].size()), least = std::min<std::size_t>(least, t.inputs[0].size());
    for (std::size_t i = 0; i < t.output.size(); ++i) t.output[i] = t.inputs[0][i] / 2;
  };
  halve.backward = [](const auto&) {};
  const nn::Sequential own{nn::Linear{.out = 3}, halve};
  Trainer trainer{own, {.input = {5}, .loss = MeanSquared{}}};
  const Predictor predictor{own, trainer.model(), {.input = {5}}};
  Dataset data;
  data.sample = {5};
  data.floats.assign(23 * 5, 0.25f);
  const std::vector<float> expected = trainer.predict(data);
  most = 0, least = 1000;
  expect_same(predictor.predict(data.floats), expected, "23 samples");
  EXPECT_EQ(most, 16u * 3);
  EXPECT_EQ(least, 3u);  // the last seven, one by one
}

TEST(Predictor, ManyThreadsAskAtOnce) {
  const Predictor predictor{net, trained(), predictor_options()};
  const Dataset data = bars(40);
  const std::vector<float> expected = predictor.predict(data.bytes);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t, mine = predictor] {
      std::vector<float> y(expected.size());
      for (int round = 0; round < 50; ++round) {
        const std::int64_t n = 1 + (t * 7 + round * 3) % 40;
        const std::span<float> out = std::span(y).first(static_cast<std::size_t>(n * 3));
        mine.predict(first(data, n), out);
        wrong += !std::ranges::equal(out, std::span(expected).first(out.size()));
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

// A loss runs on a thread that has the Trainer's team; the Predictor must not work on it.
TEST(Predictor, ATeacherIsAskedWithinALoss) {
  const nn::Sequential wide{nn::Conv2d{.out = 16, .kernel = 3, .padding = 1},
                            nn::Conv2d{.out = 16, .kernel = 3, .padding = 1},
                            nn::ConvTranspose2d{.out = 32, .kernel = 3},
                            nn::GlobalAvgPool2d{},
                            nn::Flatten{},
                            nn::Linear{.out = 3}};
  const Shape input{2, 9, 8};
  const Predictor teacher{wide, random_model(trace(wide, input.prepend(2)), 5), {.input = input}};
  const Dataset data = bars(40);
  const std::vector<float> expected = teacher.predict(data.bytes);
  int asked = 0;
  const CustomLoss distilled{[&](const LossInput& in, std::span<float> gradient) {
    const std::vector<float> wanted = teacher.predict(first(data, in.samples));
    EXPECT_TRUE(std::ranges::equal(wanted, std::span(expected).first(wanted.size())));
    ++asked;
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = in.outputs[i] - wanted[i];
    return 0.0;
  }};
  TrainerOptions o = options();
  o.loss = distilled, o.executor.threads = 4, o.shuffle = false;
  Dataset targets = data;
  targets.targets.assign(40 * 3, 0.0f);
  Trainer student{net, o};
  student.fit(targets, nullptr, {.epochs = 1});
  EXPECT_GT(asked, 0);
}

TEST(Predictor, ReadsModelsOfOthersAsTrainerDoes) {
  Checkpoint wrapped = trained();
  std::erase_if(wrapped.tensors, [](const StoredTensor& t) { return t.name.ends_with("num_batches_tracked"); });
  for (StoredTensor& t : wrapped.tensors) t.name = "module." + t.name;
  const Predictor predictor{net, wrapped, predictor_options()}, own{net, trained(), predictor_options()};
  EXPECT_FALSE(predictor.notes().empty());
  EXPECT_TRUE(own.notes().empty());
  const Dataset data = bars(5);
  expect_same(predictor.predict(data.bytes), own.predict(data.bytes), "wrapped names");
}

TEST(Predictor, RefusesBadInputByName) {
  const Checkpoint model = trained();
  const auto make = [&](const PredictorOptions& o, const Checkpoint& m) { return [&] { Predictor{net, m, o}; }; };
  PredictorOptions o = predictor_options();
  o.input = {3, 3};
  expect_error(ErrorKind::usage, "input must be (C, H, W) or (F), got (3, 3)", make(o, model));
  o.input = {std::int64_t{1} << 61, 1, 1};
  expect_error(ErrorKind::usage, "more than 2^48", make(o, model));
  o = predictor_options(), o.sample_type = DType::i32;
  expect_error(ErrorKind::usage, "sample_type must be u8 or f32", make(o, model));
  o = predictor_options(), o.transform.stddev = {0};
  expect_error(ErrorKind::usage, "stddev must be above 0", make(o, model));
  o = predictor_options(), o.isa = "sse";
  expect_error(ErrorKind::usage, "\"sse\" is not available", make(o, model));
  o = predictor_options();
  Checkpoint less = model;
  less.tensors.erase(less.tensors.begin());
  expect_error(ErrorKind::data, "conv1.weight", make(o, less));
  Checkpoint infinite = model;
  const float inf = std::numeric_limits<float>::infinity();
  std::memcpy(infinite.tensors[0].bytes.data(), &inf, sizeof inf);
  expect_error(ErrorKind::diverged, "the model cannot predict: conv1.weight", make(o, infinite));
  expect_error(ErrorKind::usage, "[bn1] has no running statistics", [&] {
    const nn::Sequential alone{nn::BatchNorm{.track_running_stats = false}};
    Predictor{alone, random_model(trace(alone, {2, 3}), 1), {.input = {3}}};
  });

  const Predictor predictor{net, model, o};
  const std::vector<std::uint8_t> bytes(2 * 144);
  std::vector<float> y(6), floats(144);
  expect_error(ErrorKind::usage, "144 values each, got 100 in all", [&] { predictor.predict(std::span(bytes).first(100)); });
  expect_error(ErrorKind::usage, "the outputs of 2 samples are 6 floats, got room for 5",
               [&] { predictor.predict(bytes, std::span(y).first(5)); });
  expect_error(ErrorKind::usage, "samples are f32, but this Predictor takes u8", [&] { predictor.predict(floats); });
  Predictor moved = predictor, to = std::move(moved);
  expect_error(ErrorKind::usage, "this Predictor was moved from", [&] { moved.predict(bytes); });  // NOLINT
  EXPECT_EQ(to.predict(bytes).size(), 6u);

  const nn::Sequential far{nn::Conv2d{.out = 4, .kernel = 2, .stride = (1 << 23) - 1, .padding = 1 << 23}};
  expect_error(ErrorKind::usage, "[conv1] a sample with its padding has more than 2^52 elements", [&] {
    Predictor{far, random_model(trace(far, {2, 16384, 1, 1}), 1), {.input = {16384, 1, 1}}};
  });

  const nn::Sequential large{nn::Linear{.out = 2}};
  Checkpoint huge{
      {StoredTensor::from("fc1.weight", {2, 3}, std::vector<float>(6, 3e38f)), StoredTensor::from("fc1.bias", {2}, std::vector<float>(2))},
      {}};
  const Predictor overflows{large, huge, {.input = {3}}};
  floats = {0, 0, 0, 1, 1, 1};
  expect_error(ErrorKind::diverged, "the net's output 0 for sample 1 is inf", [&] { overflows.predict(floats); });
  floats[4] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorKind::data, "sample 1, feature 1 is nan", [&] { overflows.predict(floats); });
}

}  // namespace
}  // namespace norma
