// The health of batch norms: figures from a trained net, each sentence from its figures, and that looking changes nothing.
#include "apps/norma/health/health.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/norma/report/health_section.h"
#include "norma/norma.h"
#include "tests/support/trainer_cases.h"

namespace norma::app {
namespace {

using test::bars;
using test::bytes_of;
using test::net;
using test::options;

std::int64_t total(const Histogram& h) { return std::accumulate(h.counts.begin(), h.counts.end(), std::int64_t{0}); }

TEST(Histogram, CountsOnGridsThatNest) {
  std::vector<float> values;
  for (int i = -300; i <= 500; ++i) values.push_back(static_cast<float>(i) * 0.01f);
  values.push_back(std::numeric_limits<float>::infinity());
  const Histogram h = histogram(values);
  EXPECT_EQ(h.width, 0.25);  // 8 / 40, up to a power of two
  EXPECT_EQ(h.first, -12);
  EXPECT_EQ(h.counts.size(), 33u);
  EXPECT_EQ(total(h), 801);
  EXPECT_EQ(h.not_finite, 1);
  const Histogram c = coarsen(h, 1);
  EXPECT_EQ(c.first, -3);
  ASSERT_EQ(c.counts.size(), 9u);
  EXPECT_EQ(c.counts[0], 100);  // [-3, -2)
  EXPECT_EQ(c.counts[8], 1);    // 5 alone
  const Histogram same = histogram(std::vector<float>(7, 0.3f));
  EXPECT_EQ(same.counts, std::vector<std::int64_t>{7});
  EXPECT_TRUE(histogram(std::vector<float>{}).counts.empty());
  const Histogram m = magnitudes(std::vector<float>{0, 0.1f, -100, 0});
  EXPECT_EQ(m.zeros, 2);
  EXPECT_EQ(total(m), 2);
  EXPECT_NEAR(m.width * static_cast<double>(m.first), -1, m.width);
}

// A line of health.jsonl can be read back whatever the activation.
TEST(Health, EveryActivationThroughJson) {
  for (const ActivationTraits& t : activation_table) {
    if (t.act == Activation::none) continue;
    EpochHealth h{.epoch = 1};
    h.activations = {{.layer = "a", .kind = t.act, .saturated = 1}};
    EXPECT_EQ(health_from_json(to_json(h)).activations.at(0).kind, t.act) << t.name;
    if (!t.saturates()) h.activations[0].saturated = 0;
    EXPECT_EQ(findings(h, {.batch = 32, .dropouts = {}}).size(), t.saturates() ? 1u : 0u) << t.name;
  }
}

TEST(Health, LookingChangesNothingAndTheFiguresAreTheNets) {
  const Dataset data = bars(95);
  Trainer plain{net, options()}, watched{net, options()};
  plain.fit(data, nullptr, {.epochs = 2});
  const HealthProbe probe(watched, data, 40);
  std::vector<EpochHealth> all;
  watched.fit(data, nullptr, {.epochs = 2, .on_epoch = [&](const EpochMetrics& m) { all.push_back(probe.look(m.epoch)); }});
  EXPECT_EQ(bytes_of(watched.model()) + bytes_of(watched.training()), bytes_of(plain.model()) + bytes_of(plain.training()));
  ASSERT_EQ(all.size(), 2u);
  const EpochHealth& h = all[1];
  EXPECT_EQ(h.samples, 40);
  EXPECT_EQ(h.evaluation_loss, watched.evaluate(test::slice(data, 0, 40)).loss);
  ASSERT_EQ(h.norms.size(), 2u);
  EXPECT_EQ(h.norms[0].layer + h.norms[0].input + h.norms[0].activation, "bn1conv1relu1");
  EXPECT_EQ(h.norms[1].updates, 6);
  const std::vector<std::string> names{"bn2.mean", "bn2.var", "sigmoid1"};
  const Observation observed = watched.observe(Mode::train, data, names, 0, 40);
  const std::vector<float> mean = watched.read("bn2.running_mean"), var = watched.read("bn2.running_var");
  double drift = 0, ratio = 0, saturated = 0;
  for (std::size_t c = 0; c < 12; ++c) {
    drift += std::abs(static_cast<double>(observed.values.at("bn2.mean").values[c]) - static_cast<double>(mean[c])) /
             std::sqrt(static_cast<double>(var[c]) + 1e-5) / 12;
    ratio +=
        std::log((static_cast<double>(observed.values.at("bn2.var").values[c]) * 40 / 39 + 1e-5) / (static_cast<double>(var[c]) + 1e-5)) /
        12;
  }
  for (const float y : observed.values.at("sigmoid1").values) saturated += y < 0.05f || y > 0.95f ? 1.0 / 480 : 0;
  EXPECT_NEAR(*h.norms[1].mean_drift, drift, 1e-12);
  EXPECT_NEAR(*h.norms[1].variance_ratio, std::exp(ratio), 1e-12);
  ASSERT_EQ(h.activations.size(), 2u);
  EXPECT_NEAR(h.activations[1].saturated, saturated, 1e-12);
  EXPECT_EQ(total(h.norms[1].before), 40 * 12);
  EXPECT_EQ(total(h.norms[0].gradient_before) + h.norms[0].gradient_before.zeros, 40 * 5 * 7 * 6);

  const nlohmann::ordered_json j = to_json(h);
  EXPECT_EQ(to_json(health_from_json(nlohmann::ordered_json::parse(j.dump()))), j);
}

// A norm that trains by its running statistics has none of the batch.
TEST(Health, FrozenStatisticsAreNotCompared) {
  const Dataset data = bars(95);
  TrainerOptions frozen = options();
  frozen.groups = {{.pattern = "bn*", .frozen_statistics = true}, {.pattern = "bn2.*", .frozen_statistics = false}};
  Trainer watched{net, frozen};
  const EpochHealth h = HealthProbe(watched, data, 40, frozen.groups).look(1);
  ASSERT_EQ(h.norms.size(), 2u);
  EXPECT_FALSE(h.norms[0].updates || h.norms[0].momentum || h.norms[0].mean_drift || h.norms[0].variance_ratio);
  EXPECT_TRUE(h.norms[0].gamma);
  EXPECT_EQ(total(h.norms[0].gradient_after) + h.norms[0].gradient_after.zeros, total(h.norms[0].after));
  EXPECT_TRUE(h.norms[1].updates && h.norms[1].mean_drift && h.norms[1].variance_ratio);
}

// A net of two batch norms that do well.
EpochHealth healthy() {
  EpochHealth h{.epoch = 3, .samples = 128, .train_loss = 0.5, .train_accuracy = 0.9, .evaluation_loss = 0.52, .evaluation_accuracy = 0.89};
  for (const char* layer : {"bn1", "bn2"})
    h.norms.push_back(
        {.layer = layer, .activation = "relu", .channels = 8, .updates = 200, .momentum = 0.1, .mean_drift = 0.05, .variance_ratio = 1.1});
  return h;
}

std::string said(const EpochHealth& h, const HealthContext& context = {.batch = 128, .dropouts = {}}) {
  std::string all;
  for (const std::string& s : findings(h, context)) all += s + "\n";
  return all;
}

testing::AssertionResult has(const std::string& text, const std::string& part) {
  return text.find(part) == std::string::npos ? testing::AssertionFailure() << "no \"" << part << "\" in: " << text
                                              : testing::AssertionSuccess();
}

TEST(HealthFindings, NothingOfANetThatDoesWell) { EXPECT_EQ(said(healthy()), ""); }

TEST(HealthFindings, YoungStatistics) {
  EpochHealth h = healthy();
  h.evaluation_loss = 0.9, h.evaluation_accuracy = 0.5;
  h.norms[1].updates = 12, h.norms[1].momentum = 0.01;
  EXPECT_TRUE(
      has(said(h), "the loss of the same 128 samples is 0.5000 in training mode and 0.9000 in evaluation mode (accuracy 90 % and 50 %)"));
  EXPECT_TRUE(
      has(said(h), "running statistics of bn2 have seen 12 updates at momentum 0.01: they still hold 89 % of their initial values"));
  EXPECT_FALSE(has(said(h), "of bn1"));
  h.norms[1].momentum = {};  // a cumulative average keeps nothing
  EXPECT_TRUE(has(said(h), "the cause is none of these"));
  h.evaluation_loss = 0.52;  // no gap: nothing to explain
  h.norms[1].momentum = 0.01;
  EXPECT_EQ(said(h), "");
}

TEST(HealthFindings, StatisticsThatLag) {
  EpochHealth h = healthy();
  h.evaluation_loss = 0.9;
  h.norms[0].mean_drift = 0.8, h.norms[0].variance_ratio = 0.4;
  EXPECT_TRUE(
      has(said(h), "bn1 are not those of its input now: the probe's mean is off by 0.80 standard deviations, its variance is 0.40 times"));
  EXPECT_TRUE(has(said(h), "at momentum 0.1 they are an average over about 10 batches"));
  h.norms[0].momentum = {};
  EXPECT_TRUE(has(said(h), "a cumulative average weighs all 200 updates alike"));
  h.norms[0].mean_drift = 0.25, h.norms[0].variance_ratio = 1;  // as far as chance goes with 128 samples
  EXPECT_FALSE(has(said(h), "bn1 are not"));
}

TEST(HealthFindings, SmallBatches) {
  EpochHealth h = healthy();
  h.evaluation_loss = 0.9;
  EXPECT_TRUE(
      has(said(h, {.batch = 4, .dropouts = {}}), "batches of 4 samples: batch statistics are noisy, a channel's mean by up to 0.50"));
  EXPECT_FALSE(has(said(h, {.batch = 16, .dropouts = {}}), "noisy"));
}

TEST(HealthFindings, Dropout) {
  EpochHealth h = healthy();
  h.evaluation_loss = 0.2;
  EXPECT_TRUE(has(said(h, {.batch = 128, .dropouts = {{"dropout1", 0.5}}}), "dropout: in training dropout1 sets 50 % of its input to 0"));
  h.evaluation_loss = 0.9;
  EXPECT_FALSE(has(said(h, {.batch = 128, .dropouts = {{"dropout1", 0.5}}}), "dropout: in training"));
  h.norms[1].evaluation_variance_ratio = 0.62;
  EXPECT_TRUE(has(said(h), "dropout comes before bn2: in evaluation, without it, the variance of its input is 0.62 times the running one"));
}

TEST(HealthFindings, DeadSwitchedOffAndSaturated) {
  EpochHealth h = healthy();
  h.norms[0].dead = {2, 5};
  h.norms[1].switched_off = {7};
  h.norms[1].before.not_finite = 3;
  h.activations = {{.layer = "sigmoid1", .kind = Activation::sigmoid, .saturated = 0.63},
                   {.layer = "relu1", .kind = Activation::relu, .saturated = 0.6}};
  EXPECT_TRUE(has(said(h), "bn1: 2 of 8 channels are dead (2, 5): relu is 0 for all 128 samples of the probe"));
  EXPECT_TRUE(has(said(h), "bn2: 1 of 8 channels has a gamma below 0.01 (7)"));
  EXPECT_TRUE(has(said(h), "bn2: 3 values of its input are not finite"));
  EXPECT_TRUE(has(said(h), "sigmoid1: 63 % of its outputs are below 0.05 or above 0.95"));
  EXPECT_FALSE(has(said(h), "relu1: 60 %"));
}

TEST(HealthReport, ShowsFiguresSentencesAndHistograms) {
  EXPECT_EQ(health_section({}), "");
  std::vector<EpochHealth> epochs;
  for (int e = 1; e <= 60; ++e) {
    epochs.push_back(healthy());
    epochs.back().epoch = e;
    epochs.back().norms[0].before = histogram(std::vector<float>{-1, 0, 0.5f, static_cast<float>(e)});
    epochs.back().activations = {{.layer = "<relu>", .kind = Activation::relu, .saturated = 0.6}};
  }
  epochs.back().findings = {"a < b"};
  epochs[4].findings = {"an earlier one"};
  const std::string html = health_section(epochs);
  for (const char* part :
       {"Batch norms after epoch 60", "0.0500", "&lt;relu&gt;", "60.00 %", "a &lt; b", "an earlier one", "bn1: input", "epoch 60: 5 %"})
    EXPECT_TRUE(has(html, part));
  EXPECT_FALSE(has(html, "bn1: output")) << "a histogram without values";
  EXPECT_LT(html.size(), 200'000u);
  const Panel p = panel(HistogramsByEpoch{"x", {7}, {histogram(std::vector<float>{1, 1, 1})}});
  EXPECT_TRUE(has(p.words, "Epoch 7: nine tenths from 1"));
}

TEST(HealthShift, IsTheMeanOverChannelsInDeviationsOfBefore) {
  EpochHealth before, after;
  before.epoch = 1, after.epoch = 2;
  EXPECT_FALSE(input_shift(before, after));
  before.activations = {{.layer = "a", .mean = {1, 2, 3}, .deviation = {2, 0, 0.5}}, {.layer = "b", .mean = {0}, .deviation = {1}}};
  after.activations = {{.layer = "a", .mean = {0, 9, 4}, .deviation = {1, 1, 1}}, {.layer = "b", .mean = {-0.5}, .deviation = {1}}};
  EXPECT_DOUBLE_EQ(input_shift(before, after).value(), (0.5 + 2 + 0.5) / 3);  // the channel that did not vary is left out
  EXPECT_EQ(health_from_json(to_json(after)).activations[0].mean, after.activations[0].mean);
}

}  // namespace
}  // namespace norma::app
