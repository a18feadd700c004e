// The runs of a comparison, several at a time, and what came of them: results.jsonl, one line a run that ended.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "apps/norma/compare/comparison.h"
#include "apps/norma/files/file_list.h"
#include "apps/norma/files/folder_lock.h"
#include "apps/norma/health/health.h"
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

// Figures of a run from its epochs: all but `overfit` and `diverged`.
RunResult figures(const std::string& name, const std::vector<EpochMetrics>& epochs, const std::vector<EpochHealth>& health);

// A comparison's folder:
//   comparison.toml   the comparison: norma compare <it> repeats it
//   results.jsonl     a line each run that finished or diverged
//   runs/<name>/      each run's directory, as norma train makes it but for its report
//   report.html, comparison.svg
//   .norma-files      the list of these (file_list.h): nothing else is replaced or removed
class ComparisonDirectory {
 public:
  // Throws Error(usage) if the folder holds a comparison, unless overwrite: then what norma wrote of it is removed. Files of these names
  // that are not norma's are refused by name, with overwrite, too.
  static ComparisonDirectory create(const std::filesystem::path& path, const Comparison& comparison, bool overwrite);
  // Throws Error(data) if it holds none.
  static ComparisonDirectory open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  Comparison comparison() const;
  // Replaces the file. Throws Error(usage) where that was edited.
  void write(const Comparison& comparison);
  std::filesystem::path run(const std::string& name) const { return path_ / "runs" / name; }

  // Throws Error(usage) where a run is in the folder of that name that this comparison did not begin.
  void check_run(const std::string& name) const;
  // Puts a run's folder on the list, before it is made.
  void claim_run(const std::string& name);

  // Both: one thread at a time.
  void append(const RunResult& result);
  void write_report(std::string_view html, std::string_view svg);
  // The runs that ended, in the order they did; a last line that a crash cut is left out.
  std::vector<RunResult> results() const;
  // Throws Error(data) naming a result of another comparison's run, or one that contradicts the run's own folder, where that exists.
  void check_results(const std::vector<PlannedRun>& runs) const;

 private:
  explicit ComparisonDirectory(std::filesystem::path path) : path_(std::move(path)), lock_(path_), files_(path_) {}
  void remove_files();

  std::filesystem::path path_;
  FolderLock lock_;
  FileList files_;
  bool listed_ = true;  // false: begun by a norma that kept no list
};

struct RunsOptions {
  int jobs = 0;                                                        // at a time; 0: as many as there are cores (of a GPU one)
  std::function<void(const PlannedRun&, const RunResult&)> on_result;  // from one thread at a time
  std::function<void()> on_wait;                                       // about ten times a second, from the calling thread
};

// Runs those of `runs` without a result in `directory`. Each resumes where it was interrupted. Returns when all have ended or a signal
// came; after a signal the current runs are saved. If a run throws, stops and saves the others, then throws that error with the run's name.
void run_all(const std::vector<PlannedRun>& runs, ComparisonDirectory& directory, const RunsOptions& options);

}  // namespace norma::app
