// The runs of a comparison, several at a time, and what came of them: results.jsonl, one line a run that ended.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "apps/norma/comparison.h"
#include "apps/norma/folder_lock.h"
#include "norma/trainer.h"

namespace norma::app {

struct RunResult {
  std::string name;       // PlannedRun::name
  bool diverged = false;  // its figures are then those of the last epoch before, if there was one
  std::string detail;     // why
  Measured measured;      // after the last epoch
  double seconds = 0;     // of all epochs
  std::string parameters_hash;
  std::vector<EpochMetrics> epochs;  // from the run's metrics.jsonl
};

//   comparison.toml   what is compared: norma compare <it> does it again
//   results.jsonl     a line each run that finished or diverged
//   runs/<name>/      each run's directory, as norma train makes it but for its report
//   report.html, comparison.svg
class ComparisonDirectory {
 public:
  // Throws Error(usage) if the folder holds a comparison, unless overwrite: then all of it is removed.
  static ComparisonDirectory create(const std::filesystem::path& path, const Comparison& comparison, bool overwrite);
  // Throws Error(data) if it holds none.
  static ComparisonDirectory open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  Comparison comparison() const;
  std::filesystem::path run(const std::string& name) const { return path_ / "runs" / name; }

  void append(const RunResult& result) const;
  // Of runs that ended, in the order they did; a last line without its line feed was cut by a crash and is left out.
  std::vector<RunResult> results() const;

 private:
  explicit ComparisonDirectory(std::filesystem::path path) : path_(std::move(path)), lock_(path_) {}

  std::filesystem::path path_;
  FolderLock lock_;
};

struct RunsOptions {
  int jobs = 0;                                                        // at a time; 0: as many as there are cores (of a GPU one)
  std::function<void(const PlannedRun&, const RunResult&)> on_result;  // from one thread at a time
  std::function<void()> on_wait;                                       // about ten times a second, from the calling thread
};

// Runs those of `runs` that `directory` has no result of, each going on where it was interrupted, until all ended or a signal came: then
// those under way are saved. Throws what a run threw, naming it, once the others were stopped and saved.
void run_all(const std::vector<PlannedRun>& runs, const ComparisonDirectory& directory, const RunsOptions& options);

}  // namespace norma::app
