// The report at its limits: no epoch, very many, values that are not finite, and names that would break out.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "apps/norma/draw/svg.h"
#include "apps/norma/report/run_page.h"
#include "tests/support/run_reports.h"
#include "tests/support/sanitizers.h"
#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(Report, NoEpochOneEpochManyEpochs) {
  for (const int n : {0, 1, 2, 31, 1000}) {
    SCOPED_TRACE(n);
    expect_well_formed(report(n));
  }
  const std::string none = report_html(report(0));
  expect_contains(none, "No epoch has finished yet");
  EXPECT_EQ(count(none, "<svg"), 0u);
  EXPECT_EQ(count(none, "nan"), 0u);
  expect_contains(curves_svg(report(0)), "no epoch finished");
  const std::string one = report_html(report(1));
  expect_contains(one, "<circle class=\"dot s0\"");  // a single value is a point
  EXPECT_EQ(count(one, "nan"), 0u);
  EXPECT_LT(report_html(report(1000)).size(), 2'000'000u);
}

TEST(Report, AnEmptyReportIsStillAPage) { expect_well_formed({}); }

TEST(Report, ValuesThatAreNotFinite) {
  RunReport r = report(5);
  r.epochs[2].train_loss = nan;
  r.epochs[4].test_loss = infinity;
  r.epochs[3].samples_per_second = infinity;
  expect_well_formed(r);
  const std::string html = report_html(r);
  EXPECT_EQ(count(html, "class=\"gap\""), 2u);
  expect_contains(html, "1 of 5 values not finite");
  expect_contains(html, "not finite</td>");
  for (const char* part : {">nan", "nan<", " nan", "inf "}) EXPECT_EQ(count(html, part), 0u) << part;

  for (EpochMetrics& m : r.epochs) {
    m.train_loss = nan;
    m.test_loss = nan;
  }
  expect_well_formed(r);
  expect_contains(report_html(r), "train: no finite value.");
}

TEST(Report, NamesCannotBreakOut) {
  const std::string evil = "\"'><script>alert(1)</script>&amp;<!-- \x01\xff\xc0\xaf \xed\xa0\x80 caf\xc3\xa9";
  RunReport r = report(2);
  r.recipe = r.description = r.status = r.config = r.environment.device = r.epochs[1].parameters_hash = evil;
  r.facts = {{evil, evil}};
  r.model.tensors[2].name = evil + ".weight";
  r.plan[0].path = r.plan[0].call = r.plan[0].detail = r.plan[0].operands[0].value = evil;
  expect_well_formed(r);
  for (const std::string& text : {report_html(r), curves_svg(r)}) {
    EXPECT_EQ(count(text, "<script"), 0u);
    EXPECT_EQ(count(text, "<!--"), 0u);
    EXPECT_EQ(count(text, "\x01"), 0u);
    EXPECT_EQ(count(text, "\xff"), 0u);
    expect_contains(text, "&lt;script&gt;");
    expect_contains(text, "caf\xc3\xa9");
  }
}

TEST(Report, VeryLongNames) {
  RunReport r = report(2);
  r.recipe = std::string(5000, 'n');
  r.plan[0].path = std::string(5000, 'p');
  r.model.tensors[2].name = std::string(5000, 'b') + ".weight";
  expect_well_formed(r);
  expect_contains(report_html(r), r.recipe);
}

// A page is read by people: it may not grow with every epoch.
TEST(Report, OfManyEpochsIsBoundedAndTakesLinearTime) {
  SLOW_UNDER_SANITIZERS("it measures time");
  const auto made = [](int epochs) {
    RunReport r = report(epochs);
    for (EpochMetrics& m : r.epochs) {
      const double noise = 1 + 0.3 * std::sin(static_cast<double>(m.epoch) * 1.7);
      m.train_loss *= noise, *m.test_loss *= noise;
      if (m.epoch % 1000 == 0) m.train_loss = nan;
    }
    r.epochs[static_cast<std::size_t>(epochs) / 3].test_loss = 77.25;
    EpochHealth h;
    for (int k = 0; k < 8; ++k) h.norms.push_back({.layer = "bn" + std::to_string(k), .mean_drift = 0.1 * k, .variance_ratio = 1.1});
    h.findings = {"bn0: its running variance is far from the batch's"};
    for (const EpochMetrics& m : r.epochs) {
      h.epoch = m.epoch;
      h.train_loss = m.train_loss;
      h.norms[0].mean_drift = 0.01 * static_cast<double>(m.epoch % 17);
      r.health.push_back(h);
    }
    const auto start = std::chrono::steady_clock::now();
    const std::string page = report_html(r), picture = curves_svg(r);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(fault(page), std::nullopt);
    EXPECT_LT(page.size(), 1'500'000U) << epochs;
    EXPECT_LT(picture.size(), 300'000U) << epochs;
    EXPECT_NE(page.find("77.2"), std::string::npos) << "the largest value is shown";
    EXPECT_NE(page.find("<th class=\"n\" scope=\"row\">" + std::to_string(epochs) + "</th>"), std::string::npos)
        << "the last epoch is shown";
    return seconds;
  };
  const double few = made(25'000), many = made(100'000);
  EXPECT_LT(many, 12 * few + 1);  // 4 times as many
}

TEST(Charts, ThinnedKeepTheExtremesTheEndsAndTheGaps) {
  Chart c{"Loss", "epoch", {}, {{"train", {}}}};
  for (int i = 0; i < 100'000; ++i) {
    c.x.push_back(i);
    c.series[0].y.push_back(std::sin(i * 0.01));
  }
  c.series[0].y[12'345] = 9, c.series[0].y[54'321] = -9, c.series[0].y[77'777] = nan;
  const Chart thin = thinned(c, 1000);
  EXPECT_LE(thin.x.size(), 1100U);
  EXPECT_EQ(thin.x.front(), 0);
  EXPECT_EQ(thin.x.back(), 99'999);
  for (const double at : {12'345.0, 54'321.0, 77'777.0}) EXPECT_TRUE(std::ranges::binary_search(thin.x, at)) << at;
  for (std::size_t i = 0; i < thin.x.size(); ++i) {
    const double y = c.series[0].y[static_cast<std::size_t>(thin.x[i])];
    EXPECT_TRUE(thin.series[0].y[i] == y || (std::isnan(y) && std::isnan(thin.series[0].y[i]))) << thin.x[i];
  }
  EXPECT_EQ(thinned(thin, 1100).x, thin.x);
}

}  // namespace
}  // namespace norma::app
