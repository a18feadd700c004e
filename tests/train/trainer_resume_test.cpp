// Trainer's state: stopped and resumed to the same bits, untouched by a step that diverges, and loaded whole or not at all.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
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

// --------------------------------------------------------------------------------------------------------------- stop and resume

// Through files, into a Trainer made afresh.
Trainer saved_and_loaded(const Trainer& from, const TrainerOptions& o) {
  const test::TemporaryFolder folder;
  save_safetensors(folder / "model.safetensors", from.model());
  save_safetensors(folder / "training.safetensors", from.training());
  Trainer to{net, o};
  to.load_model(load_safetensors(folder / "model.safetensors"));
  to.load_training(load_safetensors(folder / "training.safetensors"));
  return to;
}

TEST(TrainerResume, FiveEpochsAreTwoAndThree) {
  const Dataset data = bars(95), test = bars(50, 9);
  const Optimizer optimizers[] = {Adam{.lr = 0.01}, Sgd{.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01}, Sgd{.lr = 0.05},
                                  RMSprop{.lr = 1e-3}, RMSprop{.lr = 1e-3, .momentum = 0.5, .centered = true}};
  std::set<std::size_t> types;
  for (const Optimizer& optimizer : optimizers) types.insert(optimizer.index());
  EXPECT_EQ(types.size(), std::variant_size_v<Optimizer>) << "put one of every type into the list";
  for (const Optimizer& optimizer : optimizers) {
    TrainerOptions o = options();
    o.optimizer = optimizer;
    Trainer whole{net, o}, first{net, o};
    whole.fit(data, &test, {.epochs = 5});
    first.fit(data, &test, {.epochs = 2});
    Trainer second = saved_and_loaded(first, o);
    EXPECT_EQ(second.epochs_done(), 2);
    EXPECT_EQ(second.steps_done(), 6);
    EXPECT_TRUE(second.fit(data, &test, {.epochs = 5}));
    EXPECT_EQ(second.parameters_hash(), whole.parameters_hash());
    EXPECT_EQ(bytes_of(second.model()), bytes_of(whole.model()));
    EXPECT_EQ(bytes_of(second.training()), bytes_of(whole.training()));
    EXPECT_EQ(second.history().back().train_loss, whole.history().back().train_loss);
    EXPECT_EQ(second.history().back().test_loss, whole.history().back().test_loss);
  }
}

TEST(TrainerResume, StoppedAfterAnyStepItGoesOnToTheSameBits) {
  const Dataset data = bars(95);  // three steps an epoch, the last of 15
  TrainerOptions o = options();
  o.schedule = {.kind = Schedule::Kind::cosine, .warmup_epochs = 0.5};
  Trainer whole{net, o};
  whole.fit(data, nullptr, {.epochs = 3});
  for (std::int64_t stop = 1; stop <= 8; ++stop) {
    SCOPED_TRACE("stopped after step " + std::to_string(stop));
    Trainer first{net, o};
    EXPECT_FALSE(first.fit(data, nullptr, {.epochs = 3, .on_step = [&](const Progress&) { return first.steps_done() < stop; }}));
    EXPECT_EQ(first.steps_done(), stop);
    EXPECT_EQ(first.epochs_done(), stop / 3);
    Trainer second = saved_and_loaded(first, o);
    for (Trainer* t : {&first, &second}) {  // in the same process, and from the files
      EXPECT_TRUE(t->fit(data, nullptr, {.epochs = 3}));
      EXPECT_EQ(bytes_of(t->model()), bytes_of(whole.model()));
      EXPECT_EQ(bytes_of(t->training()), bytes_of(whole.training()));
      EXPECT_EQ(t->history().back().train_loss, whole.history().back().train_loss);
      EXPECT_EQ(t->history().back().train_accuracy, whole.history().back().train_accuracy);
    }
  }
}

TEST(TrainerResume, AnotherSetInTheMiddleOfAnEpochAnotherSeedOrAnotherOptimizerAreRefused) {
  const Dataset data = bars(95);
  Trainer t{net, options()};
  t.fit(data, nullptr, {.epochs = 2, .on_step = [](const Progress&) { return false; }});
  expect_error(ErrorKind::data, {"95", "94"}, [&] { t.fit(bars(94), nullptr, {.epochs = 2}); });
  const Checkpoint training = t.training();
  TrainerOptions o = options();
  o.seed = 12;
  expect_error(ErrorKind::usage, {"seed 11", "seed 12"}, [&] { Trainer(net, o).load_training(training); });
  o = options();
  o.optimizer = Sgd{.lr = 0.1, .momentum = 0.9};
  expect_error(ErrorKind::usage, {"state of Adam", "optimizer is SGD"}, [&] { Trainer(net, o).load_training(training); });
}

TEST(TrainerResume, OptimizersWhoseStateHasTheSameNamesAreToldApart) {
  const std::pair<std::string, Optimizer> optimizers[] = {{"SGD", Sgd{.momentum = 0.9}}, {"Adam", Adam{}}, {"AdamW", adamw()}};
  for (const auto& [was, saved] : optimizers)
    for (const auto& [is, now] : optimizers) {
      TrainerOptions o = options();
      o.optimizer = saved;
      Checkpoint training = Trainer(net, o).training();
      o.optimizer = now;
      Trainer t{net, o};
      if (is == was) {
        EXPECT_NO_THROW(t.load_training(training));
      } else {
        expect_error(ErrorKind::usage, {"state of " + was + ",", "optimizer is " + is + ":"}, [&] { t.load_training(training); });
      }
      training.metadata.clear();  // as norma wrote it before
      if ((is == "SGD") == (was == "SGD")) {
        EXPECT_NO_THROW(t.load_training(training));
      }
    }
}

TEST(TrainerResume, NothingIsLeftToDo) {
  Trainer t{net, options()};
  const Dataset data = bars(80);
  EXPECT_TRUE(t.fit(data, nullptr, {.epochs = 2}));
  const std::string before = t.parameters_hash();
  EXPECT_TRUE(t.fit(data, nullptr, {.epochs = 2, .on_step = [](const Progress&) { return ADD_FAILURE() << "a step was taken", true; }}));
  EXPECT_EQ(t.parameters_hash(), before);
}

// ------------------------------------------------------------------------------------------------------------------- divergence

TEST(TrainerDivergence, NamesLayerAndStepAndLeavesTheStateBeforeIt) {
  const Dataset data = bars(95);
  for (const bool check_each : {false, true}) {
    TrainerOptions o = options();
    o.optimizer = Sgd{.lr = 1e30, .momentum = 0.9};
    o.check_each = check_each;
    Trainer t{
        Sequential{Conv2d{.out = 5, .kernel = 3}, BatchNorm{}, ReLU{}, Conv2d{.out = 4, .kernel = 3}, ReLU{}, Flatten{}, Linear{.out = 3}},
        o};
    std::string model = bytes_of(t.model()), training = bytes_of(t.training());
    std::int64_t steps = 0;
    const auto train = [&] {
      t.fit(data, nullptr, {.epochs = 50, .on_step = [&](const Progress&) {
                              model = bytes_of(t.model()), training = bytes_of(t.training());
                              return ++steps < 100;
                            }});
    };
    expect_error(ErrorKind::diverged, {"[", "lower learning rate"}, train);
    expect_error(ErrorKind::diverged, {"step " + std::to_string(steps + 1)}, train);  // tried again, it fails again
    EXPECT_EQ(t.steps_done(), steps);
    EXPECT_EQ(bytes_of(t.model()), model) << "parameters or running statistics were touched by the step that diverged";
    EXPECT_EQ(bytes_of(t.training()), training);
    for (const StoredTensor& s : t.model().tensors) {
      if (s.dtype != DType::f32) continue;
      for (const float v : s.floats()) ASSERT_TRUE(std::isfinite(v)) << s.name;
    }
  }
}

TEST(TrainerDivergence, ASampleWhoseVarianceOverflowsIsNamedAndGoesNowhere) {
  Dataset data;
  data.name = "points";
  data.sample = {2};
  for (int i = 0; i < 40; ++i) {
    data.floats.push_back(static_cast<float>(i % 7) - 3);
    data.floats.push_back(static_cast<float>(i % 5) - 2);
    data.labels.push_back(i % 2);
  }
  for (const float bad : {3e38f, -3e38f}) {
    data.floats[50] = bad;  // the second batch
    Trainer t{Sequential{Linear{.out = 4}, BatchNorm{}, ReLU{}, Linear{.out = 2}},
              {.input = {2}, .batch = 20, .optimizer = Sgd{.lr = 0.1}, .shuffle = false}};
    std::string model;
    expect_error(ErrorKind::diverged, {"step 2"}, [&] {
      t.fit(data, nullptr, {.epochs = 1, .on_step = [&](const Progress&) { return model = bytes_of(t.model()), true; }});
    });
    EXPECT_EQ(bytes_of(t.model()), model);
    EXPECT_EQ(t.read("bn1.num_batches_tracked").at(0), 1.f);
    data.floats[50] = 0;  // mended, it goes on
    EXPECT_TRUE(t.fit(data, nullptr, {.epochs = 1}));
    EXPECT_EQ(t.steps_done(), 2);
  }
}

// ------------------------------------------------------------------------------------------------------------------- load_model

TEST(TrainerLoadModel, WhatDoesNotFitIsNamedAndNothingIsChanged) {
  Trainer trained{net, options()}, t{net, options()};
  trained.fit(bars(80), nullptr, {.epochs = 1});
  const Checkpoint good = trained.model();
  const std::string before = bytes_of(t.model());
  const auto position = [&](const char* name) {
    for (std::size_t i = 0; i < good.tensors.size(); ++i)
      if (good.tensors[i].name == name) return static_cast<std::ptrdiff_t>(i);
    throw std::runtime_error(name);
  };
  const auto loaded_with = [&](auto change) {
    return [&, change] {
      Checkpoint c = good;
      change(c.tensors);
      t.load_model(c);
    };
  };
  using Tensors = std::vector<StoredTensor>;
  expect_error(ErrorKind::data, {"bn2.running_var"}, loaded_with([&](Tensors& v) { v.erase(v.begin() + position("bn2.running_var")); }));
  expect_error(ErrorKind::data, {"fc9.bias"},
               loaded_with([&](Tensors& v) { v.push_back(StoredTensor::from("fc9.bias", {2}, std::vector<float>(2))); }));
  expect_error(ErrorKind::data, {"fc2.weight", "(12, 3)", "(3, 12)"}, loaded_with([&](Tensors& v) {
                 v[static_cast<std::size_t>(position("fc2.weight"))] = StoredTensor::from("fc2.weight", {12, 3}, std::vector<float>(36));
               }));
  expect_error(ErrorKind::data, {"bn1.num_batches_tracked", "f32", "i64"}, loaded_with([&](Tensors& v) {
                 v[static_cast<std::size_t>(position("bn1.num_batches_tracked"))] =
                     StoredTensor::from("bn1.num_batches_tracked", {}, std::vector<float>(1));
               }));
  EXPECT_EQ(bytes_of(t.model()), before);
  t.load_model(good);
  EXPECT_EQ(bytes_of(t.model()), bytes_of(good));
  EXPECT_EQ(t.parameters_hash(), trained.parameters_hash());
}

TEST(TrainerLoadModel, AnotherArchitectureIsRefused) {
  Trainer t{net, options()};
  Trainer other{Sequential{Flatten{}, Linear{.out = 3}}, options()};
  expect_error(ErrorKind::data, {"conv1.weight"}, [&] { t.load_model(other.model()); });
  expect_error(ErrorKind::data, {"fc1.weight", "(12, 45)", "(3, 144)"}, [&] { other.load_model(t.model()); });
}

}  // namespace
}  // namespace norma
