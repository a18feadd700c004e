// The results of `norma explain batchnorm`: the figures of the tutorial, by hand and by the kernels.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/norma/explain/batch_norm.h"

namespace norma::app {
namespace {

void expect_values(const std::vector<double>& got, const std::vector<double>& wanted, double tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], tolerance) << i;
}

TEST(Explain, MeansOverOneAxis) {
  const Tensor x = arange({2, 3, 2, 1});
  EXPECT_EQ(mean_over(x, 0).shape, (Shape{1, 3, 2, 1}));
  EXPECT_EQ(mean_over(x, 0).values, (std::vector<double>{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(mean_over(x, 1).values, (std::vector<double>{2, 3, 8, 9}));
  EXPECT_EQ(mean_over(x, 2).values, (std::vector<double>{0.5, 2.5, 4.5, 6.5, 8.5, 10.5}));
  EXPECT_EQ(mean_over(x, 3).values, x.values);
}

TEST(Explain, TheTutorialsFigures) {
  const BatchNormExplained e = explain_batch_norm();
  expect_values(e.features.mean, {2, 3}, 0);
  expect_values(e.features.variance, {8.0 / 3, 8.0 / 3}, 1e-15);
  expect_values(e.features.normalised.values, {-1.2247, -1.2247, 0, 0, 1.2247, 1.2247}, 5e-5);
  expect_values(e.image.mean, {4, 13}, 0);
  EXPECT_NEAR(e.image.normalised.values.front(), -1.5492, 5e-5);
  EXPECT_NEAR(e.image.normalised.values.back(), 1.5492, 5e-5);
  for (const NormalisedBatch* b : {&e.features, &e.image, &e.channels}) {  // by hand and by the kernels
    expect_values(b->norma_mean, b->mean, 1e-5);
    expect_values(b->norma_variance, b->variance, 1e-5);
    expect_values(b->norma_scaled.values, b->scaled.values, 1e-5);
    EXPECT_LT(b->difference, 1e-5);
  }
  ASSERT_EQ(e.channels.means.size(), 3U);
  EXPECT_EQ(e.channels.means[0].values, e.channels.x.values);
  EXPECT_EQ(e.channels.means[1].values, (std::vector<double>{3, 4, 5, 12, 13, 14, 21, 22, 23}));
  EXPECT_EQ(e.channels.means[2].values, (std::vector<double>{4, 13, 22}));
  expect_values(e.pooled.back().values, {4, 13, 22}, 1e-5);
  expect_values(e.running.mean, {0.4, 1.3, 2.2}, 1e-6);
  expect_values(e.running.variance, {1.65, 1.65, 1.65}, 1e-6);
  EXPECT_NEAR(e.running.first_in_evaluation, -0.4 / std::sqrt(1.65 + e.eps), 1e-5);
  EXPECT_NEAR(e.running.first_after_many, -4 / std::sqrt(7.5 + e.eps), 1e-5);
  expect_values(e.saturation.tanh, {0.9999, 1.0}, 5e-5);
  expect_values(e.saturation.slope, {1.8e-4, 0}, 1e-5);
  expect_values(e.saturation.slope_after, {0.42, 0.42}, 5e-3);
  expect_values(e.undone.y.values, e.undone.x.values, 1e-5);
  expect_values(e.undone.beta, {4, 13}, 0);
  ASSERT_EQ(e.momenta.size(), 3U);
  for (std::size_t i = 0; i < e.steps.size(); ++i) {
    EXPECT_NEAR(e.momenta[0].running_mean[i], 4 * (1 - std::pow(0.9, e.steps[i])), 1e-5);
    EXPECT_NEAR(e.momenta[1].running_mean[i], 4 * (1 - std::pow(0.1, e.steps[i])), 1e-5);
    EXPECT_NEAR(e.momenta[2].running_mean[i], 4, 1e-5);
  }
}

TEST(Explain, ReadsIn80ColumnsAndAsJson) {
  const BatchNormExplained e = explain_batch_norm();
  std::istringstream text(to_text(e));
  for (std::string line; std::getline(text, line);) {
    EXPECT_LE(line.size(), 80U) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << line;
  }
  for (const char* part : {"-1.5492", "0.9999", "0.4000  1.3000  2.2000", "1.6500  1.6500  1.6500", "       4      13      22\n"})
    EXPECT_NE(text.str().find(part), std::string::npos) << part;
  const auto json = nlohmann::json::parse(to_json(e));
  EXPECT_EQ(json["channels"]["means_axis_by_axis"][2]["values"], (std::vector<double>{4, 13, 22}));
  EXPECT_EQ(json["momentum"]["runs"].size(), 3U);
  EXPECT_TRUE(json["momentum"]["runs"][2]["momentum"].is_null());
}

}  // namespace
}  // namespace norma::app
