// Comparisons: what is read and refused, the runs that follow, and what an interruption leaves.
#include "apps/norma/compare/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "apps/norma/compare/comparison_page.h"
#include "apps/norma/compare/comparison_runs.h"
#include "apps/norma/compare/verdict.h"
#include "apps/norma/draw/svg.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using test::contents;
using test::expect_error;
using test::TemporaryFolder;

const std::string tiny_recipe = R"([data]
name = "digits"
train_samples = 64
test_samples = 32
resize = 8
[model]
layers = [{ type = "flatten" }, { type = "linear", out = 10 }]
[train]
batch_size = 32
)";

const std::string comparison_text = R"(claim = "More is better"
recipe = "RECIPE"
seeds = 2
measure = "train_loss"
[set]
train.epochs = 2
[vary]
optimizer.lr = [0.01, 0.5]
model.weight_init = [{ kind = "normal", std = 0.5 }, "he_normal"]
[[check]]
kind = "better"
field = "optimizer.lr"
value = 0.5
at = { model.weight_init = "he_normal" }
)";

class Comparisons : public testing::Test {
 protected:
  Comparisons() { std::ofstream(recipe()) << tiny_recipe; }
  std::string recipe() const { return (folder_.path() / "tiny.toml").string(); }
  Comparison parsed(std::string t) const {
    if (const std::size_t at = t.find("RECIPE"); at != std::string::npos) t.replace(at, 6, recipe());
    return parse_comparison({"test", t, "test.toml", folder_.path()});
  }
  // `comparison_text` with one part replaced.
  Comparison changed(const std::string& from, const std::string& to) const {
    std::string t = comparison_text;
    t.replace(t.find(from), from.size(), to);
    return parsed(t);
  }

  TemporaryFolder folder_;
};

TEST_F(Comparisons, ReadsAndWritesTheSame) {
  const Comparison c = parsed(comparison_text);
  EXPECT_EQ(c.name, "test");
  EXPECT_EQ(c.claim, "More is better");
  EXPECT_EQ(c.seeds, 2);
  EXPECT_EQ(c.measure, Measure::train_loss);
  ASSERT_EQ(c.vary.size(), 2U);
  EXPECT_EQ(c.vary[0].field, "optimizer.lr");  // the file's order
  EXPECT_EQ(c.vary[0].values, (std::vector<std::string>{"0.01", "0.5"}));
  EXPECT_EQ(plain(c.vary[1].values[0]), "normal std 0.5");
  ASSERT_EQ(c.checks.size(), 1U);
  const Comparison again = parsed(write_toml(c));
  EXPECT_EQ(write_toml(again), write_toml(c));
  EXPECT_EQ(again.checks[0].at, c.checks[0].at);
  EXPECT_EQ(again.vary[1].values, c.vary[1].values);
  EXPECT_EQ(c.vary[1].values[1], toml_string("he_normal"));  // as --vary model.weight_init=he_normal
}

TEST_F(Comparisons, RefusesWithTheCulprit) {
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& message) {
    expect_error(ErrorKind::usage, {message}, [&] { planned_runs(changed(from, to)); });
  };
  refused("claim", "clam", "test.toml:1:1: clam: unknown key \"clam\"; did you mean \"claim\"?");
  refused("seeds = 2", "seeds = 0", "must be a whole number in 1..1000");
  refused("\"train_loss\"", "\"train_los\"", "did you mean \"train_loss\"?");
  refused("value = 0.5", "value = 0.7", "optimizer.lr never is 0.7 (it is 0.01, 0.5)");
  refused("field = \"optimizer.lr\"", "field = \"optimizer.lrr\"", "optimizer.lrr is not varied");
  refused("optimizer.lr = [0.01, 0.5]", "optimizer.lrr = [0.01, 0.5]", "optimizer.lr is not varied");
  refused("[0.01, 0.5]", "0.5", "must be an array of values");
  refused("\"better\"", "\"best\"", "check.0.kind must be one of better, sooner, further, oftener, got \"best\"");
  refused("train.epochs = 2", "train.epocs = 2", "did you mean \"epochs\"?");
  refused("seeds = 2", "seeds = 2\nrecipes = 3", "did you mean \"recipe\"?");
  // Written into comparison.toml such a name would be another, or none.
  refused("train.epochs = 2", "\"train/epochs\" = 2", "without quotes; got \"train/epochs\"");
  refused("optimizer.lr = [0.01, 0.5]", "\"optimizer.lr\" = [0.01, 0.5]", "vary: a recipe's field is letters");
  expect_error(ErrorKind::usage, {"train.seed is varied by --seeds"}, [&] {
    Comparison c = parsed(comparison_text);
    c.vary.push_back({"train.seed", {"1"}});
    planned_runs(c);
  });
  // A net that cannot be names the variant.
  expect_error(ErrorKind::usage, {"out 3: [conv1] kernel covers 9"}, [&] {
    Comparison c{.recipes = {recipe()}};
    c.set = {{"model.layers.0", "{ type = \"conv2d\", out = 1, kernel = 9 }", "--set"}};
    c.vary = {{"model.layers.1.out", {"3"}}};
    planned_runs(c);
  });
}

TEST(Variations, AreListsOfTomlValues) {
  const Variation v = parse_variation("data.mean=[0.5, 0.5],0.1,'a,b',{kind=\"normal\",std=1},none");
  EXPECT_EQ(v.field, "data.mean");
  EXPECT_EQ(v.values, (std::vector<std::string>{"[0.5, 0.5]", "0.1", "'a,b'", "{kind=\"normal\",std=1}", "\"none\""}));
  for (const char* wrong : {"x", "=1", "x=", "x=1,,2", "x=1,1"})
    expect_error(ErrorKind::usage, {"--vary " + std::string(wrong)}, [&] { parse_variation(wrong); });
}

TEST_F(Comparisons, RunsAreEveryCombinationSeedBySeed) {
  const std::vector<PlannedRun> runs = planned_runs(parsed(comparison_text));
  ASSERT_EQ(runs.size(), 8U);
  std::set<std::string> names;
  for (const PlannedRun& r : runs) names.insert(r.name);
  EXPECT_EQ(names.size(), 8U);
  EXPECT_EQ(runs[0].name, "lr=0.01,weight_init=normalstd0.5,seed=0");
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(runs[i].seed, i / 4);
    EXPECT_EQ(runs[i].recipe.train.seed, i / 4);
    EXPECT_EQ(runs[i].variant, i % 4);
    EXPECT_EQ(runs[i].recipe.train.epochs, 2);
  }
  EXPECT_EQ(runs[3].recipe.model.weight_init.kind, Init::Kind::he_normal);
  EXPECT_EQ(std::get<Sgd>(runs[3].recipe.optimizer).lr, 0.5);
}

TEST_F(Comparisons, ShippedOnesAreReadAndTheirRunsPlanned) {
  ASSERT_GE(embedded_comparisons().size(), 9U);
  for (const EmbeddedRecipe& e : embedded_comparisons()) {
    SCOPED_TRACE(e.name);
    const Comparison c = parse_comparison(*find_comparison(std::string(e.name)));
    EXPECT_FALSE(c.claim.empty());
    EXPECT_FALSE(c.checks.empty());
    EXPECT_GE(planned_runs(c).size(), 6U);
  }
}

// ---- running

TEST_F(Comparisons, RunsSideBySideAreThoseOneAfterTheOther) {
  const Comparison c = parsed(comparison_text);
  const std::vector<PlannedRun> runs = planned_runs(c);
  std::map<std::string, std::string> hashes[2];
  for (const int jobs : {1, 3}) {
    ComparisonDirectory d = ComparisonDirectory::create(folder_.path() / std::to_string(jobs), c, false);
    run_all(runs, d, {.jobs = jobs, .on_result = {}, .on_wait = {}});
    for (const RunResult& r : d.results()) hashes[jobs == 3][r.name] = r.parameters_hash;
  }
  EXPECT_EQ(hashes[0].size(), 8U);
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST_F(Comparisons, WhatHasEndedIsNotRunAgain) {
  const Comparison c = parsed(comparison_text);
  const std::vector<PlannedRun> runs = planned_runs(c);
  const std::filesystem::path out = folder_.path() / "out";
  int ran = 0;
  const RunsOptions count{.jobs = 1, .on_result = [&](const PlannedRun&, const RunResult&) { ++ran; }, .on_wait = {}};
  {
    ComparisonDirectory d = ComparisonDirectory::create(out, c, false);
    run_all({runs.begin(), runs.begin() + 3}, d, count);
    expect_error(ErrorKind::failure, {"another norma"}, [&] { ComparisonDirectory::open(out); });
  }
  // A crash in the middle of a line: that run is not known to have ended.
  std::ofstream(out / "results.jsonl", std::ios::app) << R"({"run":"lr=0.5,wei)";
  {
    ComparisonDirectory d = ComparisonDirectory::open(out);
    EXPECT_EQ(d.results().size(), 3U);
    EXPECT_EQ(write_toml(d.comparison()), write_toml(c));
    run_all(runs, d, count);
    EXPECT_EQ(ran, 8);
    const std::vector<RunResult> all = d.results();
    ASSERT_EQ(all.size(), 8U);
    const Results results(c, runs, all);
    EXPECT_EQ(results.ended(), 8U);
    const std::string table = comparison_table(results);
    EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 5) << table;
  }
  expect_error(ErrorKind::usage, {"already holds a comparison"}, [&] { ComparisonDirectory::create(out, c, false); });
}

std::filesystem::path d_run(const std::filesystem::path& out, const PlannedRun& run) { return out / "runs" / run.name; }
void put(const std::filesystem::path& file, const std::string& words) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << words;
}

TEST_F(Comparisons, ReplacingOneRemovesWhatNormaWroteAndNothingElse) {
  namespace fs = std::filesystem;
  const Comparison c = parsed(comparison_text);
  const std::vector<PlannedRun> runs = planned_runs(c);
  const fs::path out = folder_.path() / "out";
  put(out / "runs/precious/config.toml", "mine");
  put(out / "notes.txt", "mine");
  {
    ComparisonDirectory d = ComparisonDirectory::create(out, c, false);
    run_all({runs.begin(), runs.begin() + 2}, d, {.jobs = 1, .on_result = {}, .on_wait = {}});
    d.write_report("page", "picture");
  }
  put(d_run(out, runs[0]) / "notes.txt", "mine");
  put(out / "report.html", "edited");
  expect_error(ErrorKind::usage, {(out / "report.html").string() + " is not a file of norma's"},
               [&] { ComparisonDirectory::create(out, c, true); });
  expect_error(ErrorKind::usage, {"report.html", "--resume then writes its own"}, [&] { ComparisonDirectory::open(out); });
  fs::remove(out / "report.html");
  put(d_run(out, runs[1]) / "config.toml", "edited");
  expect_error(ErrorKind::usage, {(d_run(out, runs[1]) / "config.toml").string()}, [&] { ComparisonDirectory::create(out, c, true); });
  EXPECT_TRUE(fs::exists(d_run(out, runs[0]) / "config.toml"));
  EXPECT_EQ(ComparisonDirectory::open(out).results().size(), 2U);
  fs::remove(d_run(out, runs[1]) / "config.toml");

  ComparisonDirectory d = ComparisonDirectory::create(out, c, true);
  EXPECT_EQ(contents(out / "runs/precious/config.toml"), "mine");
  EXPECT_EQ(contents(out / "notes.txt"), "mine");
  EXPECT_EQ(contents(d_run(out, runs[0]) / "notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(d_run(out, runs[0]) / "config.toml"));
  EXPECT_FALSE(fs::exists(d_run(out, runs[1])));
  EXPECT_TRUE(d.results().empty());
}

TEST_F(Comparisons, FilesOfItsNamesThatAreNotNormasStay) {
  const Comparison c = parsed(comparison_text);
  const std::vector<PlannedRun> runs = planned_runs(c);
  for (const char* name : {"report.html", "comparison.svg", "results.jsonl"}) {
    const std::filesystem::path out = folder_.path() / name;
    put(out / name, "mine");
    for (const bool force : {false, true})
      expect_error(ErrorKind::usage, {(out / name).string()}, [&] { ComparisonDirectory::create(out, c, force); });
    EXPECT_EQ(contents(out / name), "mine");
  }
  // A run of norma train that happens to have the name of one of the comparison's.
  const std::filesystem::path out = folder_.path() / "out";
  put(d_run(out, runs[0]) / "config.toml", "mine");
  ComparisonDirectory d = ComparisonDirectory::create(out, c, false);
  expect_error(ErrorKind::usage, {d_run(out, runs[0]).string(), "which this comparison did not write"},
               [&] { run_all(runs, d, {.jobs = 1, .on_result = {}, .on_wait = {}}); });
  EXPECT_EQ(contents(d_run(out, runs[0]) / "config.toml"), "mine");
}

TEST_F(Comparisons, OneWithoutAListGoesOnAndIsNotReplaced) {
  const Comparison c = parsed(comparison_text);
  const std::vector<PlannedRun> runs = planned_runs(c);
  const std::filesystem::path out = folder_.path() / "out";
  {
    ComparisonDirectory d = ComparisonDirectory::create(out, c, false);
    run_all({runs.begin(), runs.begin() + 2}, d, {.jobs = 1, .on_result = {}, .on_wait = {}});
  }
  std::filesystem::remove(out / ".norma-files");
  expect_error(ErrorKind::usage, {"kept no list"}, [&] { ComparisonDirectory::create(out, c, true); });
  for (const char* name : {"report.html", "comparison.svg"}) {
    put(out / name, std::string(colour_style()) + std::string(chart_style()) + "mine");
    expect_error(ErrorKind::usage, {(out / name).string(), "move it away"}, [&] { ComparisonDirectory::open(out); });
    std::filesystem::remove(out / name);
  }
  ComparisonDirectory d = ComparisonDirectory::open(out);
  run_all(runs, d, {.jobs = 1, .on_result = {}, .on_wait = {}});
  EXPECT_EQ(d.results().size(), runs.size());
}

TEST_F(Comparisons, AResultThatCannotBeWrittenIsNamedAndLeavesNoHalfLine) {
  ComparisonDirectory d = ComparisonDirectory::create(folder_.path() / "out", parsed(comparison_text), false);
  const std::filesystem::path file = d.path() / "results.jsonl";
  d.append({.name = "a", .detail = {}, .measured = {}, .parameters_hash = "x", .epochs = {}});
  const std::string before = contents(file);
  {
    const test::FileSizeLimit limit(before.size() + 10);
    expect_error(ErrorKind::failure, {file.string() + ": File too large"},
                 [&] { d.append({.name = "b", .detail = {}, .measured = {}, .parameters_hash = "x", .epochs = {}}); });
  }
  EXPECT_EQ(contents(file), before);
  put(file, before.substr(0, before.size() - 1));  // whole, but for its line feed
  EXPECT_EQ(d.results().size(), 1U);
}

TEST_F(Comparisons, ARunThatDivergesIsAResultAndOneThatFailsStopsAll) {
  Comparison c{.recipes = {recipe()}};
  c.seeds = 1;
  c.vary = {{"optimizer.lr", {"0.1", "1e38"}}};
  c.set = {{"train.epochs", "4", "--epochs"}};
  ComparisonDirectory d = ComparisonDirectory::create(folder_.path() / "out", c, false);
  const std::vector<PlannedRun> runs = planned_runs(c);
  run_all(runs, d, {.jobs = 1, .on_result = {}, .on_wait = {}});
  const std::vector<RunResult> all = d.results();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_FALSE(all[0].diverged);
  EXPECT_TRUE(all[1].diverged);
  EXPECT_NE(all[1].detail.find("diverged at step"), std::string::npos) << all[1].detail;

  Comparison broken{.recipes = {recipe()}};
  broken.seeds = 1;
  ComparisonDirectory e = ComparisonDirectory::create(folder_.path() / "broken", broken, false);
  std::vector<PlannedRun> impossible = planned_runs(c);
  impossible[0].recipe.data.source = DataSection::Source::idx;
  impossible[0].recipe.data.train_images = impossible[0].recipe.data.train_labels = "/nowhere/images";
  expect_error(ErrorKind::data, {impossible[0].name + ": /nowhere/images"},
               [&] { run_all(impossible, e, {.jobs = 1, .on_result = {}, .on_wait = {}}); });
  EXPECT_TRUE(e.results().empty());
}

}  // namespace
}  // namespace norma::app
