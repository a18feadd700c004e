// Training states that were changed: each is refused by what is wrong in it, or is harmless.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "norma/norma.h"
#include "src/train/saved_counters.h"
#include "tests/support/expect_error.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;

// Stopped before the first step, after the second of an epoch of three, and after an epoch; one with an optimizer that was reset.
std::vector<Checkpoint> states() {
  std::vector<Checkpoint> all;
  for (const std::int64_t steps : {0, 2, 3, 5}) {
    Trainer t{net, options()};
    if (steps) t.fit(bars(95), nullptr, {.epochs = 3, .on_step = [&](const Progress&) { return t.steps_done() < steps; }});
    if (steps == 5) t.reset_optimizer(), t.fit(bars(95), nullptr, {.epochs = 3, .on_step = [&](const Progress&) { return false; }});
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
  if (const StoredTensor* from = c.find("optimizer_from")) counters.at.optimizer_from = from->integers()[0];
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
    if (!state.find(name)) continue;  // of an optimizer that was not reset
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
  const Checkpoint reset = states()[3];
  for (const std::int64_t v : {0, 7})
    expect_error(ErrorKind::data, {"optimizer_from is " + std::to_string(v), "1..6", "step is 6"},
                 [&] { t.load_training(with_counter(reset, "optimizer_from", v)); });
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

}  // namespace
}  // namespace norma
