// Charts: their axes, their words, and where their points lie.
#include "apps/norma/draw/svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

// Numbers that a damaged metrics.jsonl can hold: no difference and no power of ten in an axis is 0 or infinite.
TEST(Axis, EveryDoubleHasTicks) {
  constexpr double tiny = 5e-324, huge = std::numeric_limits<double>::max();
  for (const auto& [lo, hi] : {std::pair{0.0, tiny},
                               {tiny, 2 * tiny},
                               {-tiny, tiny},
                               {-huge, huge},
                               {1.0, std::nextafter(1.0, 2.0)},
                               {huge, huge},
                               {huge, -huge},
                               {nan, nan}}) {
    const Axis a = linear_axis(lo, hi, 5);
    EXPECT_TRUE(std::isfinite(a.lo) && std::isfinite(a.hi) && a.lo < a.hi && a.ticks.size() < 100) << lo << " " << hi;
    if (!(lo > 0 && lo <= hi)) continue;
    const Axis b = log_axis(lo, hi);
    EXPECT_TRUE(std::isfinite(b.lo) && std::isfinite(b.hi)) << lo << " " << hi;
  }
}

TEST(Axis, LinearTicksAreNiceAndEncloseTheValues) {
  for (const auto& [lo, hi] :
       {std::pair(0.2993, 0.9732), {0.0, 1e-5}, {-3.0, 7.0}, {0.999, 1.001}, {5.0, 5.0}, {0.0, 0.0}, {-2.0, -2.0}, {1e9, 3e9}}) {
    const Axis a = linear_axis(lo, hi, 5);
    SCOPED_TRACE(testing::Message() << lo << " to " << hi);
    ASSERT_GE(a.ticks.size(), 2u);
    EXPECT_LE(a.ticks.size(), 8u);
    EXPECT_LE(a.lo, lo + 1e-9 * std::fabs(lo));
    EXPECT_GE(a.hi, hi - 1e-9 * std::fabs(hi));
    EXPECT_LT(a.lo, a.hi);
    EXPECT_EQ(a.ticks.front(), a.lo);
    EXPECT_EQ(a.ticks.back(), a.hi);
    const double step = a.ticks[1] - a.ticks[0], leading = step / std::pow(10, std::floor(std::log10(step) + 1e-6));
    EXPECT_TRUE(std::fabs(leading - 1) < 1e-5 || std::fabs(leading - 2) < 1e-5 || std::fabs(leading - 5) < 1e-5) << step;
  }
  EXPECT_EQ(linear_axis(0.2993, 0.9732, 5).decimals, 1);
}

TEST(Axis, LogTicks) {
  for (const auto& [lo, hi] : {std::pair(0.0005, 2.3), {1e-12, 1e12}, {0.3, 0.31}, {1.0, 1.0}, {1.0, 10.0}, {1e-300, 1e300}}) {
    const Axis a = log_axis(lo, hi);
    SCOPED_TRACE(testing::Message() << lo << " to " << hi);
    EXPECT_TRUE(a.logarithmic);
    EXPECT_LE(a.lo, lo * (1 + 1e-6));
    EXPECT_GE(a.hi, hi * (1 - 1e-6));
    EXPECT_LT(a.lo, a.hi);
    EXPECT_GE(a.ticks.size(), 2u);
    EXPECT_LE(a.ticks.size(), 9u);
  }
}

TEST(Chart, ALogarithmicAxisOnlyWhereItHelps) {
  Chart c{"Loss", "epoch", {1, 2}, {{"train", {2.0, 0.01}}}, Chart::Scale::automatic, Chart::Unit::number, false};
  EXPECT_EQ(count(inline_svg(c), "logarithmic"), 1u);
  c.series[0].y = {2.0, 0.5};
  EXPECT_EQ(count(inline_svg(c), "logarithmic"), 0u);
  c.series[0].y = {2.0, 0.0};
  EXPECT_EQ(count(inline_svg(c), "logarithmic"), 0u);
}

TEST(Chart, WordsNameTheExtremesThatAreNotAtTheEnds) {
  const Chart c{"Loss", "epoch", {1, 2, 3, 4}, {{"train", {2.0, 0.5, 4.0, 1.0}}}, Chart::Scale::linear, Chart::Unit::number, false};
  EXPECT_EQ(describe(c), "train: 2.0000 at epoch 1, 1.0000 at epoch 4, lowest 0.5000 at epoch 2, highest 4.0000 at epoch 3.");
  const Chart flat{"Learning rate", "epoch", {1, 2}, {{"rate", {0.001, 0.001}}}, Chart::Scale::linear, Chart::Unit::rate, true};
  EXPECT_EQ(describe(flat), "rate: 0.001 throughout.");
  const Chart one{"Loss", "epoch", {1}, {{"train", {2.0}}, {"test", {nan}}}, Chart::Scale::linear, Chart::Unit::number, false};
  EXPECT_EQ(describe(one), "train: 2.0000 at epoch 1. test: no finite value.");
}

TEST(Chart, PointsLieWhereTheyBelong) {
  const Chart c{"Loss", "epoch", {1, 3}, {{"train", {0.0, 1.0}}}, Chart::Scale::linear, Chart::Unit::number, false};
  expect_contains(inline_svg(c), "d=\"M52.0 212.0L388.0 30.0\"");  // from the plot's lower left corner to the upper right
}

TEST(Svg, ValuesOfWordsArePointsSideBySide) {
  Chart c{"accuracy", "norm", {1, 2}, {{"relu", {0.5, 0.6}, {0.4, 0.5}, {0.6, 0.7}}, {"tanh", {0.3, nan}, {0.2, nan}, {0.4, nan}}}};
  c.labels = {"none", "batch"};
  const std::string svg = inline_svg(c);
  expect_contains(svg, ">none</text>");
  expect_contains(svg, ">batch</text>");
  expect_contains(svg, "d=\"M131.5 ");  // a quarter of the plot, 52 to 388, and half a step of 9 to the left
  expect_contains(svg, "d=\"M140.5 ");
  EXPECT_EQ(count(svg, "class=\"region"), 0u);
  EXPECT_EQ(count(svg, "class=\"line s0\" d=\"M"), 2u + 1u);  // spreads, and the legend's
  expect_contains(describe(c), "relu: 0.5000 at norm none");
}

TEST(Svg, TellsEightSeriesApartAndDrawsTheirSpread) {
  Chart c{"accuracy", "lr", {0.01, 0.1, 1, 10}, {}};
  c.logarithmic_x = true;
  for (int k = 0; k < 8; ++k) {
    const double v = 0.1 * k + 0.05;
    c.series.push_back({"a rather long name " + std::to_string(k), {v, v, v, v}, {v - 0.01, v - 0.01, v - 0.01, v - 0.01}, {v, v, v, v}});
  }
  const Panel p = panel(c);
  for (int k = 0; k < 8; ++k) {
    EXPECT_NE(p.body.find("line s" + std::to_string(k)), std::string::npos);
    EXPECT_NE(p.body.find("region s" + std::to_string(k)), std::string::npos);
  }
  EXPECT_GT(p.height, panel(Chart{"t", "epoch", {1}, {{"a", {1}}}}).height);  // the legend's rows moved the plot down
  EXPECT_NE(p.body.find(">0.01<"), std::string::npos);                        // the values of x are the ticks
  EXPECT_NE(p.body.find("(0.0400 to 0.0500)"), std::string::npos) << p.body.substr(0, 4000);
}

}  // namespace
}  // namespace norma::app
