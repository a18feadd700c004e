// Trainer: the same bits however it is run, batches that do not fit, evaluation, options, and that it learns.
#include "norma/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using nn::BatchNorm;
using nn::Conv2d;
using nn::Flatten;
using nn::Linear;
using nn::ReLU;
using nn::Sequential;
using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;

std::string hash_after(std::int64_t epochs, const TrainerOptions& o, const Dataset& data) {
  Trainer t{net, o};
  t.fit(data, nullptr, {.epochs = epochs});
  return t.parameters_hash();
}

// ------------------------------------------------------------------------------------------------------------------ the same bits

TEST(TrainerDeterminism, ThreadsInstructionSetsAndRepetitionGiveTheSameBits) {
  const Dataset data = bars(250);
  TrainerOptions o = options();
  o.batch = 100;  // six packs of lanes and a partial one; a tail of 50
  const std::string first = hash_after(2, o, data);
  EXPECT_EQ(hash_after(2, o, data), first) << "a second run";
  for (const std::string& isa : cpu_isa_levels())
    for (const int threads : {1, 2, 3, 5, 8}) {
      o.executor = {.threads = threads, .isa = isa};
      EXPECT_EQ(hash_after(2, o, data), first) << threads << " threads, " << isa;
    }
  o.executor = {};
  o.seed = 12;
  EXPECT_NE(hash_after(2, o, data), first) << "the hash does not see the parameters";
}

TEST(TrainerDeterminism, WaysOfRunningAgree) {
  const Dataset data = bars(95);
  for (const bool fuse : {true, false}) {
    TrainerOptions o = options();
    o.fuse = fuse;
    const std::string first = hash_after(2, o, data);
    for (int bits = 1; bits < 4; ++bits) {
      o.reuse = !(bits & 1), o.check_each = bits & 2;
      EXPECT_EQ(hash_after(2, o, data), first) << "fuse " << o.fuse << ", reuse " << o.reuse << ", check_each " << o.check_each;
    }
  }
}

// Fused with its pooling a batch norm adds up its gradients in another order.
TEST(TrainerDeterminism, FusionChangesNothingButRounding) {
  const Dataset data = bars(95);
  TrainerOptions o = options();
  o.optimizer =
      Sgd{.lr = 0.05f};  // Adam would blow the rounding of gradients that are 0, those of biases before a batch norm, up to full steps
  Trainer fused{net, o};
  o.fuse = false;
  Trainer plain{net, o};
  fused.fit(data, nullptr, {.epochs = 1});
  plain.fit(data, nullptr, {.epochs = 1});
  for (const ParameterInfo& p : fused.graph().parameters()) {
    const std::vector<float> a = fused.read(p.name), b = plain.read(p.name);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4 * (1 + std::abs(b[i]))) << p.name << "[" << i << "]";
  }
}

TEST(TrainerDeterminism, WatchingAndEvaluatingChangeNothing) {
  const Dataset data = bars(95), test = bars(300, 5);
  Trainer t{net, options()};
  std::int64_t calls = 0;
  t.fit(data, &test, {.epochs = 2, .on_step = [&](const Progress&) { return t.evaluate(test).samples == 300 && ++calls; }});
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(t.parameters_hash(), hash_after(2, options(), data));
}

// ---------------------------------------------------------------------------------------------------------------------- batches

TEST(TrainerBatches, EverySampleOnceAnEpoch) {
  const Dataset data = bars(95);
  TrainerOptions o = options();
  o.optimizer = Sgd{.lr = 0};
  Trainer t{Sequential{Flatten{}, Linear{.out = 3}}, o};
  t.fit(data, nullptr, {.epochs = 3});
  const Evaluation e = t.evaluate(data);
  EXPECT_EQ(e.samples, 95);
  for (const EpochMetrics& m : t.history()) {  // the parameters stay, so the order cannot show but in rounding
    EXPECT_NEAR(m.train_loss, e.loss, 1e-12 * e.loss);
    EXPECT_EQ(m.train_accuracy, e.accuracy);
  }
}

TEST(TrainerBatches, ShufflingDependsOnSeedAndEpoch) {
  const Dataset data = bars(95);
  const auto first_losses = [&](std::uint64_t seed, bool shuffle) {
    TrainerOptions o = options();
    o.optimizer = Sgd{.lr = 0}, o.seed = seed, o.shuffle = shuffle;
    Trainer t{Sequential{Flatten{}, Linear{.out = 3, .weight_init = Init::normal(0, 0.1)}}, o};
    Checkpoint start = Trainer{Sequential{Flatten{}, Linear{.out = 3}}, options()}.model();
    t.load_model(start);
    std::vector<double> losses;
    t.fit(data, nullptr, {.epochs = 3, .on_step = [&](const Progress& p) { return p.batch != 1 || (losses.push_back(p.loss), true); }});
    return losses;
  };
  const std::vector<double> a = first_losses(1, true), b = first_losses(2, true), stored = first_losses(1, false);
  EXPECT_EQ(std::set<double>(a.begin(), a.end()).size(), 3u) << "two epochs began with the same batch";
  EXPECT_EQ(a, first_losses(1, true));
  EXPECT_NE(a, b);
  EXPECT_EQ(std::set<double>(stored.begin(), stored.end()).size(), 1u);
}

TEST(TrainerBatches, TailDropLastAndASetSmallerThanABatch) {
  TrainerOptions o = options();
  Trainer with_tail{net, o};
  std::vector<std::int64_t> seen;
  with_tail.fit(bars(95), nullptr, {.epochs = 2, .on_step = [&](const Progress& p) {
                                      EXPECT_EQ(p.batches, 3);
                                      EXPECT_EQ(p.epochs, 2);
                                      EXPECT_NEAR(p.samples_per_second * p.seconds,
                                                  std::min<double>(95, 40.0 * static_cast<double>(p.batch)), 1e-6);
                                      seen.push_back(10 * p.epoch + p.batch);
                                      return true;
                                    }});
  EXPECT_EQ(seen, (std::vector<std::int64_t>{11, 12, 13, 21, 22, 23}));
  EXPECT_EQ(with_tail.read("bn1.num_batches_tracked").at(0), 6.f);

  o.drop_last = true;
  Trainer without{net, o};
  without.fit(bars(95), nullptr, {.epochs = 2});
  EXPECT_EQ(without.steps_done(), 4);

  Trainer small{net, o};  // drop_last does not drop the only batch
  small.fit(bars(15), nullptr, {.epochs = 2});
  EXPECT_EQ(small.steps_done(), 2);
}

TEST(TrainerBatches, AViewOfMemoryGivesTheBitsOfADataset) {
  const Dataset data = bars(95);
  Trainer whole{net, options()}, viewed{net, options()};
  whole.fit(data, &data, {.epochs = 2});
  const std::vector<std::uint8_t> pixels = data.bytes;
  const std::vector<std::int32_t> labels = data.labels;
  const DatasetView view{.name = "view", .sample = data.sample, .bytes = pixels, .labels = labels, .classes = data.classes};
  EXPECT_EQ(view.size(), 95);
  viewed.fit(view, &view, {.epochs = 2});
  EXPECT_EQ(viewed.parameters_hash(), whole.parameters_hash());
  EXPECT_EQ(viewed.history().back().test_loss, whole.history().back().test_loss);
  EXPECT_EQ(viewed.predict(view), whole.predict(data));
  const DatasetView cut{.name = "cut", .sample = data.sample, .bytes = std::span(pixels).first(100), .labels = labels};
  expect_error(ErrorKind::usage, "data set cut: bytes hold 100 values", [&] { viewed.evaluate(cut); });
}

TEST(TrainerBatches, ALastBatchOfOneSampleIsRefusedBeforeTheFirstStep) {
  const Dataset data = bars(81);
  Trainer t{net, options()};
  const std::string before = bytes_of(t.model());
  const auto never = [](const Progress&) { return ADD_FAILURE() << "a step was taken", true; };
  expect_error(ErrorKind::usage, {"[bn2]", "drop_last"}, [&] { t.fit(data, nullptr, {.epochs = 1, .on_step = never}); });
  EXPECT_EQ(t.steps_done(), 0);
  EXPECT_EQ(bytes_of(t.model()), before);

  TrainerOptions o = options();
  o.drop_last = true;
  EXPECT_TRUE(Trainer(net, o).fit(data, nullptr, {.epochs = 1}));
  // One sample of several positions is enough for a BatchNorm2d.
  EXPECT_TRUE(Trainer(Sequential{Conv2d{.out = 2}, BatchNorm{}, Flatten{}, Linear{.out = 3}}, options()).fit(data, nullptr, {.epochs = 1}));
  // A batch of one from the start: when the net is made.
  o.batch = 1;
  expect_error(ErrorKind::usage, {"[bn2]"}, [&] { Trainer(net, o); });
  // Evaluation has no such need.
  EXPECT_EQ(t.evaluate(bars(1)).samples, 1);
}

// ------------------------------------------------------------------------------------------------------------------- evaluation

TEST(TrainerEvaluation, NeverWritesTheState) {
  Trainer t{net, options()};
  t.fit(bars(95), nullptr, {.epochs = 1});
  const std::string model = bytes_of(t.model()), training = bytes_of(t.training());
  t.evaluate(bars(300, 5));
  t.predict(bars(17, 5));
  EXPECT_EQ(bytes_of(t.model()), model);
  EXPECT_EQ(bytes_of(t.training()), training);
}

TEST(TrainerEvaluation, ASamplesResultDependsOnNoOtherSample) {
  const Dataset data = bars(530, 5);  // two whole batches of evaluation and a part
  TrainerOptions o = options();
  Trainer t{net, o};
  t.fit(bars(95), nullptr, {.epochs = 1});
  const std::vector<float> all = t.predict(data);
  ASSERT_EQ(all.size(), 530u * 3);
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {13, 16}, {250, 20}, {511, 19}}) {
    const std::vector<float> part = t.predict(test::slice(data, first, count));
    EXPECT_EQ(part, (std::vector<float>(all.begin() + 3 * first, all.begin() + 3 * (first + count)))) << first << ", " << count;
  }
  o.batch = 7;  // the training batch has no say
  Trainer other{net, o};
  other.load_model(t.model());
  EXPECT_EQ(other.predict(data), all);
  EXPECT_EQ(other.evaluate(data).loss, t.evaluate(data).loss);
}

TEST(TrainerEvaluation, LossAndAccuracyAreThoseOfThePredictions) {
  const Dataset data = bars(300, 5);
  Trainer t{net, options()};
  t.fit(bars(95), nullptr, {.epochs = 3});
  const std::vector<float> y = t.predict(data);
  double loss = 0;
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < data.labels.size(); ++i) {
    const float* row = &y[3 * i];
    double sum = 0;
    std::int32_t best = 0;
    for (std::int32_t c = 0; c < 3; ++c) {
      sum += std::exp(static_cast<double>(row[c]));
      if (row[c] > row[best]) best = c;
    }
    loss += std::log(sum) - static_cast<double>(row[data.labels[i]]);
    correct += best == data.labels[i];
  }
  const Evaluation e = t.evaluate(data);
  EXPECT_NEAR(e.loss, loss / 300, 1e-6 * loss / 300);
  EXPECT_DOUBLE_EQ(e.accuracy, static_cast<double>(correct) / 300);
  EXPECT_EQ(e.samples, 300);
}

TEST(TrainerEvaluation, DataThatDoesNotFitIsRefused) {
  Trainer t{net, options()};
  Dataset bad = bars(20);
  bad.labels[13] = 3;
  expect_error(ErrorKind::data, {"bars", "label 3", "sample 13"}, [&] { t.evaluate(bad); });
  expect_error(ErrorKind::data, {"label 3", "sample 13"}, [&] { t.fit(bad, nullptr, {}); });
  expect_error(ErrorKind::data, {"label 3", "sample 13"}, [&] { t.fit(bars(20), &bad, {}); });
  bad.labels[13] = -1;
  expect_error(ErrorKind::data, {"label -1", "sample 13", "the labels are -1 .. 2"}, [&] { t.predict(bad); });
  Dataset from_one = bars(20);
  for (std::int32_t& label : from_one.labels) ++label;
  expect_error(ErrorKind::data, {"label 3", "outside 0..2", "the labels are 1 .. 3, no label is 0", "out = 4"},
               [&] { t.evaluate(from_one); });
  expect_error(ErrorKind::data, {"bars", "empty"}, [&] { t.evaluate(bars(0)); });
  Dataset other = bars(20);
  other.sample = {1, 16, 9};
  expect_error(ErrorKind::usage, {"(1, 16, 9)", "(2, 9, 8)"}, [&] { t.evaluate(other); });
  Dataset cut = bars(20);
  cut.bytes.pop_back();
  expect_error(ErrorKind::usage, {"2879", "2880"}, [&] { t.evaluate(cut); });
  EXPECT_EQ(t.steps_done(), 0);
}

TEST(TrainerFit, ABatchLargerThanTheSetIsTheSetAndNeedsNoMoreMemory) {
  const Dataset data = bars(48);
  const auto hash_with = [&](std::int64_t batch) {
    TrainerOptions o = options();
    o.batch = batch;
    Trainer t{net, o};
    t.fit(data, &data, {.epochs = 2});
    EXPECT_EQ(t.steps_done(), 2) << batch;
    return t.parameters_hash();
  };
  const std::string expected = hash_with(48);
  for (const std::int64_t batch : {std::int64_t{49}, std::int64_t{65537}, std::int64_t{1} << 36})
    EXPECT_EQ(hash_with(batch), expected) << batch;
}

// ------------------------------------------------------------------------------------------------------------ options and learning

TEST(TrainerOptionsTest, OutOfRangeIsRefusedByName) {
  const auto made_with = [](auto change) {
    return [change] {
      TrainerOptions o = options();
      change(o);
      Trainer{net, o};
    };
  };
  using O = TrainerOptions;
  expect_error(ErrorKind::usage, {"batch", "0"}, made_with([](O& o) { o.batch = 0; }));
  expect_error(ErrorKind::usage, {"lr"}, made_with([](O& o) { o.optimizer = Sgd{.lr = -0.1}; }));
  expect_error(ErrorKind::usage, {"lr"}, made_with([](O& o) { o.optimizer = Sgd{.lr = std::nan("")}; }));
  expect_error(ErrorKind::usage, {"nesterov"}, made_with([](O& o) { o.optimizer = Sgd{.lr = 0.1, .nesterov = true}; }));
  expect_error(ErrorKind::usage, {"beta1"}, made_with([](O& o) { o.optimizer = Adam{.beta1 = 1}; }));
  expect_error(ErrorKind::usage, {"beta2"}, made_with([](O& o) { o.optimizer = Adam{.beta2 = -0.5}; }));
  expect_error(ErrorKind::usage, {"step_epochs"}, made_with([](O& o) { o.schedule.step_epochs = 0; }));
  expect_error(ErrorKind::usage, {"label_smoothing"}, made_with([](O& o) { o.loss = CrossEntropy{.label_smoothing = 1.5}; }));
  expect_error(ErrorKind::usage, {"stddev"}, made_with([](O& o) { o.transform.stddev = {0}; }));
  expect_error(ErrorKind::usage, {"mean", "3", "2"}, made_with([](O& o) { o.transform.mean = {1, 2, 3}; }));
  expect_error(ErrorKind::usage, {"threads"}, made_with([](O& o) { o.executor.threads = -1; }));
  expect_error(ErrorKind::usage, {"mmx"}, made_with([](O& o) { o.executor.isa = "mmx"; }));
  expect_error(ErrorKind::usage, {"[conv1]", "(40, 144)"}, [] { Trainer(Sequential{Flatten{}, Conv2d{.out = 1}}, options()); });
}

TEST(TrainerLearning, CirclesAreToldApart) {
  const DatasetPair data = make_circles(1000, 0.08, 0.5, 0.2, 4);
  const Loss losses[] = {CrossEntropy{}, MeanSquared{}};
  for (const Loss& loss : losses) {
    Trainer t{Sequential{Linear{.out = 16}, BatchNorm{}, nn::Tanh{}, Linear{.out = 2}},
              {.input = {2}, .batch = 50, .optimizer = Adam{.lr = 0.02}, .loss = loss, .seed = 1}};
    t.fit(data, {.epochs = 20});
    const EpochMetrics& last = t.history().back();
    EXPECT_EQ(t.history().size(), 20u);
    EXPECT_EQ(last.epoch, 20);
    EXPECT_GE(last.test_accuracy.value(), 0.97) << "loss kind " << loss.index();
    EXPECT_LT(last.train_loss, 0.5 * t.history().front().train_loss);
    EXPECT_EQ(last.parameters_hash, t.parameters_hash());
    EXPECT_DOUBLE_EQ(last.learning_rate, static_cast<double>(0.02f));
  }
}

}  // namespace
}  // namespace norma
