// Trainer's state: stopped and resumed to the same bits, untouched by a step that diverges, and loaded whole or not at all.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "src/train/saved_counters.h"
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

// ------------------------------------------------------------------------------------------------------- a state that was changed

// Stopped before the first step, after the second of an epoch of three, and after an epoch.
std::vector<Checkpoint> states() {
  std::vector<Checkpoint> all;
  for (const std::int64_t steps : {0, 2, 3, 5}) {
    Trainer t{net, options()};
    if (steps) t.fit(bars(95), nullptr, {.epochs = 3, .on_step = [&](const Progress&) { return t.steps_done() < steps; }});
    all.push_back(t.training());
  }
  return all;
}

std::size_t place(const Checkpoint& c, std::string_view name) {
  for (std::size_t i = 0; i < c.tensors.size(); ++i)
    if (c.tensors[i].name == name) return i;
  throw std::runtime_error(std::string(name));
}

Checkpoint with_counter(Checkpoint c, const std::string& name, std::int64_t value) {
  c.tensors[place(c, name)] = StoredTensor::from(name, {}, std::span<const std::int64_t>{&value, 1});
  return c;
}

// Its counters as they are, and the checksum that belongs to them.
Checkpoint with_checksum(Checkpoint c) {
  SavedCounters counters;
  std::int64_t SavedCounters::*const own[] = {&SavedCounters::epochs_done, &SavedCounters::epoch_samples, &SavedCounters::epoch_batch};
  std::size_t i = 0;
  for (const char* name : {"epochs_done", "epoch_samples", "epoch_batch"}) counters.*own[i++] = c.find(name)->integers()[0];
  using kernels::StepState;
  std::int64_t StepState::*const of_epoch[] = {&StepState::step,    &StepState::position, &StepState::batch,
                                               &StepState::samples, &StepState::correct,  &StepState::counted};
  i = 0;
  for (const char* name : {"step", "position", "batch", "samples", "correct", "counted"})
    counters.at.*of_epoch[i++] = c.find(name)->integers()[0];
  counters.at.seed = static_cast<std::uint64_t>(c.find("seed")->integers()[0]);
  counters.at.loss_sum = std::bit_cast<double>(c.find("loss_sum_bits")->integers()[0]);
  Checkpoint made;
  append(counters, made);
  return with_counter(std::move(c), "counters_checksum", made.find("counters_checksum")->integers()[0]);
}

// A counter and its values that are not its own.
void for_each_forgery(const Checkpoint& state, const std::function<void(const std::string&, std::int64_t)>& f) {
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max(), least = std::numeric_limits<std::int64_t>::min();
  for (const std::string& name : counter_names()) {
    const std::int64_t own = state.find(name)->integers().at(0);
    for (const std::int64_t v : {std::int64_t{-1}, std::int64_t{0}, own == largest ? least : own + 1, own == least ? largest : own - 1,
                                 std::int64_t{1} << 31, std::int64_t{1} << 40, largest, least})
      if (v != own) f(name, v);
  }
}

TEST(TrainerCounters, EveryChangedCounterIsRefusedAndNothingIsChanged) {
  for (const Checkpoint& state : states()) {
    Trainer t{net, options()};
    const std::string before = bytes_of(t.training());
    for_each_forgery(state, [&](const std::string& name, std::int64_t v) {
      SCOPED_TRACE(name + " = " + std::to_string(v) + ", step " + std::to_string(state.find("step")->integers()[0]));
      expect_error(name == "seed" ? ErrorKind::usage : ErrorKind::data, {}, [&] {
        try {
          t.load_training(with_counter(state, name, v));
        } catch (const Error& e) {
          if (name != "epoch_batch") throw;
          throw Error(ErrorKind::data, e.what());  // in the middle of an epoch another batch size is the caller's fault
        }
      });
    });
    EXPECT_EQ(bytes_of(t.training()), before);
    t.load_training(state);
    EXPECT_EQ(bytes_of(t.training()), bytes_of(state));
  }
}

// Whoever forges the checksum, too, or saved before there was one: what is accepted leads to no place outside the set.
TEST(TrainerCounters, AChangeBehindTheChecksumIsRefusedOrHarmless) {
  const Dataset data = bars(95);
  int refused = 0, accepted = 0;
  for (const Checkpoint& state : states()) {
    Checkpoint old = state;
    old.tensors.erase(old.tensors.begin() + static_cast<std::ptrdiff_t>(place(old, "counters_checksum")));
    old.tensors.erase(old.tensors.begin() + static_cast<std::ptrdiff_t>(place(old, "epoch_batch")));
    Trainer{net, options()}.load_training(old);
    for_each_forgery(state, [&](const std::string& name, std::int64_t v) {
      if (name == "seed" || name == "counters_checksum") return;
      std::vector<Checkpoint> forged{with_checksum(with_counter(state, name, v))};
      if (name != "epoch_batch") forged.push_back(with_counter(old, name, v));
      for (const Checkpoint& c : forged) {
        Trainer t{net, options()};
        try {
          t.load_training(c);
          t.fit(data, nullptr, {.epochs = t.epochs_done() + 1, .on_step = [](const Progress&) { return false; }});
          ++accepted;
        } catch (const Error& e) {
          EXPECT_TRUE(e.kind() == ErrorKind::data || e.kind() == ErrorKind::usage) << e.what();
          ++refused;
        }
      }
    });
  }
  EXPECT_GT(refused, 4 * accepted);
}

TEST(TrainerCounters, WhatIsWrongIsNamed) {
  const Checkpoint state = states()[1];
  Trainer t{net, options()};
  const auto refused = [&](const char* name, std::int64_t v, std::initializer_list<std::string> words) {
    expect_error(ErrorKind::data, words, [&] { t.load_training(with_counter(state, name, v)); });
  };
  refused("step", -3, {"step is -3"});
  refused("batch", 99999, {"batch is 99999", "step is 2"});
  refused("position", std::int64_t{1} << 40, {"position is 1099511627776", "batch 2 of 95 samples in batches of 40", "80"});
  refused("samples", 81, {"samples is 81", "80"});
  refused("epochs_done", -1, {"epochs_done is -1"});
  refused("counted", 81, {"counted is 81", "0..80"});
  refused("correct", 81, {"correct is 81"});
  refused("loss_sum_bits", std::bit_cast<std::int64_t>(std::nan("")), {"loss_sum"});
  refused("counters_checksum", 1, {"checksum"});
}

TEST(TrainerCounters, OfAnotherBatchSizeTheyGoOnBetweenEpochsOnly) {
  TrainerOptions o = options();
  o.batch = 32;
  const Dataset data = bars(95);
  const std::vector<Checkpoint> all = states();
  expect_error(ErrorKind::usage, {"after 2 batches of 40 samples", "batch size is 32", "go on with 40"},
               [&] { Trainer(net, o).load_training(all[1]); });
  Trainer between{net, o};
  between.load_training(all[2]);
  EXPECT_TRUE(between.fit(data, nullptr, {.epochs = 2}));
  Trainer again{net, o};
  again.load_training(between.training());  // its epochs had 3 and 3 batches, of 40 and of 32
  EXPECT_EQ(again.steps_done(), 6);
  o.batch = 4000;  // of a set that fits into one batch, any larger size is the same
  Trainer whole{net, o};
  whole.fit(data, nullptr, {.epochs = 2});
  o.batch = 95;
  Trainer{net, o}.load_training(whole.training());
}

TEST(TrainerCounters, OptimizerStateIsFiniteAndOfThisOptimizer) {
  const Checkpoint state = states()[2];
  const auto loaded_with = [&](const std::string& name, float value) {
    return [&, name, value] {
      Checkpoint c = state;
      StoredTensor& t = c.tensors[place(c, name)];
      std::vector<float> values = t.floats();
      values.back() = value;
      t = StoredTensor::from(name, t.shape, std::span<const float>(values));
      Trainer(net, options()).load_training(c);
    };
  };
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()})
    for (const char* name : {"exp_avg.bn1.weight", "exp_avg_sq.fc2.bias"}) expect_error(ErrorKind::data, {name}, loaded_with(name, bad));
  expect_error(ErrorKind::data, {"exp_avg_sq.conv1.weight", "-0.5"}, loaded_with("exp_avg_sq.conv1.weight", -0.5f));
  loaded_with("exp_avg.conv1.weight", -0.5f)();
  TrainerOptions o = options();
  o.optimizer = Sgd{.lr = 0.1};
  Checkpoint unnamed = state;
  unnamed.metadata.clear();
  expect_error(ErrorKind::data, {"exp_avg.conv1.weight"}, [&] { Trainer(net, o).load_training(unnamed); });
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
