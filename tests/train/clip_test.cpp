// Clipping of gradients: PyTorch's arithmetic, alike in fit and in steps of one's own; misuse.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/own_steps.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::expect_error;

Batch whole(const Dataset& d) { return {.bytes = d.bytes, .labels = d.labels}; }

TrainerOptions clipped(Clip clip, double rate = 0.5) {
  TrainerOptions o = test::options();
  o.optimizer = Sgd{.lr = rate};
  o.clip = clip;
  return o;
}

// The update of plain SGD at rate 1 is the gradient: w - g.
std::vector<float> moved(const Dataset& data, Clip clip, const std::vector<ParameterGroup>& groups = {}) {
  TrainerOptions o = clipped(clip, 1);
  o.groups = groups;
  Trainer trainer{test::net, o};
  std::vector<float> before, all;
  const auto read = [&](std::vector<float>& to) {
    for (const ParameterInfo& p : trainer.graph().parameters())
      if (!p.buffer)
        for (const float v : trainer.read(p.name)) to.push_back(v);
  };
  read(before);
  trainer.step(whole(data));
  read(all);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = before[i] - all[i];
  return all;
}

double norm(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(sum);
}

TEST(Clip, ByNormScalesAllGradientsAlike) {
  const Dataset data = bars(40);
  const std::vector<float> plain = moved(data, {}), half = moved(data, {.norm = norm(plain) / 2}),
                           all = moved(data, {.norm = norm(plain) * 2});
  ASSERT_GT(norm(plain), 0.01);
  EXPECT_EQ(plain, all);
  for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(half[i], plain[i] / 2, 1e-6) << i;
}

TEST(Clip, FrozenLayersAreNotOfTheNorm) {
  const Dataset data = bars(40);
  for (const char* pattern : {"conv1.*", "*.bias"}) {
    const std::vector<ParameterGroup> groups{{.pattern = pattern, .rate = 0}};
    const std::vector<float> plain = moved(data, {}, groups), half = moved(data, {.norm = norm(plain) / 2}, groups);
    for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(half[i], plain[i] / 2, 1e-6) << pattern << " " << i;
  }
}

TEST(Clip, ByValueBoundsEachGradient) {
  const Dataset data = bars(40);
  const std::vector<float> plain = moved(data, {});
  const float most = *std::ranges::max_element(plain), bound = most / 4;
  const std::vector<float> some = moved(data, {.value = static_cast<double>(bound)});
  int at_bound = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    ASSERT_NEAR(some[i], std::clamp(plain[i], -bound, bound), 1e-6) << i;
    at_bound += std::abs(plain[i]) > bound;
  }
  EXPECT_GT(at_bound, 0);
  // Both: first by value.
  const std::vector<float> both = moved(data, {.norm = norm(some) / 4, .value = static_cast<double>(bound)});
  for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(both[i], some[i] / 4, 1e-6) << i;
}

TEST(Clip, StepsOfOnesOwnGiveTheBitsOfFit) {
  const Dataset data = bars(80);
  const TrainerOptions o = clipped({.norm = 0.2, .value = 0.05});
  Trainer fitted{test::net, o}, stepped{test::net, o}, unclipped{test::net, clipped({})};
  fitted.fit(data, nullptr, {.epochs = 1});
  unclipped.fit(data, nullptr, {.epochs = 1});
  test::for_each_batch(stepped, data, 0, o.batch, [&](const Batch& b) { stepped.step(b); });
  EXPECT_EQ(fitted.parameters_hash(), stepped.parameters_hash());
  EXPECT_NE(fitted.parameters_hash(), unclipped.parameters_hash());
}

// update clips what backward and set_gradient left; two backward passes are clipped together.
TEST(Clip, UpdateClipsTheSumOfAllPasses) {
  const nn::Sequential line{nn::Linear{.out = 1, .bias = false}};
  Trainer trainer{line, {.input = {2}, .optimizer = Sgd{.lr = 1}, .clip = {.norm = 5}}};
  const std::vector<float> before = trainer.read("fc1.weight"), x{3, 4}, one{1};
  for (const bool again : {false, true}) {
    trainer.forward({.floats = x});
    trainer.backward(one, again);
  }
  EXPECT_EQ(trainer.read("fc1.weight.grad"), (std::vector<float>{6, 8}));  // norm 10
  trainer.update();
  const std::vector<float> after = trainer.read("fc1.weight");
  EXPECT_NEAR(before[0] - after[0], 3, 1e-5);
  EXPECT_NEAR(before[1] - after[1], 4, 1e-5);
}

TEST(Clip, IsPartOfThePlan) {
  const TrainerOptions o = clipped({.norm = 1});
  EXPECT_NE(print(*compile(test::net, o, Mode::train)).find("clip_gradients"), std::string::npos);
  EXPECT_EQ(print(*compile(test::net, clipped({}), Mode::train)).find("clip_gradients"), std::string::npos);
}

TEST(Clip, RefusesBoundsThatAreNone) {
  for (const double bound : {0.0, -1.0, 1e-50, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ErrorKind::usage, "clip: norm must be", [&] { Trainer{test::net, clipped({.norm = bound})}; });
    expect_error(ErrorKind::usage, "clip: value must be", [&] { Trainer{test::net, clipped({.value = bound})}; });
  }
}

}  // namespace
}  // namespace norma
