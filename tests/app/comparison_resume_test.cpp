// Resuming a comparison: its results must be its runs', and its data must not change, wherever they lie.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/norma/compare/comparison_runs.h"
#include "tests/support/expect_error.h"
#include "tests/support/idx_files.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using test::contents;
using test::expect_error;

const std::string recipe = R"([data]
name = "idx"
train_images = "images"
train_labels = "labels"
test_images = "images"
test_labels = "labels"
[model]
layers = [{ type = "flatten" }, { type = "linear", out = 3 }]
[train]
epochs = 1
)";

const RunsOptions one_at_a_time{.jobs = 1, .on_result = {}, .on_wait = {}};

class ComparisonsResumed : public testing::Test {
 protected:
  ComparisonsResumed() {
    test::write_bytes(folder_ / "idx.toml", recipe);
    test::write_bytes(folder_ / "images", test::idx_images(12, 2, 2));
    test::write_bytes(folder_ / "labels", test::idx_labels(12, 3));
    comparison_.recipes = {(folder_ / "idx.toml").string()};
    comparison_.vary = {{"optimizer.lr", {"0.01", "0.02"}}};
    comparison_.seeds = 1;
    runs_ = planned_runs(comparison_);
    ComparisonDirectory d = ComparisonDirectory::create(out_, comparison_, false);
    run_all({runs_.begin(), runs_.begin() + 1}, d, one_at_a_time);
  }
  // Applies a change to the one line of results.jsonl, which must be refused with these words.
  void refused(const std::function<void(ordered_json&)>& change, std::initializer_list<std::string> words) {
    const std::string line = contents(out_ / "results.jsonl");
    ordered_json j = ordered_json::parse(line);
    change(j);
    test::write_bytes(out_ / "results.jsonl", j.dump() + "\n");
    expect_error(ErrorKind::data, words, [&] { ComparisonDirectory::open(out_).check_results(runs_); });
    EXPECT_EQ(contents(out_ / "results.jsonl"), j.dump() + "\n");
    test::write_bytes(out_ / "results.jsonl", line);
  }
  void move_data(const std::string& to) {
    for (const char* name : {"images", "labels"}) {
      fs::create_directories(folder_ / to);
      fs::rename(folder_ / name, folder_ / (to + "/" + name));
    }
    for (const char* key : {"train_images", "train_labels", "test_images", "test_labels"}) {
      const std::string file = std::string(key).ends_with("images") ? "/images" : "/labels";
      comparison_.set.push_back({std::string("data.") + key, toml_value((folder_ / (to + file)).string()), "--set"});
    }
  }

  test::TemporaryFolder folder_;
  const fs::path out_ = folder_ / "out";
  Comparison comparison_;
  std::vector<PlannedRun> runs_;
};

TEST_F(ComparisonsResumed, ResultsMustBeThoseOfItsRuns) {
  ComparisonDirectory::open(out_).check_results(runs_);
  const std::string line = (out_ / "results.jsonl").string() + ":1: ", again = "remove its line, --resume then makes it anew";
  refused([](ordered_json& j) { j["schema"] = 2; }, {line, "its schema is 2, and this norma knows 1"});
  refused([](ordered_json& j) { j["note"] = "mine"; }, {line, "keys or values that norma does not write"});
  refused([](ordered_json& j) { j["status"] = "good"; }, {line, "keys or values that norma does not write"});
  refused([](ordered_json& j) { j["epochs"] = -1; }, {line});
  refused([](ordered_json& j) { j["test_accuracy"] = nullptr; }, {line});
  refused([](ordered_json& j) { j["test_accuracy"] = 1.5; }, {line, "test_accuracy is 1.5, not a share from 0 to 1"});
  refused([](ordered_json& j) { j["seconds"] = -1; }, {line, "seconds are -1"});
  refused([](ordered_json& j) { j["run"] = "lr=7,seed=0"; }, {"run lr=7,seed=0", "not a run of comparison.toml"});
  refused([](ordered_json& j) { j["test_accuracy"] = 0.987654321; }, {runs_[0].name, "test_accuracy 0.987654321, in its folder", again});
  refused([](ordered_json& j) { j["train_loss"] = 0.125; }, {"train_loss 0.125, in its folder", again});
  refused([](ordered_json& j) { j.erase("test_loss"); }, {"test_loss nan, in its folder", again});
  refused([](ordered_json& j) { j["parameters_hash"] = "x"; }, {"parameters_hash x, in its folder", again});
  const std::string whole = contents(out_ / "results.jsonl");
  test::write_bytes(out_ / "results.jsonl", whole + whole);
  expect_error(ErrorKind::data, {"is listed twice"}, [&] { ComparisonDirectory::open(out_).check_results(runs_); });

  // A run that ended and lost its line gives an equal line again.
  test::write_bytes(out_ / "results.jsonl", "");
  ComparisonDirectory d = ComparisonDirectory::open(out_);
  run_all({runs_.begin(), runs_.begin() + 1}, d, one_at_a_time);
  EXPECT_EQ(contents(out_ / "results.jsonl"), whole);
}

TEST_F(ComparisonsResumed, DataThatMovedServeAndOthersAreRefused) {
  move_data("else where");
  const std::vector<PlannedRun> moved = planned_runs(comparison_);
  {
    ComparisonDirectory d = ComparisonDirectory::open(out_);
    expect_error(ErrorKind::data, {"--set data.train_images=FILE"}, [&] { planned_runs(d.comparison()); });
    d.write(comparison_);
    EXPECT_EQ(planned_runs(d.comparison())[1].recipe.data.train_images, moved[1].recipe.data.train_images);
    std::string labels = test::idx_labels(12, 3);
    std::swap(labels[8], labels[9]);
    test::write_bytes(moved[0].recipe.data.train_labels, labels);
    expect_error(ErrorKind::data, {moved[1].name, "data.train_labels holds other labels than the run was trained on"},
                 [&] { run_all(moved, d, one_at_a_time); });
    test::write_bytes(moved[0].recipe.data.train_labels, test::idx_labels(12, 3));
    run_all(moved, d, one_at_a_time);
    EXPECT_EQ(d.results().size(), 2U);
  }
  std::ofstream(out_ / "comparison.toml", std::ios::app) << "# mine\n";
  const std::string edited = contents(out_ / "comparison.toml");
  expect_error(ErrorKind::usage, {(out_ / "comparison.toml").string(), "into its [set]"},
               [&] { ComparisonDirectory::open(out_).write(comparison_); });
  EXPECT_EQ(contents(out_ / "comparison.toml"), edited);
}

TEST(ComparisonValues, WhatIsNoTomlIsAString) {
  for (const char* word : {"batch", "cuda:0", "/abs/file", "../file", "a b", "2x", "x=y"})
    EXPECT_EQ(toml_value(word), '"' + std::string(word) + '"');
  for (const char* value : {"1", "-0.5", "1e-3", "true", "inf", "\"a\"", "[1, 2]", "{ kind = 'a' }", ""})
    EXPECT_EQ(toml_value(value), value);
}

TEST(ComparisonValues, AreShownWithoutQuotesAndEscapes) {
  for (const char* shown : {"batch", "a\\b", "it's", "say \"x\"", "two\nlines\x1b", ""}) EXPECT_EQ(plain(toml_string(shown)), shown);
  EXPECT_EQ(plain("'a\\b'"), "a\\b");
  EXPECT_EQ(plain("0.1"), "0.1");
  EXPECT_EQ(plain("\"no \" TOML\""), "no \" TOML");
}

}  // namespace
}  // namespace norma::app
