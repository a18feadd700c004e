// Trainer::reset_optimizer: from then on the optimizer is a new one, and nothing else is.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "norma/norma.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::bytes_of;
using test::options;

// The Trainers' net without dropout, whose masks depend on the steps done.
const nn::Sequential without_dropout{nn::Conv2d{.out = 5, .kernel = 3},
                                     nn::BatchNorm{},
                                     nn::ReLU{},
                                     nn::MaxPool2d{},
                                     nn::Flatten{},
                                     nn::Linear{.out = 12},
                                     nn::Sigmoid{},
                                     nn::Linear{.out = 3}};

// All kinds, each with everything that depends on its first step or is kept.
const std::vector<Optimizer>& resettable() {
  static const std::vector<Optimizer> all{Sgd{.lr = 0.05, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01},
                                          Sgd{.lr = 0.05, .momentum = 0.9, .nesterov = true},
                                          Adam{.lr = 0.01},
                                          adamw(0.01),
                                          RMSprop{.lr = 1e-3},
                                          RMSprop{.lr = 1e-3, .momentum = 0.5, .centered = true}};
  return all;
}

TrainerOptions with_optimizer(const Optimizer& optimizer) {
  TrainerOptions o = options();
  o.optimizer = optimizer;
  return o;
}

void take_steps(Trainer& t, std::int64_t count, std::uint32_t seed) {
  for (std::int64_t i = 0; i < count; ++i) {
    const Dataset batch = bars(20, seed + static_cast<std::uint32_t>(i));
    t.step({.bytes = batch.bytes, .labels = batch.labels});
  }
}

// The tensors that the optimizer keeps.
std::string moments(const Trainer& t) {
  Checkpoint kept = t.training();
  std::erase_if(kept.tensors, [](const StoredTensor& tensor) { return tensor.dtype != DType::f32; });
  return bytes_of(kept);
}

TEST(TrainerReset, StepsAfterItAreThoseOfANewTrainer) {
  for (const Optimizer& optimizer : resettable()) {
    SCOPED_TRACE(name_of(optimizer) + std::string(", ") + std::to_string(optimizer.index()));
    Trainer t{without_dropout, with_optimizer(optimizer)}, fresh{without_dropout, with_optimizer(optimizer)},
        going_on{without_dropout, with_optimizer(optimizer)};
    const std::string new_moments = moments(t);
    take_steps(t, 5, 100), take_steps(going_on, 5, 100);
    fresh.load_model(t.model());
    t.reset_optimizer();
    EXPECT_EQ(moments(t), new_moments) << "all 0";
    EXPECT_EQ(t.steps_done(), 5);
    take_steps(t, 4, 200), take_steps(fresh, 4, 200), take_steps(going_on, 4, 200);
    EXPECT_EQ(t.parameters_hash(), fresh.parameters_hash());
    EXPECT_EQ(moments(t), moments(fresh));
    EXPECT_NE(t.parameters_hash(), going_on.parameters_hash());
    EXPECT_EQ(t.steps_done(), 9);
  }
}

TEST(TrainerReset, BetweenBackwardAndUpdateTheGradientsStay) {
  const Dataset batch = bars(20);
  const std::vector<float> gradient(60, 0.01f);
  Trainer t{without_dropout, options()}, fresh{without_dropout, options()};
  take_steps(t, 3, 100);
  fresh.load_model(t.model());
  for (Trainer* each : {&t, &fresh}) {
    (void)each->forward({.bytes = batch.bytes});
    each->backward(gradient);
  }
  t.reset_optimizer();
  t.update(), fresh.update();
  EXPECT_EQ(t.parameters_hash(), fresh.parameters_hash());
}

// SGD without momentum keeps nothing and knows no first step: a reset changes no bit of the run. So it moves neither the order of the
// samples, nor dropout, the schedule or the place in an epoch.
TEST(TrainerReset, OnlyTheOptimizerBeginsAnew) {
  const Dataset data = bars(95), test = bars(50, 9);
  TrainerOptions o = with_optimizer(Sgd{.lr = 0.05});
  o.schedule = {.kind = Schedule::Kind::cosine, .warmup_epochs = 0.5};
  Trainer plain{test::net, o}, t{test::net, o};
  plain.fit(data, &test, {.epochs = 3});
  EXPECT_FALSE(t.fit(data, &test, {.epochs = 3, .on_step = [&](const Progress&) { return t.steps_done() < 2; }}));
  t.reset_optimizer();  // in the middle of the first epoch
  EXPECT_TRUE(t.fit(data, &test, {.epochs = 3, .on_epoch = [&](const EpochMetrics&) { t.reset_optimizer(); }}));
  EXPECT_EQ(t.epochs_done(), 3);
  EXPECT_EQ(t.steps_done(), 9);
  EXPECT_EQ(bytes_of(t.model()), bytes_of(plain.model()));
  EXPECT_EQ(t.history().back().train_loss, plain.history().back().train_loss);
}

TEST(TrainerReset, AResumedRunGoesOnToTheBitsOfAnUninterruptedOne) {
  const Dataset data = bars(95);  // three steps an epoch
  for (const Optimizer& optimizer : resettable()) {
    const TrainerOptions o = with_optimizer(optimizer);
    const auto fit = [&](Trainer& t, std::int64_t steps) {
      t.fit(data, nullptr,
            {.epochs = 3,
             .on_step = [&](const Progress&) { return t.steps_done() < steps; },
             .on_epoch =
                 [&](const EpochMetrics& m) {
                   if (m.epoch == 1) t.reset_optimizer();
                 }});
    };
    Trainer whole{test::net, o};
    fit(whole, 99);
    for (const std::int64_t stop : {3, 4, 7}) {
      SCOPED_TRACE(name_of(optimizer) + std::string(", stopped after step ") + std::to_string(stop));
      Trainer first{test::net, o}, second{test::net, o};
      fit(first, stop);
      const Checkpoint saved = first.training();
      ASSERT_NE(saved.find("optimizer_from"), nullptr);
      EXPECT_EQ(saved.find("optimizer_from")->integers(), std::vector<std::int64_t>{3});
      second.load_model(first.model());
      second.load_training(saved);
      fit(second, 99);
      EXPECT_EQ(bytes_of(second.model()), bytes_of(whole.model()));
      EXPECT_EQ(bytes_of(second.training()), bytes_of(whole.training()));
    }
  }
}

// Files that were written before there was a reset are what they were, and so are new ones without it.
TEST(TrainerReset, AStateWithoutItHasNoTraceOfIt) {
  Trainer t{test::net, options()};
  const Checkpoint before = t.training();
  t.reset_optimizer();  // before the first step, when there is nothing to reset
  EXPECT_EQ(bytes_of(t.training()), bytes_of(before));
  take_steps(t, 2, 1);
  EXPECT_EQ(t.training().find("optimizer_from"), nullptr);
  t.reset_optimizer();
  EXPECT_NE(t.training().find("optimizer_from"), nullptr);
  t.load_training(before);
  EXPECT_EQ(bytes_of(t.training()), bytes_of(before));
}

}  // namespace
}  // namespace norma
