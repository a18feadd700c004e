// The report: well-formed, complete and self-contained.
#include "apps/norma/report/run_page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "apps/norma/draw/scatter.h"
#include "tests/support/run_reports.h"
#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

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

TEST(Report, ARunThatStoppedSaysSo) {
  RunReport r = report(3);
  r.epochs_planned = 10;
  r.status = "diverged at step 40: [conv1] gradient";
  r.failed = true;
  const std::string html = report_html(r);
  expect_contains(html, "3 of 10");
  expect_contains(html, "<p class=\"status failed\">diverged at step 40: [conv1] gradient</p>");
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

}  // namespace
}  // namespace norma::app
