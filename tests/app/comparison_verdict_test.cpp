// Verdicts on a comparison's claim, on figures made up.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/norma/compare/comparison.h"
#include "apps/norma/compare/comparison_runs.h"
#include "apps/norma/compare/verdict.h"
#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

struct Made {
  Comparison comparison;
  std::vector<PlannedRun> runs;
  std::vector<RunResult> results;

  void add(const std::string& value, const std::string& other, std::uint64_t seed, double accuracy, std::vector<double> losses = {}) {
    const std::string name = value + other + std::to_string(seed);
    std::size_t variant = 0;
    while (variant < variants.size() && variants[variant] != value + other) ++variant;
    if (variant == variants.size()) variants.push_back(value + other);
    runs.push_back({name, variant, {{"norm", value}, {"lr", other}}, seed, {}});
    RunResult r;
    r.name = name;
    r.diverged = std::isnan(accuracy);
    r.measured[Measure::test_accuracy] = accuracy;
    for (std::size_t i = 0; i < losses.size(); ++i) {
      EpochMetrics m;
      m.epoch = static_cast<std::int64_t>(i) + 1;
      m.train_loss = losses[i];
      r.epochs.push_back(m);
    }
    results.push_back(r);
  }
  Verdict judged(Check check) {
    comparison.seeds = 8;
    comparison.checks = {std::move(check)};
    return verdict(Results(comparison, runs, results));
  }
  std::vector<std::string> variants;
};

TEST(Verdicts, BetterAsksForMoreThanTheSpread) {
  Made m;
  const double steady[] = {0.90, 0.91, 0.92}, close[] = {0.89, 0.93, 0.91}, worse[] = {0.80, 0.82, 0.81};
  for (std::uint64_t s = 0; s < 3; ++s) m.add("a", "1", s, steady[s]), m.add("b", "1", s, close[s]), m.add("c", "1", s, worse[s]);
  Check check{.field = "norm", .value = "a", .against = "c"};
  Verdict v = m.judged(check);
  EXPECT_EQ(v.outcome, Verdict::Outcome::holds);
  EXPECT_EQ(v.words, "Holds: test accuracy is higher with a than c by 10.00 points (95 % interval 7.52 to 12.48 points, 3 pairs).");
  check.against = "b";
  EXPECT_EQ(m.judged(check).outcome, Verdict::Outcome::undecided);
  check = {.field = "norm", .value = "c", .against = "a"};
  EXPECT_EQ(m.judged(check).outcome, Verdict::Outcome::refuted);
  check = {.field = "norm", .value = "a"};  // each of the others
  EXPECT_EQ(m.judged(check).outcome, Verdict::Outcome::undecided);
  EXPECT_EQ(m.judged(check).checks.size(), 2U);
}

TEST(Verdicts, OnePairIsNoEvidenceAndDivergenceIsWorse) {
  Made m;
  m.add("a", "1", 0, 0.9), m.add("b", "1", 0, 0.1);
  const Check check{.field = "norm", .value = "a"};
  EXPECT_EQ(m.judged(check).outcome, Verdict::Outcome::undecided);
  Made d;
  for (std::uint64_t s = 0; s < 2; ++s) d.add("a", "1", s, 0.5), d.add("b", "1", s, nan);
  EXPECT_EQ(d.judged(check).outcome, Verdict::Outcome::holds);
  EXPECT_EQ(d.judged({.field = "norm", .value = "b"}).outcome, Verdict::Outcome::refuted);
}

TEST(Verdicts, SoonerCountsEpochsToTheOthersLastLoss) {
  Made m;
  m.comparison.measure = Measure::train_loss;
  for (std::uint64_t s = 0; s < 2; ++s) m.add("a", "1", s, 0.9, {0.7, 0.4, 0.3, 0.2}), m.add("b", "1", s, 0.9, {0.9, 0.7, 0.6, 0.5});
  const Verdict v = m.judged({.kind = Check::Kind::sooner, .field = "norm", .value = "a"});
  EXPECT_EQ(v.outcome, Verdict::Outcome::holds);
  EXPECT_EQ(v.words, "Holds: with a the train loss that b has after 4 epochs is there after 2 (2 of 2 pairs).");
  EXPECT_EQ(m.judged({.kind = Check::Kind::sooner, .field = "norm", .value = "b"}).outcome, Verdict::Outcome::refuted);
}

TEST(Verdicts, FurtherAndOftener) {
  Made m;
  for (std::uint64_t s = 0; s < 2; ++s) {
    m.add("a", "0.1", s, 0.9), m.add("a", "1", s, 0.8), m.add("a", "10", s, s == 0 ? 0.9 : nan);
    m.add("b", "0.1", s, 0.9), m.add("b", "1", s, 0.3), m.add("b", "10", s, nan);
  }
  Check check{.kind = Check::Kind::further, .field = "norm", .value = "a", .over = "lr", .works = 0.7};
  EXPECT_EQ(m.judged(check).words, "Holds: a works (test accuracy at least 70 %) up to lr 1, b up to lr 0.1, 10 times.");
  check.value = "b";
  EXPECT_EQ(m.judged(check).outcome, Verdict::Outcome::refuted);
  check.works = 0.95;
  EXPECT_EQ(m.judged(check).outcome, Verdict::Outcome::undecided);
  check = {.kind = Check::Kind::oftener, .field = "norm", .value = "a", .works = 0.7};
  EXPECT_EQ(m.judged(check).words, "Holds: a works (test accuracy at least 70 %) in 2 of 3 cases, b in 1.");
}

TEST(Verdicts, WithoutAClaimTheBestIsNamed) {
  Made m;
  m.comparison.seeds = 3;
  for (std::uint64_t s = 0; s < 3; ++s) m.add("a", "1", s, 0.5 + 0.01 * static_cast<double>(s)), m.add("b", "1", s, 0.9);
  const Results results(m.comparison, m.runs, m.results);
  const Verdict v = verdict(results);
  EXPECT_EQ(v.outcome, Verdict::Outcome::holds);
  EXPECT_NE(v.words.find("norm b, lr 1 (90.00 %"), std::string::npos) << v.words;
  EXPECT_NE(v.words.find("clearly behind"), std::string::npos) << v.words;
  EXPECT_EQ(results.variants()[1].wins, 3);
  EXPECT_EQ(results.variants()[0].wins, 0);
}

TEST(Verdicts, ATieIsNobodysWin) {
  Made m;
  m.comparison.seeds = 3;
  for (std::uint64_t s = 0; s < 3; ++s) m.add("a", "1", s, 0.9), m.add("b", "1", s, s == 0 ? 0.8 : 0.9);
  const Results results(m.comparison, m.runs, m.results);
  EXPECT_EQ(results.variants()[0].wins, 1);
  EXPECT_EQ(results.variants()[1].wins, 0);
}

TEST(Spreads, AreThoseOfTheSample) {
  const double values[] = {1, 2, 4, nan};
  const Spread s = spread(values);
  EXPECT_EQ(s.count, 3);
  EXPECT_DOUBLE_EQ(s.mean, 7.0 / 3);
  EXPECT_DOUBLE_EQ(s.deviation, std::sqrt(7.0 / 3));
  const Difference d = difference(std::span(values, 3));
  EXPECT_NEAR(d.high - d.mean, 4.303 * std::sqrt(7.0 / 3) / std::sqrt(3.0), 1e-12);
}

}  // namespace
}  // namespace norma::app
