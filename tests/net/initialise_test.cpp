// Starting values: range and moments of every initialiser, fans, seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "norma/norma.h"

namespace norma {
namespace {

using nn::BatchNorm;
using nn::Conv2d;
using nn::Linear;
using nn::Sequential;

struct Moments {
  double mean = 0, deviation = 0, low = 1e30, high = -1e30;
};

Moments moments(const std::vector<float>& v) {
  Moments m;
  for (const float x : v) m.mean += static_cast<double>(x) / static_cast<double>(v.size());
  for (const float x : v) {
    m.deviation += (static_cast<double>(x) - m.mean) * (static_cast<double>(x) - m.mean);
    m.low = std::min(m.low, static_cast<double>(x));
    m.high = std::max(m.high, static_cast<double>(x));
  }
  m.deviation = std::sqrt(m.deviation / static_cast<double>(v.size()));
  return m;
}

// Linear (400 -> 300): 120000 draws, so a moment is off by more than 2 % of the deviation once in 10^11 nets.
std::vector<float> weights_of(Init init, std::uint64_t seed = 1) {
  return ModuleRunner{Linear{.out = 300, .weight_init = init}, {2, 400}, {.seed = seed}}.read("fc.weight");
}

TEST(Initialisers, UniformOnesFillTheirRange) {
  const auto expect_uniform = [](Init init, double low, double high, const char* name) {
    const Moments m = moments(weights_of(init));
    const double width = high - low;
    EXPECT_GE(m.low, low - 1e-7) << name;
    EXPECT_LE(m.high, high + 1e-7) << name;
    EXPECT_NEAR(m.low, low, 1e-3 * width) << name;
    EXPECT_NEAR(m.high, high, 1e-3 * width) << name;
    EXPECT_NEAR(m.mean, (low + high) / 2, 0.01 * width) << name;
    EXPECT_NEAR(m.deviation, width / std::sqrt(12.0), 0.01 * width) << name;
  };
  expect_uniform(Init{}, -0.05, 0.05, "standard: 1/sqrt(400)");
  expect_uniform(Init::uniform(-1, 3), -1, 3, "uniform");
  const double xavier = std::sqrt(6.0 / 700), he = std::sqrt(3.0 / 400);
  expect_uniform(Init::xavier_uniform(), -xavier, xavier, "xavier_uniform");
  expect_uniform(Init::xavier_uniform(0.5), -0.5 * xavier, 0.5 * xavier, "xavier_uniform, gain");
  expect_uniform(Init::he_uniform(), -std::sqrt(2.0) * he, std::sqrt(2.0) * he, "he_uniform");
  expect_uniform(Init::he_uniform(1), -he, he, "he_uniform, gain");
}

TEST(Initialisers, NormalOnesHaveTheirMoments) {
  const auto expect_normal = [](Init init, double mean, double deviation, const char* name) {
    const std::vector<float> w = weights_of(init);
    const Moments m = moments(w);
    EXPECT_NEAR(m.mean, mean, 0.02 * deviation) << name;
    EXPECT_NEAR(m.deviation, deviation, 0.02 * deviation) << name;
    double inside = 0, far = 0;  // of one, of three deviations: a uniform or clipped draw fails here
    for (const float x : w) {
      const double z = std::abs(static_cast<double>(x) - mean) / deviation;
      inside += z < 1;
      far += z > 3;
    }
    EXPECT_NEAR(inside / static_cast<double>(w.size()), 0.6827, 0.01) << name;
    EXPECT_NEAR(far / static_cast<double>(w.size()), 0.0027, 0.001) << name;
  };
  expect_normal(Init::normal(0.5, 0.02), 0.5, 0.02, "normal");
  expect_normal(Init::xavier_normal(), 0, std::sqrt(2.0 / 700), "xavier_normal");
  expect_normal(Init::xavier_normal(2), 0, 2 * std::sqrt(2.0 / 700), "xavier_normal, gain");
  expect_normal(Init::he_normal(), 0, std::sqrt(2.0 / 400), "he_normal");
}

TEST(Initialisers, ConstantsFansAndSeeds) {
  for (const float w : weights_of(Init::constant(0.125))) ASSERT_EQ(w, 0.125f);
  EXPECT_EQ(weights_of(Init{}, 7), weights_of(Init{}, 7));
  EXPECT_NE(weights_of(Init{}, 7), weights_of(Init{}, 8));

  // A convolution's fan_in is one group's channels times the kernel; its bias uses the same bound.
  ModuleRunner run{Conv2d{.out = 64, .kernel = {3, 4}, .groups = 2}, {1, 16, 5, 5}};
  const double bound = 1 / std::sqrt(8.0 * 12);
  const Moments w = moments(run.read("conv.weight")), b = moments(run.read("conv.bias"));
  EXPECT_LE(std::max(std::abs(w.low), w.high), bound + 1e-7);
  EXPECT_NEAR(w.deviation, bound / std::sqrt(3.0), 0.03 * bound);
  EXPECT_LE(std::max(std::abs(b.low), b.high), bound + 1e-7);
  EXPECT_GT(b.high, 0.8 * bound);

  ModuleRunner norm{BatchNorm{}, {2, 9}};
  EXPECT_EQ(norm.read("bn.weight"), std::vector<float>(9, 1));
  EXPECT_EQ(norm.read("bn.bias"), std::vector<float>(9, 0));
  EXPECT_EQ(norm.read("bn.running_mean"), std::vector<float>(9, 0));
  EXPECT_EQ(norm.read("bn.running_var"), std::vector<float>(9, 1));

  ModuleRunner started{BatchNorm{.weight_init = Init::normal(0, 0.01), .initial_running_var = 0}, {4, 9}};
  EXPECT_EQ(started.read("bn.running_var"), std::vector<float>(9, 0));
  EXPECT_LT(std::abs(started.read("bn.weight")[0]), 0.06);
  started.write(
      "x", std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3});
  started.step();
  EXPECT_NEAR(started.read("bn.running_var")[0], 0.1 * 5 / 3, 1e-7);  // 0.9 * 0 + 0.1 * unbiased

  const ModuleRunner two{Sequential{Linear{.out = 50}, Linear{.out = 50}}, {1, 50}};
  EXPECT_NE(two.read("fc1.weight"), two.read("fc2.weight"));
}

}  // namespace
}  // namespace norma
