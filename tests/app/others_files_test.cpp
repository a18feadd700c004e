// Files in a run's folder that norma did not write: they are refused by name, and stay.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/norma/files/folders.h"
#include "apps/norma/run/run_directory.h"
#include "apps/norma/run/run_files.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/runs.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using nlohmann::json;
using test::TemporaryFolder;

// A finished run of every file.
void make_run(const fs::path& folder) {
  RunDirectory run = RunDirectory::create(folder);
  run.write_config("a = 1\n");
  run.write_environment(this_environment());
  run.append(epoch(1), "cpu");
  run.append(EpochHealth{.epoch = 1});
  const Scalar scalars[] = {{"loss/train", 0.5}};
  run.append(1, scalars);
  run.save(model_at(1), training_at(1));
  run.write_report("page", "picture");
}

const char* const names_in_a_run[] = {"config.toml", "environment.json", "metrics.jsonl",     "metrics.csv",          "health.jsonl",
                                      events_name,   "curves.svg",       "model.safetensors", "training.safetensors", "report.html"};

TEST(OthersFiles, OfARunsNamesAreRefusedByNameAndStay) {
  for (const char* name : names_in_a_run) {
    const TemporaryFolder folder;
    put(folder / name, "mine\n");
    for (const bool force : {false, true})
      expect_error(ErrorKind::usage, (folder / name).string() + " is not a file of norma's",
                   [&] { RunDirectory::create(folder.path(), force); });
    expect_error(ErrorKind::usage, "holds no run", [&] { RunDirectory::check(folder.path(), true); });
    EXPECT_EQ(contents(folder / name), "mine\n");
    EXPECT_EQ(folder.list(), std::vector<std::string>{name});
  }
}

TEST(OthersFiles, PutInTheirPlaceAfterTheRunStayToo) {
  for (const std::string name : names_in_a_run) {
    for (const bool link : {false, true}) {
      const TemporaryFolder folder;
      make_run(folder / "run");
      const fs::path file = folder / ("run/" + name);
      const std::string text = link ? contents(file) : "mine\n";
      put(folder / "elsewhere", text);
      fs::remove(file);
      if (link) fs::create_symlink(folder / "elsewhere", file);
      else put(file, text);
      expect_error(ErrorKind::usage, name, [&] { RunDirectory::create(folder / "run", true); });
      if (name != "config.toml" && !(grows(name) && !link)) {  // an edited recipe is the user's right; lines are read first
        EXPECT_NE(error_of([&] { RunDirectory::open(folder / "run").load(); }).kind(), ErrorKind::failure) << name;
      }
      EXPECT_EQ(contents(file), text) << name;
      EXPECT_EQ(contents(folder / "elsewhere"), text) << name;
      EXPECT_EQ(fs::is_symlink(file), link) << name;
    }
  }
}

TEST(OthersFiles, PutInTheirPlaceWhileItRunsStayToo) {
  const TemporaryFolder folder;
  RunDirectory run = RunDirectory::create(folder.path());
  run.save(model_at(1), training_at(1));
  put(folder / "model.safetensors", "mine");
  expect_error(ErrorKind::usage, "model.safetensors is not a file of norma's", [&] { run.save(model_at(2), training_at(2)); });
  EXPECT_EQ(contents(folder / "model.safetensors"), "mine");
  fs::remove(folder / "model.safetensors");
  run.save(model_at(3), training_at(3));
  expect_same(load_safetensors(folder / "model.safetensors"), model_at(3));
}

TEST(OthersFiles, WeightsBesideARecipeAreNoRunToGoOnWith) {
  const TemporaryFolder folder;
  put(folder / "config.toml", "a = 1\n");
  save_safetensors(folder / "model.safetensors", model_at(7));
  expect_error(ErrorKind::data, "it holds no run", [&] { RunDirectory::open(folder.path()); });
  make_run(folder / "run");
  fs::remove(folder / "run/training.safetensors");
  expect_error(ErrorKind::data, "training.safetensors is not, without which training would begin again",
               [&] { RunDirectory::open(folder / "run"); });
  expect_same(load_safetensors(folder / "model.safetensors"), model_at(7));
  expect_same(load_safetensors(folder / "run/model.safetensors"), model_at(1));
}

TEST(OthersFiles, AnEditedRecipeIsKeptWhereItIsReplaced) {
  const TemporaryFolder folder;
  make_run(folder.path());
  put(folder / "config.toml", "a = 1 # mine\n");
  expect_error(ErrorKind::usage, "config.toml is not a file", [&] { RunDirectory::create(folder.path(), true); });
  {
    RunDirectory run = RunDirectory::open(folder.path());
    EXPECT_EQ(run.write_config("a = 2\n"), folder / "config.edited.toml");
    EXPECT_EQ(run.write_config("a = 3\n"), fs::path());
    put(folder / "config.toml", "a = 4 # mine, too\n");
    EXPECT_EQ(run.write_config("a = 3\n"), folder / "config.edited-2.toml");
    fs::remove(folder / "config.toml");
    run.save(model_at(2), training_at(2));
    EXPECT_EQ(run.config(), "a = 3\n");
  }
  EXPECT_EQ(contents(folder / "config.edited.toml"), "a = 1 # mine\n");
  EXPECT_EQ(contents(folder / "config.edited-2.toml"), "a = 4 # mine, too\n");
  RunDirectory::remove(folder.path());
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"config.edited-2.toml", "config.edited.toml"}));
}

TEST(OthersFiles, ARunWithoutAListGoesOnAndIsNotReplaced) {
  const TemporaryFolder folder;
  make_run(folder.path());
  fs::remove(folder / ".norma-files");  // as a norma before this one left it
  expect_error(ErrorKind::usage, "of a norma that kept no list of its files", [&] { RunDirectory::create(folder.path(), true); });
  for (const char* name : {report_name, curves_name}) {  // what they say proves nothing: a user's notes may be in them
    const std::string was = contents(folder / name);
    expect_error(ErrorKind::usage, (folder / name).string() + " is not a file of norma's", [&] { RunDirectory::open(folder.path()); });
    EXPECT_EQ(contents(folder / name), was);
    fs::remove(folder / name);
  }
  {
    RunDirectory run = RunDirectory::open(folder.path());
    expect_same(run.load()->model, model_at(1));
    run.write_config("a = 1\n");  // what is there already is norma's from now on
    run.write_environment(this_environment());
    run.append(epoch(2), "cpu");
    run.save(model_at(2), training_at(2));
    run.write_report("page", "picture");
  }
  RunDirectory run = RunDirectory::create(folder.path(), true);
  EXPECT_TRUE(folder.list().empty());
}

TEST(OthersFiles, WithoutAListLinesAreARunsIfAllAreAsNormaWritesThemAndACheckpointIsThere) {
  for (const char* name : {metrics_name, health_name}) {
    const TemporaryFolder folder;
    make_run(folder.path());
    for (const char* other : {file_list_name, report_name, curves_name}) fs::remove(folder / other);
    const std::string lines = contents(folder / name), noted = "{\"note\":\"mine\"," + lines.substr(1);
    put(folder / name, noted);
    expect_error(ErrorKind::usage, (folder / name).string() + " is not a file", [&] { RunDirectory::open(folder.path()); });
    EXPECT_EQ(contents(folder / name), noted);
    put(folder / name, lines);
    { RunDirectory run = RunDirectory::open(folder.path()); }
    for (const char* other : {file_list_name, training_name, model_name}) fs::remove(folder / other);
    expect_error(ErrorKind::usage, "is not a file of norma's", [&] { RunDirectory::open(folder.path()); });
    EXPECT_EQ(contents(folder / name), lines);
  }
}

TEST(OthersFiles, WithoutAListOtherTensorsAreNoCheckpoint) {
  const TemporaryFolder folder;
  put(folder / config_name, "a = 1\n");
  RunDirectory::create(folder / "run").write_environment(this_environment());
  fs::rename(folder / "run/environment.json", folder / environment_name);
  save_safetensors(folder / training_name, model_at(7));
  expect_error(ErrorKind::usage, "it holds no state of a run", [&] { RunDirectory::open(folder.path()); });
  expect_same(load_safetensors(folder / training_name), model_at(7));
}

TEST(OthersFiles, ALineWithKeysOfOthersIsNamedAndStays) {
  for (const char* name : {metrics_name, health_name}) {
    const TemporaryFolder folder;
    make_run(folder.path());
    std::string lines = contents(folder / name);
    lines.insert(lines.rfind('}'), ",\"note\":\"mine\"");
    put(folder / name, lines);
    expect_error(ErrorKind::usage, (folder / name).string() + " is not a file", [&] { RunDirectory::create(folder.path(), true); });
    const std::string refused = (folder / name).string() + ":1: has keys or values that norma does not write; remove that line";
    expect_error(ErrorKind::data, refused, [&] { RunDirectory::open(folder.path()).keep_epochs(0); });
    EXPECT_EQ(contents(folder / name), lines);
  }
}

TEST(OthersFiles, ATableOrEventsThatWereChangedAreNamedAndStay) {
  for (const char* name : {table_name, events_name}) {
    const TemporaryFolder folder;
    make_run(folder.path());
    const std::string changed = contents(folder / name) + "mine, not a row\r\n";
    put(folder / name, changed);
    expect_error(ErrorKind::usage, (folder / name).string() + " is not a file", [&] { RunDirectory::create(folder.path(), true); });
    const Error refused = error_of([&] { RunDirectory::open(folder.path()).keep_epochs(0); });
    EXPECT_NE(std::string(refused.what()).find((folder / name).string()), std::string::npos) << refused.what();
    EXPECT_NE(std::string(refused.what()).find("move "), std::string::npos) << refused.what();
    EXPECT_EQ(contents(folder / name), changed);
  }
}

TEST(OthersFiles, ADamagedListIsNamedAndOneThatWasCutServes) {
  const TemporaryFolder folder;
  make_run(folder.path());
  std::ofstream(folder / ".norma-files", std::ios::app) << "0123456789abcdef";  // by a crash
  { RunDirectory run = RunDirectory::open(folder.path()); }
  RunDirectory::remove(folder.path());
  fs::create_directory(folder.path());
  put(folder / ".norma-files", "mine\n");
  expect_error(ErrorKind::data, ".norma-files:1: not a list of files as norma writes it", [&] { RunDirectory::create(folder.path()); });
  EXPECT_EQ(contents(folder / ".norma-files"), "mine\n");
}

TEST(OthersFiles, OnlyTemporariesOfItsOwnAreRemoved) {
  const TemporaryFolder folder;
  for (const char* name : {".norma-12-0.tmp", ".norma-notes.tmp", ".norma-1-2-3.tmp", ".norma-.tmp"}) put(folder / name, "x");
  fs::create_directory(folder / ".norma-3-4.tmp");
  RunDirectory run = RunDirectory::create(folder.path());
  EXPECT_EQ(folder.list(), (std::vector<std::string>{".norma-.tmp", ".norma-1-2-3.tmp", ".norma-3-4.tmp", ".norma-notes.tmp"}));
}

TEST(OthersFiles, TheListOfALongRunStaysShort) {
  const TemporaryFolder folder;
  FileList list(folder.path());
  for (int i = 0; i < 280; ++i) list.write("a", std::to_string(i));
  EXPECT_LT(fs::file_size(folder / ".norma-files"), 200U * 70);
  EXPECT_TRUE(FileList(folder.path()).ours("a"));
  put(folder / "a", "0");
  EXPECT_FALSE(FileList(folder.path()).ours("a"));
}

}  // namespace
}  // namespace norma::app
