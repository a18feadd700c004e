// RunDirectory: what it refuses, what it keeps, and that a kill at any moment leaves a state to resume from.
#include "apps/norma/run/run_directory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/norma/files/folders.h"
#include "norma/error.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/runs.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using nlohmann::json;
using test::FileSizeLimit;
using test::TemporaryFolder;

TEST(RunDirectory, CreatesTheFolderAndRefusesASecondRunInIt) {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs/first";
  {
    RunDirectory run = RunDirectory::create(path);
    run.write_config("a = 1\n");
    EXPECT_EQ(run.config(), "a = 1\n");
    EXPECT_EQ(run.path(), path);
    EXPECT_FALSE(run.load());
    EXPECT_TRUE(run.epochs().empty());
  }
  expect_error(ErrorKind::usage, path.string() + " already holds a run (config.toml)", [&] { RunDirectory::create(path); });
  EXPECT_EQ(contents(path / "config.toml"), "a = 1\n");
}

TEST(RunDirectory, OverwriteRemovesTheRunAndNothingElse) {
  const TemporaryFolder folder;
  put(folder / "notes.txt", "mine");
  {
    RunDirectory run = RunDirectory::create(folder.path());  // a folder with other files is no run
    run.write_config("a = 1\n");
    run.write_environment({});
    run.append(epoch(1), "cpu");
    run.save(model_at(1), training_at(1));
    run.write_report("page", "picture");
  }
  EXPECT_EQ(folder.list(),
            (std::vector<std::string>{".norma-files", "config.toml", "curves.svg", "environment.json", "metrics.csv", "metrics.jsonl",
                                      "model.safetensors", "notes.txt", "report.html", "training.safetensors"}));
  RunDirectory run = RunDirectory::create(folder.path(), true);
  EXPECT_EQ(folder.list(), std::vector<std::string>{"notes.txt"});
}

TEST(RunDirectory, WhatStandsInTheWayIsNamed) {
  const TemporaryFolder folder;
  put(folder / "file", "x");
  expect_error(ErrorKind::failure, "cannot make the run directory " + (folder / "file").string(),
               [&] { RunDirectory::create(folder / "file"); });
  expect_error(ErrorKind::failure,
               "cannot make the run directory " + (folder / "file/run").string() + ": " + (folder / "file").string() + " is a file",
               [&] { RunDirectory::create(folder / "file/run"); });
  expect_error(ErrorKind::failure, "cannot make the run directory /proc/norma", [&] { RunDirectory::create("/proc/norma"); });
  expect_error(ErrorKind::data, "no such folder", [&] { RunDirectory::open(folder / "absent"); });
  expect_error(ErrorKind::data, "holds no run (no config.toml)", [&] { RunDirectory::open(folder.path()); });
  EXPECT_EQ(folder.list(), std::vector<std::string>{"file"});
}

TEST(RunDirectory, OneWriterAtATime) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.write_config("");
  expect_error(ErrorKind::failure, "another norma is writing to it", [&] { RunDirectory::open(folder.path()); });
  expect_error(ErrorKind::failure, "another norma is writing to it", [&] { RunDirectory::create(folder.path(), true); });
  put(folder / "training.safetensors", "as it is while it is replaced");
  for (const bool force : {false, true})
    expect_error(ErrorKind::failure, "another norma is writing to it", [&] { RunDirectory::check(folder.path(), force); });
  fs::remove(folder / "training.safetensors");
  { const RunDirectory moved = std::move(run); }
  const RunDirectory next = RunDirectory::open(folder.path());
}

TEST(RunDirectory, SavesModelAndTrainingAndSplitsThemAgain) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.save(model_at(1), training_at(1));
  run.save(model_at(2), training_at(2));
  const auto saved = run.load();
  ASSERT_TRUE(saved);
  expect_same(saved->model, model_at(2));
  expect_same(saved->training, training_at(2));
  expect_same(load_safetensors(folder / "model.safetensors"), model_at(2));
  EXPECT_TRUE(load_safetensors(folder / "training.safetensors").find("model.conv1.weight"));
}

TEST(RunDirectory, TrainingStateThatWouldPassForTheModelIsRefused) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  Checkpoint training = training_at(1);
  training.tensors[0].name = "model.conv1.weight";
  expect_error(ErrorKind::failure, "'model.conv1.weight'", [&] { run.save(model_at(1), training); });
  EXPECT_TRUE(folder.list().empty());
}

TEST(RunDirectory, AModelOneSaveBehindIsWrittenAgain) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.save(model_at(1), training_at(1));
  run.save(model_at(2), training_at(2));
  save_safetensors(folder / "model.safetensors", model_at(1));  // as a kill between the two renames leaves it
  expect_same(run.load()->model, model_at(2));
  expect_same(load_safetensors(folder / "model.safetensors"), model_at(2));
  fs::remove(folder / "model.safetensors");
  expect_same(run.load()->model, model_at(2));
  expect_same(load_safetensors(folder / "model.safetensors"), model_at(2));
}

TEST(RunDirectory, DamagedTrainingStateIsAnErrorAndNotAFreshStart) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  put(folder / "training.safetensors", "damaged");
  expect_error(ErrorKind::data, (folder / "training.safetensors").string(), [&] { run.load(); });
}

TEST(RunDirectory, AFullDiskLosesNothing) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.save(model_at(1), training_at(1));
  run.append(epoch(1), "cpu");
  const std::string line = contents(folder / "metrics.jsonl");
  {
    const FileSizeLimit limit(line.size() + 10);
    expect_error(ErrorKind::failure, "File too large", [&] { run.save(model_at(2), training_at(2)); });
    expect_error(ErrorKind::failure, "metrics.jsonl: File too large", [&] { run.append(epoch(2), "cpu"); });
  }
  EXPECT_EQ(contents(folder / "metrics.jsonl"), line);
  EXPECT_EQ(folder.list(),
            (std::vector<std::string>{".norma-files", "metrics.csv", "metrics.jsonl", "model.safetensors", "training.safetensors"}));
  expect_same(run.load()->model, model_at(1));
  expect_same(run.load()->training, training_at(1));
}

// A child process saves step after step until it is killed; whatever it was doing, what is left is one step, whole.
TEST(RunDirectory, AKillAtAnyMomentLeavesOneConsistentState) {
  const TemporaryFolder folder;
  RunDirectory::create(folder.path()).write_config("");
  std::int64_t furthest = 0;
  // On a busy machine the first children may not get as far as a save.
  for (int round = 0; round < 25 || (furthest <= 5 && round < 250); ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {  // no gtest in here
      try {
        RunDirectory run = RunDirectory::open(folder.path());
        const auto saved = run.load();
        std::int64_t step = saved ? std::stoll(saved->training.metadata.at("step")) : 0;
        run.keep_epochs(step);
        for (;;) {
          ++step;
          run.append(epoch(step), "cpu");
          run.save(model_at(step), training_at(step));
        }
      } catch (...) {
        ::_exit(1);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + 3700 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the child failed by itself";

    RunDirectory run = RunDirectory::open(folder.path());
    const auto saved = run.load();
    const std::int64_t step = saved ? std::stoll(saved->training.metadata.at("step")) : 0;
    EXPECT_GE(step, furthest) << "a saved step was lost";
    furthest = step;
    if (saved) {
      expect_same(saved->model, model_at(step));
      expect_same(saved->training, training_at(step));
      expect_same(load_safetensors(folder / "model.safetensors"), model_at(step));
    }
    run.keep_epochs(step);
    std::vector<std::int64_t> all;
    for (std::int64_t e = 1; e <= step; ++e) all.push_back(e);
    EXPECT_EQ(epoch_numbers(run), all);
    for (const std::string& name : folder.list()) EXPECT_FALSE(name.ends_with(".tmp")) << name;
  }
  EXPECT_GT(furthest, 5);  // the kills came amid saves, not before the first
}

TEST(RunDirectory, MetricsKeepEveryDigitAndDropWhatIsAhead) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.keep_epochs(0);  // no file yet
  for (int n = 1; n <= 4; ++n) run.append(epoch(n), n < 3 ? "cpu" : "cuda");
  std::ofstream(folder / "metrics.jsonl", std::ios::app) << R"({"epoch":5,"train_)";  // a kill cut this line
  EXPECT_EQ(epoch_numbers(run), (std::vector<std::int64_t>{1, 2, 3, 4}));
  run.keep_epochs(3);
  ASSERT_EQ(epoch_numbers(run), (std::vector<std::int64_t>{1, 2, 3}));
  run.append(epoch(4), "cpu");
  const std::vector<RecordedEpoch> all = run.epochs();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2].metrics.train_loss, epoch(3).train_loss);  // to the last bit
  EXPECT_EQ(all[2].metrics.test_loss, epoch(3).test_loss);
  EXPECT_EQ(all[2].metrics.parameters_hash, epoch(3).parameters_hash);
  EXPECT_EQ(all[2].device, "cuda");
  EXPECT_EQ(all[3].device, "cpu");
}

TEST(RunDirectory, ADamagedLineOfMetricsIsNamed) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.append(epoch(1), "cpu");
  std::ofstream(folder / "metrics.jsonl", std::ios::app) << "{\n";
  run.append(epoch(2), "cpu");
  const std::string file = (folder / "metrics.jsonl").string();
  expect_error(ErrorKind::data, file + ":2: not valid JSON; remove that line, or move the file away", [&] { run.epochs(); });
  expect_error(ErrorKind::data, file + ":2: not valid JSON", [&] { run.keep_epochs(1); });
  put(folder / "metrics.jsonl", "{\"epoch\":0}\n");
  expect_error(ErrorKind::data, file + ":1: epoch: expected a whole number from 1", [&] { run.epochs(); });
  put(folder / "metrics.jsonl", "{\"epoch\":1}\n");
  expect_error(ErrorKind::data, file + ":1: train_loss: missing", [&] { run.epochs(); });
  put(folder / "metrics.jsonl", "{\"epoch\":1,\"train_loss\":\"low\"}\n");
  expect_error(ErrorKind::data, file + ":1: train_loss: expected a number", [&] { run.epochs(); });
}

// Every line begins with the schema's number. Lines from before it have none.
TEST(RunDirectory, LinesOfAnOlderNormaAreReadAndThoseOfANewerOneNamed) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.append(epoch(1), "cpu");
  const std::string line = contents(folder / "metrics.jsonl"), begin = "{\"schema\":1,";
  ASSERT_TRUE(line.starts_with(begin + "\"epoch\":1,")) << line;
  const auto with = [&](const std::string& schema) { return "{" + schema + line.substr(begin.size()); };
  put(folder / "metrics.jsonl", with(""));
  run.append(epoch(2), "cpu");
  run.keep_epochs(2);
  EXPECT_EQ(epoch_numbers(run), (std::vector<std::int64_t>{1, 2}));
  const std::string file = (folder / "metrics.jsonl").string();
  for (const auto& [schema, words] : {std::pair("2", "its schema is 2, and this norma knows 1: a newer norma wrote it"),
                                      std::pair("0", "schema: expected a whole number from 1"), std::pair("1.0", "schema: expected"),
                                      std::pair("null", "schema: expected"), std::pair("[{}]", "schema: expected")}) {
    const std::string changed = with("\"schema\":" + std::string(schema) + ",");
    put(folder / "metrics.jsonl", changed);
    expect_error(ErrorKind::data, file + ":1: " + words, [&] { run.epochs(); });
    expect_error(ErrorKind::data, file + ":1: " + words, [&] { run.keep_epochs(1); });
    EXPECT_EQ(contents(folder / "metrics.jsonl"), changed);
  }
}

TEST(Metrics, KeysInOrderAndNullForWhatJsonHasNot) {
  EpochMetrics m = epoch(3);
  m.train_loss = std::numeric_limits<double>::infinity();
  m.test_loss.reset();
  m.test_accuracy.reset();
  m.learning_rate = 1e-5;
  EXPECT_EQ(to_json(m, "cpu \"x\"").dump(),
            R"({"epoch":3,"train_loss":null,"train_accuracy":0.9,"test_loss":null,"test_accuracy":null,"seconds":1.5,)"
            R"("train_seconds":1.25,"samples_per_second":48000.0,"learning_rate":1e-05,"parameters_hash":"9f86d081884c7d65",)"
            R"("device":"cpu \"x\""})");
  EpochMetrics back = epoch_from_json(to_json(m, "cpu")).metrics;
  EXPECT_TRUE(std::isnan(back.train_loss));
  EXPECT_FALSE(back.test_loss);
  EXPECT_FALSE(back.test_accuracy);

  m.test_loss = std::numeric_limits<double>::quiet_NaN();
  m.test_accuracy = 0.1;
  back = epoch_from_json(to_json(m, "cpu")).metrics;
  ASSERT_TRUE(back.test_loss);
  EXPECT_TRUE(std::isnan(*back.test_loss));
  EXPECT_EQ(back.test_accuracy, 0.1);
}

TEST(Environment, IsWrittenOnceAndGrowsWithEveryResume) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  Environment e = this_environment();
  e.device = "cpu (avx512, 2 threads)";
  e.threads = 2;
  e.git_commit = "";  // not built from git
  run.write_environment(e);
  json j = json::parse(contents(folder / "environment.json"));
  EXPECT_EQ(j["device"], "cpu (avx512, 2 threads)");
  EXPECT_EQ(j["threads"], 2);
  EXPECT_TRUE(j["git_commit"].is_null());
  EXPECT_GE(j["cores"], 1);
  for (const char* key : {"norma_version", "compiler", "os", "kernel", "cpu"}) EXPECT_FALSE(j[key].get<std::string>().empty()) << key;
  const std::string started = j["started"];
  EXPECT_EQ(started.size(), 20u) << started;
  EXPECT_EQ(started.back(), 'Z');
  EXPECT_FALSE(j.contains("resumed"));

  e.threads = 4;
  run.write_environment(e);
  run.write_environment(e);
  j = json::parse(contents(folder / "environment.json"));
  EXPECT_EQ(j["threads"], 2);
  ASSERT_EQ(j["resumed"].size(), 2u);
  EXPECT_EQ(j["resumed"][1]["threads"], 4);

  const std::string written = contents(folder / "environment.json"), begin = "{\n  \"schema\": 1,\n";
  ASSERT_TRUE(written.starts_with(begin)) << written;
  EXPECT_FALSE(j["resumed"][1].contains("schema"));
  const std::string newer = "{\n  \"schema\": 2,\n" + written.substr(begin.size());
  put(folder / "environment.json", newer);
  expect_error(ErrorKind::data, "environment.json: its schema is 2", [&] { run.write_environment(e); });
  EXPECT_EQ(contents(folder / "environment.json"), newer);

  put(folder / "environment.json", "[");
  expect_error(ErrorKind::data, "environment.json", [&] { run.write_environment(e); });
  EXPECT_EQ(contents(folder / "environment.json"), "[");

  put(folder / "environment.json", "\n");  // nothing is lost by writing it anew
  e.data = "idx (/odd/\xff): 4 + 2 samples";
  run.write_environment(e);
  EXPECT_EQ(json::parse(contents(folder / "environment.json"))["data"], "idx (/odd/\\xff): 4 + 2 samples");

  const TemporaryFolder older;  // from before there was a schema
  put(older / "config.toml", "a = 1\n");
  put(older / "environment.json", "{\n" + written.substr(begin.size()));
  RunDirectory::open(older.path()).write_environment(e);
  EXPECT_TRUE(contents(older / "environment.json").starts_with(begin));
  EXPECT_EQ(json::parse(contents(older / "environment.json"))["resumed"].size(), 3U);
}

// ---- lines

TEST(JsonLines, AWholeLastLineWithoutItsLineFeedCounts) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  for (int n = 1; n <= 3; ++n) run.append(epoch(n), "cpu");
  const std::string text = contents(folder / "metrics.jsonl");
  put(folder / "metrics.jsonl", text.substr(0, text.size() - 1));
  EXPECT_EQ(epoch_numbers(run), (std::vector<std::int64_t>{1, 2, 3}));
  run.keep_epochs(3);
  EXPECT_EQ(contents(folder / "metrics.jsonl"), text);
  put(folder / "metrics.jsonl", text.substr(0, text.size() - 2));
  EXPECT_EQ(epoch_numbers(run), (std::vector<std::int64_t>{1, 2}));
  run.keep_epochs(3);
  EXPECT_EQ(std::ranges::count(contents(folder / "metrics.jsonl"), '\n'), 2);
}

// ---- folders

TEST(Folders, EachOfManyAtOnceGetsItsOwn) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  std::vector<fs::path> made(16);
  for (fs::path& path : made) threads.emplace_back([&] { path = claim_folder(folder / "runs/new/a", "the run directory"); });
  for (std::thread& t : threads) t.join();
  std::ranges::sort(made);
  EXPECT_TRUE(std::unique(made.begin(), made.end()) == made.end());
  EXPECT_EQ(made.front(), folder / "runs/new/a");
  for (const fs::path& path : made) EXPECT_TRUE(fs::is_directory(path)) << path;
}

TEST(Folders, NamesAreOnePartOfAPath) {
  EXPECT_EQ(folder_name("mnist-lenet-bn v1.2 (\xc3\xa9)"), "mnist-lenet-bn v1.2 (\xc3\xa9)");
  EXPECT_EQ(folder_name("../../x"), ".._.._x");
  EXPECT_EQ(folder_name("a/b\n\x1b\x7f"), "a_b___");
  EXPECT_EQ(folder_name(""), "run");
  EXPECT_EQ(folder_name("."), "run.");
  EXPECT_EQ(folder_name(".."), "run..");
  EXPECT_EQ(folder_name(std::string(119, 'a') + "\xc3\xa9"), std::string(119, 'a'));
  EXPECT_EQ(folder_name(std::string(300, 'a')).size(), 120U);
}

}  // namespace
}  // namespace norma::app
