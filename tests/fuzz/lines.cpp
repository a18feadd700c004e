// Files of one JSON value a line: metrics.jsonl, health.jsonl and the page made of them; results.jsonl of a comparison.
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/norma/compare/comparison_runs.h"
#include "apps/norma/compare/verdict.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/health/health.h"
#include "apps/norma/report/run_page.h"
#include "apps/norma/run/metrics.h"
#include "tests/fuzz/fuzz.h"

namespace norma::fuzz {
namespace {

using nlohmann::ordered_json;

EpochMetrics an_epoch(std::int64_t epoch) {
  EpochMetrics m;
  m.epoch = epoch;
  m.train_loss = 1.5 / static_cast<double>(epoch);
  m.train_accuracy = 0.5;
  m.test_loss = 2.5;
  m.test_accuracy = 0.25;
  m.seconds = m.train_seconds = 0.5;
  m.samples_per_second = 1000;
  m.learning_rate = 0.1;
  m.parameters_hash = "0123456789abcdef";
  return m;
}

// metrics.jsonl, a byte of 0, health.jsonl.
void run_metrics(Bytes input) {
  const std::vector<std::string> given = parts(input);
  const std::filesystem::path of_metrics = file("metrics.jsonl", given[0]),
                              of_health = file("health.jsonl", given.size() > 1 ? given[1] : "");
  app::RunReport report{.recipe = "fuzz", .description = "", .status = "finished", .epochs_planned = 3};
  if (!refused_or_read({ErrorKind::data}, [&] {
        for (const app::RecordedEpoch& e : app::read_metrics(of_metrics)) report.epochs.push_back(e.metrics);
        report.health = app::read_health(of_health);
      }))
    return;
  // A line that was read is written as a line with an equal meaning.
  for (const EpochMetrics& m : report.epochs) {
    const ordered_json line = app::to_json(m, "cpu");
    expect(app::to_json(app::epoch_from_json(line).metrics, "cpu") == line, "another epoch once written and read again");
  }
  for (const app::EpochHealth& h : report.health) {
    const ordered_json line = app::to_json(h);
    expect(app::to_json(app::health_from_json(line)) == line, "another look once written and read again");
  }
  expect(app::report_html(report).find("</html>") != std::string::npos, "a page without an end");
  expect(app::curves_svg(report).find("</svg>") != std::string::npos, "a picture without an end");
}

void metrics_seeds(const std::function<void(const std::string&)>& add) {
  app::EpochHealth health;
  health.epoch = 1;
  health.samples = 4;
  const float values[] = {0.1F, -2.0F, 0.0F, 3.0F};
  app::NormHealth norm{.layer = "bn1", .input = "conv1", .activation = "relu1"};
  norm.channels = 2;
  norm.updates = 3;
  norm.momentum = norm.mean_drift = norm.variance_ratio = 0.1;
  norm.gamma = norm.beta = app::ChannelSpread{0, 1, 2};
  norm.dead = {1};
  norm.before = norm.after = app::histogram(values);
  norm.gradient_before = norm.gradient_after = app::magnitudes(values);
  health.norms.push_back(norm);
  app::ActivationHealth activation{.layer = "relu1"};
  activation.input = app::histogram(values);
  activation.mean = activation.deviation = {0.5, 0.25};
  health.activations.push_back(activation);
  health.findings = {"bn1: one channel is dead"};
  std::string lines;
  for (const std::int64_t epoch : {1, 2}) lines += app::json_document(app::to_json(an_epoch(epoch), "cpu"));
  add(lines);
  add(lines + '\0' + app::to_json(health).dump() + "\n");
}

const app::Comparison& small_comparison() {
  static const app::Comparison c = app::parse_comparison(
      {"fuzz", "claim = \"c\"\nrecipe = \"circles\"\nseeds = 2\n[vary]\nmodel.norm = [\"none\", \"batch\"]\n", "fuzz.toml", folder()});
  return c;
}

// results.jsonl of a comparison whose runs left no lines of their own, and what is said of its claim.
void run_results(Bytes input) {
  static app::ComparisonDirectory directory = app::ComparisonDirectory::create(folder() / "comparison", small_comparison(), true);
  static const std::vector<app::PlannedRun> runs = app::planned_runs(small_comparison());
  file("comparison/results.jsonl", input);
  refused_or_read({ErrorKind::data}, [&] {
    const std::vector<app::RunResult> read = directory.results();
    const app::Results results(small_comparison(), runs, read);
    expect(!app::verdict(results).words.empty(), "a verdict without a word");
  });
}

void results_seeds(const std::function<void(const std::string&)>& add) {
  app::ComparisonDirectory directory = app::ComparisonDirectory::create(folder() / "seeds", small_comparison(), true);
  for (const app::PlannedRun& run : app::planned_runs(small_comparison())) {
    app::RunResult r;
    r.name = run.name;
    r.measured[app::Measure::test_accuracy] = 0.5 + 0.1 * static_cast<double>(run.seed + run.variant);
    r.measured[app::Measure::train_loss] = 0.5;
    r.parameters_hash = "0123456789abcdef";
    directory.append(r);
  }
  add(contents(folder() / "seeds" / "results.jsonl"));
}

}  // namespace

const Fuzzer metrics{"metrics", "metrics.jsonl and health.jsonl, and the page made of them", run_metrics, metrics_seeds};
const Fuzzer results{"results", "results.jsonl of a comparison", run_results, results_seeds};

}  // namespace norma::fuzz
