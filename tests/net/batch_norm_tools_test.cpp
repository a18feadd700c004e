// Recalibrated running statistics and folded batch norms, against double.
#include "norma/batch_norm_tools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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
using nn::Residual;
using nn::Sequential;
using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;

Trainer trained(const Module& module, const Dataset& data) {
  Trainer t{module, options()};
  t.fit(data, nullptr, {.epochs = 2});
  return t;
}

TEST(Recalibrate, GivesThePopulationsMeanAndVarianceLayerByLayer) {
  const Dataset data = bars(300);
  Trainer t = trained(net, data);
  const std::vector<float> old_mean = t.read("bn1.running_mean"), old_var = t.read("bn1.running_var");
  const std::vector<RecalibratedBatchNorm> layers = t.recalibrate(data);
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[1].layer, "bn2");
  double mean_change = 0;
  for (const char* layer : {"bn1", "bn2"}) {  // bn2's input depends on what bn1 holds now
    const std::string input = layer == std::string("bn1") ? "conv1" : "fc1";
    const ObservedValue x = t.observe(Mode::eval, data, std::vector<std::string>{input}).values.at(input);
    const std::vector<float> mean = t.read(std::string(layer) + ".running_mean"), var = t.read(std::string(layer) + ".running_var");
    const std::size_t channels = mean.size(), plane = x.values.size() / 300 / channels;
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0, squares = 0;
      const auto each = [&](auto f) {
        for (std::size_t n = 0; n < 300; ++n)
          for (std::size_t p = 0; p < plane; ++p) f(static_cast<double>(x.values[(n * channels + c) * plane + p]));
      };
      const double count = 300 * static_cast<double>(plane);
      each([&](double v) { sum += v; });
      each([&](double v) { squares += (v - sum / count) * (v - sum / count); });
      EXPECT_NEAR(mean[c], sum / count, 1e-7 * (1 + std::abs(sum / count))) << layer << c;
      EXPECT_NEAR(var[c], squares / (count - 1), 2e-7 * squares / count) << layer << c;
      if (c < old_mean.size() && channels == old_mean.size())
        mean_change = std::max(
            mean_change, std::abs(sum / count - static_cast<double>(old_mean[c])) / std::sqrt(static_cast<double>(old_var[c]) + 1e-5));
    }
  }
  EXPECT_NEAR(layers[0].mean_change, mean_change, 1e-9 + 1e-6 * mean_change);
  EXPECT_GT(mean_change, 0);
}

TEST(Recalibrate, DependsOnNoBatchSizeAndIsIdempotent) {
  const Dataset data = bars(300);
  Trainer a = trained(net, data);
  TrainerOptions o = options();
  o.batch = 7, o.executor.threads = 3;
  Trainer b{net, o};
  b.load_model(a.model());
  a.recalibrate(data), b.recalibrate(data);
  const std::string once = bytes_of(a.model());
  EXPECT_EQ(bytes_of(b.model()), once);
  for (const RecalibratedBatchNorm& l : a.recalibrate(data)) EXPECT_LT(l.mean_change, 1e-6) << l.layer;
  EXPECT_EQ(bytes_of(a.model()), once);
  a.recalibrate(data, 100);
  EXPECT_NE(bytes_of(a.model()), once);
}

TEST(Recalibrate, WhatCannotBeRecalibratedIsRefusedAndNothingChanges) {
  const Dataset data = bars(60);
  Trainer t = trained(net, data);
  const std::string before = bytes_of(t.model());
  expect_error(ErrorKind::usage, {"60 samples", "61"}, [&] { t.recalibrate(data, 61); });
  expect_error(ErrorKind::usage, {"[bn2]", "one value"}, [&] { t.recalibrate(data, 1); });
  EXPECT_EQ(bytes_of(t.model()), before) << "bn1 was done before bn2 was refused";
  EXPECT_TRUE(Trainer(Sequential{Flatten{}, Linear{.out = 3}}, options()).recalibrate(data).empty());
}

// The folded weights are those of double arithmetic, and the outputs the same but for rounding.
TEST(Fold, GivesTheSameOutputsWithoutBatchNorms) {
  const Dataset data = bars(100);
  Trainer t = trained(net, data);
  const Checkpoint model = t.model();
  const FoldedBatchNorms folded = fold_batch_norms(t.unfused_graph(), model);
  ASSERT_EQ(folded.folded.size(), 2u);
  EXPECT_EQ(folded.folded[1].norm + folded.folded[1].into, "bn2fc1");
  EXPECT_TRUE(folded.kept.empty());
  for (const StoredTensor& tensor : folded.model.tensors) EXPECT_FALSE(tensor.name.starts_with("bn")) << tensor.name;
  const auto of = [&](const char* name) { return model.find(name)->floats(); };
  const std::vector<float> gamma = of("bn1.weight"), beta = of("bn1.bias"), mean = of("bn1.running_mean"), var = of("bn1.running_var");
  const std::vector<float> w = folded.model.find("conv1.weight")->floats(), b = folded.model.find("conv1.bias")->floats();
  for (std::size_t c = 0; c < 5; ++c) {
    const double scale = static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(var[c]) + 1e-5);
    EXPECT_EQ(w[18 * c + 7], static_cast<float>(static_cast<double>(of("conv1.weight")[18 * c + 7]) * scale));
    EXPECT_EQ(b[c], static_cast<float>((static_cast<double>(of("conv1.bias")[c]) - static_cast<double>(mean[c])) * scale +
                                       static_cast<double>(beta[c])));
  }
  Trainer without{folded.net, options()};
  without.load_model(folded.model);
  const std::vector<float> y = t.predict(data), z = without.predict(data);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(z[i], y[i], 1e-5);
}

TEST(Fold, SaysWhatItCannotFoldAndAddsABiasWhereThereIsNone) {
  const Dataset data = bars(100);
  const Sequential odd{
      Sequential::Child{"stem", Sequential{Conv2d{.out = 4, .kernel = 3, .bias = false}, BatchNorm{.affine = false}, ReLU{}}},
      BatchNorm{},  // after an activation
      Residual{Sequential{Conv2d{.out = 4, .kernel = 1}, BatchNorm{}, ReLU{}}},
      Conv2d{.out = 4},
      Residual{BatchNorm{}},  // the convolution's output is read twice
      Flatten{},
      Linear{.out = 6},
      BatchNorm{.track_running_stats = false},
      Linear{.out = 3}};
  Trainer t = trained(odd, data);
  const FoldedBatchNorms folded = fold_batch_norms(t.unfused_graph(), t.model());
  std::string done, kept;
  for (const auto& f : folded.folded) done += f.norm + ">" + f.into + " ";
  for (const auto& k : folded.kept) kept += k.norm + ": " + k.reason + "\n";
  EXPECT_EQ(done, "stem/bn1>stem/conv1 residual1/body/bn1>residual1/body/conv1 ");
  EXPECT_NE(kept.find("bn1: it follows stem/relu1"), std::string::npos) << kept;
  EXPECT_NE(kept.find("residual2/body: what conv1 gives is also read without it"), std::string::npos) << kept;
  EXPECT_NE(kept.find("bn2: it has no running statistics"), std::string::npos) << kept;
  EXPECT_NE(folded.model.find("stem.conv1.bias"), nullptr);
  Trainer without{folded.net, options()};
  without.load_model(folded.model);
  const std::vector<float> y = t.predict(data), z = without.predict(data);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(z[i], y[i], 1e-4 * (1 + std::abs(y[i])));
}

TEST(Fold, ACheckpointOfAnotherNetIsRefused) {
  const Trainer t{net, options()};
  Checkpoint model = t.model();
  std::erase_if(model.tensors, [](const StoredTensor& s) { return s.name == "bn2.running_var"; });
  expect_error(ErrorKind::data, {"bn2.running_var"}, [&] { fold_batch_norms(t.unfused_graph(), model); });
  model = t.model();
  for (StoredTensor& s : model.tensors)
    if (s.name == "bn1.running_var") s = StoredTensor::from(s.name, s.shape, std::vector<float>(s.bytes.size() / sizeof(float), -1));
  expect_error(ErrorKind::diverged, {"bn1.running_var", "-1"}, [&] { fold_batch_norms(t.unfused_graph(), model); });
  const auto first = [&] { return std::ranges::find(model.tensors, 4U, [](const StoredTensor& s) { return s.shape.size(); }); };
  model = t.model();
  std::swap(first()->shape[0], first()->shape[1]);
  expect_error(ErrorKind::data, {first()->name, "the net needs"}, [&] { fold_batch_norms(t.unfused_graph(), model); });
  model = t.model();
  model.tensors.push_back(model.tensors[0]);
  expect_error(ErrorKind::data, {model.tensors[0].name, "twice"}, [&] { fold_batch_norms(t.unfused_graph(), model); });
}

}  // namespace
}  // namespace norma
