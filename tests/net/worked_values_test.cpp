// Modules alone on numbers that can be followed by hand: batch norm, layer, instance and group norm, max pooling.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "norma/norma.h"
#include "tests/support/value_checks.h"

namespace norma {
namespace {

using nn::BatchNorm;
using nn::GroupNorm;
using nn::InstanceNorm;
using nn::LayerNorm;
using nn::MaxPool2d;
using nn::Sequential;
using test::expect_near;
using test::range;

TEST(BatchNormWorked, ArangeOfTwentySeven) {
  ModuleRunner run{BatchNorm{}, {1, 3, 3, 3}};
  run.write("x", range(27));
  run.write("dy", std::vector<float>(27, 1));
  run.step();
  std::vector<float> y;
  for (int c = 0; c < 3; ++c)
    for (const float v : {-1.5492f, -1.1619f, -0.7746f, -0.3873f, 0.f, 0.3873f, 0.7746f, 1.1619f, 1.5492f}) y.push_back(v);
  expect_near(run.read("y"), y, 5e-5f, "y");
  expect_near(run.read("bn.running_mean"), {0.4f, 1.3f, 2.2f}, 1e-6f, "running_mean");  // 0.1 of the means 4, 13, 22
  expect_near(run.read("bn.running_var"), {1.65f, 1.65f, 1.65f}, 1e-6f, "running_var");
  expect_near(run.read("dx"), std::vector<float>(27, 0), 1e-6f, "dx of a constant dy");
}

TEST(BatchNormWorked, RunningStatisticsOverTwoBatches) {
  const auto two_steps = [](std::optional<double> momentum, const std::vector<float>& mean, const std::vector<float>& var) {
    ModuleRunner run{BatchNorm{.momentum = momentum}, {4, 1}};
    run.write("dy", std::vector<float>(4, 0));
    for (std::size_t step = 0; step < 2; ++step) {
      run.write("x", range(4, step == 0 ? 1.f : 11.f));
      run.step();
      EXPECT_NEAR(run.read("bn.running_mean").at(0), mean[step], 1e-6f * mean[step]) << "step " << step;
      EXPECT_NEAR(run.read("bn.running_var").at(0), var[step], 1e-6f) << "step " << step;
      EXPECT_EQ(run.read("bn.num_batches_tracked").at(0), static_cast<float>(step + 1));
    }
  };
  two_steps(0.1, {0.25f, 1.475f}, {1.0666666f, 1.1266665f});
  two_steps(std::nullopt, {2.5f, 7.5f}, {1.6666666f, 1.6666666f});
}

TEST(BatchNormWorked, AConstantChannelIsExactlyBeta) {
  for (const float value : {0.1f, -3e4f, 1e-20f}) {
    ModuleRunner run{BatchNorm{}, {19, 2, 3, 1}};
    run.write("x", std::vector<float>(19 * 6, value));
    run.write("bn.bias", std::vector<float>{0.25f, -4});
    run.write("dy", std::vector<float>(19 * 6, 0));
    run.step();
    const std::vector<float> y = run.read("y");
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], i / 3 % 2 == 0 ? 0.25f : -4.f) << value << " at " << i;
    EXPECT_EQ(run.read("bn.running_var").at(0), 0.9f);  // 0.9 * 1 + 0.1 * exactly 0
  }
}

// PyTorch does the same: variance 0 and eps 0 give 0, not 0 times infinity; in the gradients, too.
TEST(BatchNormWorked, WithoutEpsAConstantChannelIsExactlyBetaInEveryNorm) {
  for (const Module& m : {Module{BatchNorm{.eps = 0}}, Module{LayerNorm{.eps = 0}}, Module{GroupNorm{.groups = 2, .eps = 0}},
                          Module{InstanceNorm{.eps = 0, .affine = true}}}) {
    ModuleRunner run{Sequential{{"norm", m}}, {19, 2, 3, 1}};
    run.write("x", std::vector<float>(19 * 6, 0.1f));
    run.write("norm.bias", std::vector<float>(static_cast<std::size_t>(run.shape("norm.bias").elements()), 0.25f));
    run.write("dy", range(19 * 6));
    run.step();
    for (const float y : run.read("y")) ASSERT_EQ(y, 0.25f);
    for (const char* gradient : {"dx", "norm.weight.grad"})
      for (const float g : run.read(gradient)) ASSERT_EQ(g, 0) << gradient;
  }
  ModuleRunner evaluation{BatchNorm{.eps = 0}, {2, 1}, {.mode = Mode::eval}};
  evaluation.write("bn.running_mean", std::vector<float>{0.1f});
  evaluation.write("bn.running_var", std::vector<float>{0});
  evaluation.write("x", std::vector<float>{0.1f, 0.3f});
  evaluation.write("dy", std::vector<float>{1, 1});
  evaluation.step();
  EXPECT_EQ(evaluation.read("y"), (std::vector<float>{0, 0}));
}

TEST(BatchNormWorked, EvaluationUsesAndNeverWritesTheRunningStatistics) {
  ModuleRunner run{BatchNorm{.eps = 0}, {2, 1, 1, 2}, {.mode = Mode::eval}};
  run.write("bn.running_mean", std::vector<float>{2});
  run.write("bn.running_var", std::vector<float>{4});
  run.write("x", range(4));
  run.write("dy", std::vector<float>(4, 1));
  run.step();
  expect_near(run.read("y"), {-1, -0.5f, 0, 0.5f}, 1e-7f, "y");
  expect_near(run.read("dx"), {0.5f, 0.5f, 0.5f, 0.5f}, 1e-7f, "dx");
  EXPECT_EQ(run.read("bn.running_mean").at(0), 2.f);
  EXPECT_EQ(run.read("bn.running_var").at(0), 4.f);
  EXPECT_EQ(run.read("bn.num_batches_tracked").at(0), 0.f);
}

// Outputs and gradients for dy = 1, computed from the formulas in double; torch.nn gives the same.
void expect_activation(const Module& module, const std::vector<float>& y, const std::vector<float>& dx) {
  ModuleRunner run{module, {6, 1}};
  run.write("x", std::vector<float>{-3, -1, -0.25f, 0, 0.5f, 2});
  run.write("dy", std::vector<float>(6, 1));
  run.step();
  expect_near(run.read("y"), y, 3e-7f, "y");
  expect_near(run.read("dx"), dx, 5e-7f, "dx");
}

TEST(ActivationWorked, Gelu) {
  using Approximate = nn::GELU::Approximate;
  expect_activation(nn::GELU{}, {-0.0040496941f, -0.15865525f, -0.10032342f, 0, 0.34573123f, 1.9544997f},
                    {-0.011945647f, -0.083315471f, 0.30462665f, 0.5f, 0.86749512f, 1.0852318f});
  expect_activation(nn::GELU{.approximate = Approximate::tanh}, {-0.0036373921f, -0.15880801f, -0.10032465f, 0, 0.34571401f, 1.9545977f},
                    {-0.011584167f, -0.082964084f, 0.3046459f, 0.5f, 0.8673699f, 1.0860993f});
}

TEST(ActivationWorked, Silu) {
  expect_activation(nn::SiLU{}, {-0.14227762f, -0.26894142f, -0.10945587f, 0, 0.31122967f, 1.7615942f},
                    {-0.088104106f, 0.072329488f, 0.37628998f, 0.5f, 0.73996119f, 1.0907842f});
}

TEST(ActivationWorked, LeakyRelu) {
  expect_activation(nn::LeakyReLU{}, {-0.03f, -0.01f, -0.0025f, 0, 0.5f, 2}, {0.01f, 0.01f, 0.01f, 0.01f, 1, 1});
  expect_activation(nn::LeakyReLU{-2}, {6, 2, 0.5f, 0, 0.5f, 2}, {-2, -2, -2, -2, 1, 1});
}

TEST(ActivationWorked, Elu) {
  expect_activation(nn::ELU{}, {-0.95021293f, -0.63212056f, -0.22119922f, 0, 0.5f, 2}, {0.049787068f, 0.36787944f, 0.77880078f, 1, 1, 1});
  expect_activation(nn::ELU{.alpha = 2}, {-1.9004259f, -1.2642411f, -0.44239843f, 0, 0.5f, 2},
                    {0.099574137f, 0.73575888f, 1.5576016f, 2, 1, 1});
}

TEST(MaxPoolWorked, TheFirstOfEqualsGetsTheGradientAndNaNWins) {
  ModuleRunner run{MaxPool2d{.kernel = 2}, {1, 1, 2, 4}};
  run.write("x", std::vector<float>{5, 5, 1, std::nanf(""), 5, 5, 2, 3});
  run.write("dy", std::vector<float>{7, 8});
  run.step();
  const std::vector<float> y = run.read("y");
  EXPECT_EQ(y.at(0), 5.f);
  EXPECT_TRUE(std::isnan(y.at(1)));
  EXPECT_EQ(run.read("dx"), (std::vector<float>{7, 0, 0, 8, 0, 0, 0, 0}));
}

// The sample has mean 2.5 and biased variance 1.25, whatever the others are.
TEST(GroupNormWorked, EverySampleIsNormalisedByItself) {
  ModuleRunner run{GroupNorm{.groups = 2, .eps = 0}, {3, 4}};
  run.write("x", std::vector<float>{1, 4, 10, 10, 100, 101, -3, 3, 7, 7, 5, 6});
  run.write("gn.weight", std::vector<float>{1, 2, 1, 1});
  run.write("gn.bias", std::vector<float>{0, 0, 0.5f, 0});
  run.write("dy", std::vector<float>(12, 0));
  EXPECT_NO_THROW(run.step());
  const std::vector<float> y = run.read("y");
  expect_near({y[0], y[1], y[4], y[5], y[6], y[7]}, {-1, 2, -1, 2, -0.5f, 1}, 1e-6f, "y");
}

TEST(GroupNormWorked, EqualElementsAreExactlyBeta) {
  for (const float value : {0.1f, -3e4f, 1e-20f})
    for (const Module& m : {Module{LayerNorm{}}, Module{GroupNorm{.groups = 2}}, Module{InstanceNorm{.affine = true}}}) {
      ModuleRunner run{Sequential{{"norm", m}}, {19, 2, 13, 7}};
      run.write("x", std::vector<float>(19 * 2 * 91, value));
      run.write("norm.bias", std::vector<float>(static_cast<std::size_t>(run.shape("norm.bias").elements()), 0.25f));
      run.write("dy", std::vector<float>(19 * 2 * 91, 0));
      run.step();
      for (const float y : run.read("y")) ASSERT_EQ(y, 0.25f) << value;
      for (const float v : run.read("norm.rstd")) ASSERT_FLOAT_EQ(v, 316.22777f) << value;
    }
}

// The variance as batch norm's: relative error 1e-6 for means up to 1e5 standard deviations.
TEST(GroupNormWorked, ALargeMeanCostsTheVarianceNothing) {
  constexpr std::int64_t n = 17, c = 2, h = 21, w = 19, elements = c * h * w;
  for (const double mean : {0.0, 1.0, 1e3, 1e5}) {
    ModuleRunner run{Sequential{{"norm", LayerNorm{.eps = 0}}}, {n, c, h, w}};
    std::vector<float> x;
    for (std::int64_t i = 0; i < n * elements; ++i)
      x.push_back(static_cast<float>(mean + std::sqrt(12.0) * (static_cast<double>((i * 7919 + i * i % 1013) % 10007) / 10007 - 0.5)));
    run.write("x", x);
    run.write("dy", std::vector<float>(x.size(), 0));
    run.step();
    const std::vector<float> rstd = run.read("norm.rstd");
    for (std::size_t i = 0; i < n; ++i) {
      double m = 0, v = 0;
      for (std::size_t k = 0; k < elements; ++k) m += static_cast<double>(x[i * elements + k]) / elements;
      for (std::size_t k = 0; k < elements; ++k) v += std::pow(static_cast<double>(x[i * elements + k]) - m, 2) / elements;
      EXPECT_NEAR(1 / std::pow(static_cast<double>(rstd[i]), 2) / v, 1, 1e-6) << "mean " << mean << ", sample " << i;
    }
  }
}

TEST(InstanceNormWorked, RunningStatisticsAreTheSamplesAverages) {
  ModuleRunner run{InstanceNorm{.momentum = 0.5, .track_running_stats = true}, {2, 1, 1, 3}};
  run.write("x", std::vector<float>{1, 2, 3, 10, 14, 18});  // means 2 and 14, unbiased variances 1 and 16
  run.write("dy", std::vector<float>(6, 0));
  run.step();
  EXPECT_FLOAT_EQ(run.read("in.running_mean").at(0), 4);
  EXPECT_FLOAT_EQ(run.read("in.running_var").at(0), 0.5f * 1 + 0.5f * 8.5f);
  EXPECT_EQ(run.read("in.num_batches_tracked").at(0), 1.f);
}

}  // namespace
}  // namespace norma
