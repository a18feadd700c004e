// The report: well-formed, complete, self-contained, and safe whatever the names in it are.
#include "apps/norma/report/run_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "apps/norma/draw/markup.h"
#include "apps/norma/draw/svg.h"
#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

EpochMetrics epoch(std::int64_t n) {
  EpochMetrics m;
  m.epoch = n;
  m.train_loss = 0.75 / static_cast<double>(n);
  m.train_accuracy = 1 - 0.3 / static_cast<double>(n);
  m.test_loss = m.train_loss + 0.0625;
  m.test_accuracy = m.train_accuracy - 0.01;
  m.seconds = 1.5;
  m.train_seconds = 1.25;
  m.samples_per_second = 48000;
  m.learning_rate = 0.001;
  m.parameters_hash = "9f86d081884c7d65";
  return m;
}

StoredTensor floats(const std::string& name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
  return StoredTensor::from(name, std::move(shape), std::span<const float>(values));
}

RunReport report(int epochs) {
  RunReport r;
  r.recipe = "mnist-lenet-bn";
  r.description = "LeNet with batch norm";
  r.status = "finished";
  r.epochs_planned = epochs;
  for (int e = 1; e <= epochs; ++e) r.epochs.push_back(epoch(e));
  r.parameter_count = 44426;
  r.facts = {{"Data", "mnist, 60000 + 10000 samples"}};
  r.config = "[train]\nepochs = 5 # \"five\"\n";
  r.environment.norma_version = "0.1.0";
  r.environment.device = "cpu (avx512, 2 threads)";
  const std::vector<std::int64_t> batches = {1175};
  r.model.tensors = {floats("conv1.weight", {2, 1, 1, 1}, {1, 2}),
                     floats("conv1.bias", {2}, {1, 2}),
                     floats("bn1.weight", {2}, {0.5f, 1.5f}),
                     floats("bn1.bias", {2}, {-0.25f, 0.75f}),
                     floats("bn1.running_mean", {2}, {3, 5}),
                     floats("bn1.running_var", {2}, {0.125f, 8}),
                     StoredTensor::from("bn1.num_batches_tracked", {}, std::span<const std::int64_t>(batches))};
  PlanLine line{"conv2d_forward", "conv1", "5x5", {}, 3538944, 44236800};
  line.operands = {{"y", "conv1", {256, 6, 24, 24}, DType::f32, Region::activations, 0, 3538944, true},
                   {"w", "conv1.weight", {6, 1, 5, 5}, DType::f32, Region::parameters, 0, 600, false}};
  r.plan = {line};
  r.memory.bytes[0] = 177704;
  r.memory.activations_without_reuse = 98'765'432;
  return r;
}

// Returns a fault of the markup, if any. Every tag must be closed in order, attributes quoted and not repeated, no stray < or &.
std::optional<std::string> fault(std::string_view s) {
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto near = [&](std::size_t i) { return " near: " + std::string(s.substr(i, 60)); };
  const auto entities = [&](std::string_view text) {
    for (std::size_t i = text.find('&'); i != std::string_view::npos; i = text.find('&', i + 1)) {
      const std::string_view rest = text.substr(i + 1, 5);
      if (!rest.starts_with("amp;") && !rest.starts_with("lt;") && !rest.starts_with("gt;") && !rest.starts_with("quot;") &&
          !rest.starts_with("#39;"))
        return false;
    }
    return true;
  };
  const auto is_name = [](std::string_view name) {
    const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == ':'; };
    return !name.empty() && std::all_of(name.begin(), name.end(), allowed);
  };
  while (at < s.size()) {
    const std::size_t next = std::min(s.find('<', at), s.size());
    if (!entities(s.substr(at, next - at))) return "stray &" + near(at);
    at = next;
    if (at == s.size()) break;
    if (s.substr(at).starts_with("<!DOCTYPE html>") || s.substr(at).starts_with("<?xml")) {
      at = s.find('>', at) + 1;
    } else if (s.substr(at).starts_with("</")) {
      const std::size_t end = s.find('>', at);
      const std::string name(s.substr(at + 2, end - at - 2));
      if (open.empty() || open.back() != name) return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back()) + near(at);
      open.pop_back();
      at = end + 1;
    } else {
      std::size_t end = at;  // the first > outside quotes
      for (bool quoted = false; end < s.size() && (quoted || s[end] != '>'); ++end) quoted ^= s[end] == '"';
      if (end == s.size()) return "unfinished tag" + near(at);
      const bool empty = s[end - 1] == '/';
      std::string_view inside = s.substr(at + 1, end - at - 1 - (empty ? 1 : 0));
      const std::string name(inside.substr(0, inside.find(' ')));
      inside.remove_prefix(name.size());
      if (!is_name(name)) return "bad tag" + near(at);
      std::vector<std::string_view> seen;
      while (!inside.empty()) {  // one blank, name="value"
        const std::size_t equals = inside.find("=\"");
        if (inside[0] != ' ' || equals == std::string_view::npos) return "bad attribute" + near(at);
        const std::string_view attribute = inside.substr(1, equals - 1);
        inside.remove_prefix(equals + 2);
        const std::size_t quote = inside.find('"');
        const std::string_view value = inside.substr(0, quote);
        if (!is_name(attribute) || value.find('<') != std::string_view::npos || !entities(value)) return "bad attribute" + near(at);
        if (std::find(seen.begin(), seen.end(), attribute) != seen.end()) return "attribute twice" + near(at);
        seen.push_back(attribute);
        inside.remove_prefix(quote + 1);
      }
      at = end + 1;
      if (!empty) open.push_back(name);
      if (name == "style") at = s.find("</style>", at);  // CSS has its own grammar
    }
  }
  if (!open.empty()) return "<" + open.back() + "> is never closed";
  return {};
}

void expect_well_formed(const RunReport& r) {
  EXPECT_EQ(fault(report_html(r)).value_or("no fault"), "no fault");
  EXPECT_EQ(fault(curves_svg(r)).value_or("no fault"), "no fault");
}

TEST(ReportMarkup, TheCheckFindsFaults) {
  EXPECT_FALSE(fault("<!DOCTYPE html><a b=\"c &lt; d\"><e/></a>"));
  for (const char* bad :
       {"<a>", "</a>", "<a><b></a></b>", "<a b=c></a>", "<a b=\"1\" b=\"2\"></a>", "a & b", "a < b", "<a b=\"&\"></a>", "&nbsp;"})
    EXPECT_TRUE(fault(bad)) << bad;
}

TEST(Report, HoldsTheValues) {
  const std::string html = report_html(report(5));
  EXPECT_EQ(fault(html).value_or("no fault"), "no fault");
  for (const char* part : {"<title>mnist-lenet-bn",
                           "<h1>mnist-lenet-bn</h1>",
                           "LeNet with batch norm",
                           "finished",
                           "93.00 %" /* test accuracy */,
                           "0.2125" /* test loss */,
                           "0.1500" /* train loss */,
                           "7.50 s",
                           "6.25 s training",
                           "44\xe2\x80\xaf"
                           "426",
                           "48\xe2\x80\xaf"
                           "000",
                           "0.001",
                           "9f86d081884c7d65",
                           "mnist, 60000 + 10000 samples",
                           "epochs = 5 # &quot;five&quot;",
                           "cpu (avx512, 2 threads)",
                           "conv2d_forward",
                           "5x5",
                           "conv1 (256, 6, 24, 24)",
                           "conv1.weight (6, 1, 5, 5)",
                           "3.54 MB",
                           "44.2 MFLOP",
                           "98.8 MB",
                           "178 kB",
                           "0.5000 \xc2\xb7 1.0000 \xc2\xb7 1.5000",
                           "-0.2500 \xc2\xb7 0.2500 \xc2\xb7 0.7500",
                           "3.0000 \xc2\xb7 4.0000 \xc2\xb7 5.0000",
                           "1175"})
    expect_contains(html, part);
}

TEST(Report, EveryChartHasATextAlternativeAndATable) {
  const std::string html = report_html(report(5));
  EXPECT_EQ(count(html, "<svg"), 4u);
  EXPECT_EQ(count(html, "role=\"img\" aria-label=\""), 4u);
  EXPECT_EQ(count(html, "in words and as a table"), 4u);
  expect_contains(html, "aria-label=\"Loss. train: 0.7500 at epoch 1, 0.1500 at epoch 5. test: 0.8125 at epoch 1, 0.2125 at epoch 5.\"");
  EXPECT_EQ(count(html, "<g class=\"band\">"), 4u * 5u);  // values under the pointer
  EXPECT_EQ(count(html, "<table>"), count(html, "<caption>"));
  expect_contains(html, "prefers-color-scheme:dark");
  expect_contains(html, "lang=\"en\"");
  expect_contains(html, "width=device-width");
}

// A net that says class 1 right of x = 0.25: exactly between two columns of the grid.
Scatter half_plane() {
  Scatter s;
  s.title = "Data <and> boundary";
  s.names[0] = "left & up", s.names[1] = "right";
  s.points = {{-0.5, 0.5, 0, false}, {0.9, 0.1, 1, false}, {0.5, -0.7, 0, true}};
  s.reach = 1;
  s.side = 5;  // columns at -1, -0.5, 0, 0.5, 1
  for (int row = 0; row < 5; ++row)
    for (int column = 0; column < 5; ++column) s.margin.push_back(-1 + 0.5 * column - 0.25);
  return s;
}

TEST(Scatter, TheBoundaryIsWhereTheMarginIsZero) {
  const std::vector<Segment> lines = boundary(half_plane());
  ASSERT_EQ(lines.size(), 4u);
  for (const Segment& l : lines) {
    EXPECT_DOUBLE_EQ(l.x0, 0.25);
    EXPECT_DOUBLE_EQ(l.x1, 0.25);
    EXPECT_DOUBLE_EQ(std::abs(l.y1 - l.y0), 0.5);
  }
  Scatter s = half_plane();
  s.margin[12] = nan;
  EXPECT_EQ(boundary(s).size(), 2u);  // none in the four cells around it
  for (double& m : s.margin) m = 1;
  EXPECT_TRUE(boundary(s).empty());
  EXPECT_DOUBLE_EQ(reach_of({{-1.21, 0.3, 0, false}}), 1.5);
}

TEST(Report, PointsOfThePlaneAreDrawnWithTheBoundary) {
  RunReport r = report(5);
  r.scatter = half_plane();
  expect_well_formed(r);
  const std::string html = report_html(r), svg = curves_svg(r);
  EXPECT_EQ(count(html, "<svg"), 5u);
  expect_contains(html, "2 points left &amp; up, 1 right; 1 of them, ringed, on the wrong side of the net&#39;s boundary.");
  expect_contains(html, "<th scope=\"row\">left &amp; up</th><td class=\"n\">2</td><td class=\"n\">1</td><td class=\"n\">1</td>");
  for (const std::string& text : {html, svg}) {
    EXPECT_EQ(count(text, "class=\"ring\""), 1u);
    EXPECT_EQ(count(text, "class=\"region s"), 2u);
    EXPECT_EQ(count(text, "class=\"boundary\""), 2u);  // the line and its sample
    expect_contains(text, "Data &lt;and&gt; boundary");
  }
  r.scatter->side = 0;
  r.scatter->margin.clear();
  expect_well_formed(r);
  EXPECT_EQ(count(report_html(r), "class=\"boundary\""), 0u);
}

TEST(Report, LoadsNothingAndRunsNothing) {
  std::string html = report_html(report(5));
  for (const char* part : {"http:", "https:", "//", "url(", "@import", "src=", "href", "<script", "<link", "<img", "onload"})
    EXPECT_EQ(count(html, part), 0u) << part;
  expect_contains(html, "Content-Security-Policy");
  const std::string svg = curves_svg(report(5));
  EXPECT_EQ(count(svg, "http"), 1u);  // the namespace, which is a name and not an address
  expect_contains(svg, "xmlns=\"http://www.w3.org/2000/svg\"");
}

TEST(Report, CallsAreShownWithTheirTimes) {
  RunReport r = report(1);
  EXPECT_EQ(count(report_html(r), "of the step"), 0u);
  expect_contains(report_html(r), "The time of each call was not measured");
  r.plan.push_back(r.plan[0]);
  r.plan.push_back({"adam", "", "", {}, 1, 1});
  r.call_seconds = {1e-5, 2e-5, 1e-5};
  r.timed_steps = 7;
  expect_well_formed(r);
  const std::string html = report_html(r);
  expect_contains(html, "medians of 7 steps");
  expect_contains(html,
                  "<th scope=\"row\">conv2d_forward</th><td class=\"n\">2</td><td class=\"n\">30.0 \xc2\xb5s</td>"
                  "<td class=\"n bar\" style=\"--share:75.0%\">75.00 %</td>");
  EXPECT_EQ(count(html, "--share:25.0%"), 3u);  // adam by kind; the first call and adam in the plan
}

TEST(Report, LossIsOnALogarithmicAxisWhereTheRecipeSaysSo) {
  RunReport r = report(2);  // losses within a factor of 10
  EXPECT_EQ(count(curves_svg(r), "vertical axis logarithmic"), 0u);
  r.log_loss = true;
  EXPECT_EQ(count(curves_svg(r), "vertical axis logarithmic"), 1u);
  expect_contains(report_html(r), "vertical axis logarithmic");
}

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

TEST(Report, ARunThatStoppedSaysSo) {
  RunReport r = report(3);
  r.epochs_planned = 10;
  r.status = "diverged at step 40: [conv1] gradient";
  r.failed = true;
  const std::string html = report_html(r);
  expect_contains(html, "3 of 10");
  expect_contains(html, "<p class=\"status failed\">diverged at step 40: [conv1] gradient</p>");
}

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

TEST(Report, WithoutATestSet) {
  RunReport r = report(3);
  for (EpochMetrics& m : r.epochs) {
    m.test_loss.reset();
    m.test_accuracy.reset();
  }
  expect_well_formed(r);
  EXPECT_EQ(count(report_html(r), "Test accuracy"), 0u);
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

TEST(Report, BatchNormsOfACheckpoint) {
  Checkpoint c = report(0).model;
  std::vector<BatchNormLayer> layers = batch_norm_layers(c);
  ASSERT_EQ(layers.size(), 1u);  // conv1 has a bias of one dimension, but no such weight
  EXPECT_EQ(layers[0].path, "bn1");
  EXPECT_EQ(layers[0].gamma, (std::vector<float>{0.5f, 1.5f}));
  EXPECT_EQ(layers[0].running_var, (std::vector<float>{0.125f, 8}));
  EXPECT_EQ(layers[0].batches, 1175);

  c.tensors = {floats("block.0.norm.weight", {2}, {1, 2}), floats("plain.running_mean", {1}, {3}), floats("running_mean", {1}, {4})};
  layers = batch_norm_layers(c);
  ASSERT_EQ(layers.size(), 3u);
  EXPECT_EQ(layers[0].path, "block.0.norm");  // without running statistics
  EXPECT_TRUE(layers[0].running_mean.empty());
  EXPECT_EQ(layers[1].path, "plain");  // without gamma and beta
  EXPECT_FALSE(layers[1].batches);
  EXPECT_EQ(layers[2].path, "");  // a net that is one batch norm

  c.tensors.clear();
  for (int i = 0; i < 40; ++i) c.tensors.push_back(floats("bn" + std::to_string(i) + ".weight", {100}, std::vector<float>(100, 1)));
  RunReport r = report(1);
  r.model = c;
  expect_contains(report_html(r), "4000 channels are too many");
}

// A page is read by people: it may not grow with every epoch.
TEST(Report, OfManyEpochsIsBoundedAndTakesLinearTime) {
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
