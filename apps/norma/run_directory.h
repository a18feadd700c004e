// A run directory: the files that explain one training run and let it go on.
//
//   config.toml           the recipe with every default written out
//   environment.json      what it ran on; a resumed run adds an entry to "resumed"
//   metrics.jsonl         one line an epoch
//   health.jsonl          one line an epoch that is logged (health.h)
//   training.safetensors  all that resuming needs: parameters and buffers (names "model."...), optimizer state, counters
//   model.safetensors     parameters and buffers alone, under their state_dict names
//   report.html, curves.svg
//
// After a kill at any moment, resuming finds one consistent state, because it reads training.safetensors alone, and that file is replaced
// in one rename. model.safetensors is written after it and so may be one save behind; load() then writes it again. An epoch's lines of
// metrics.jsonl and health.jsonl are written before its checkpoint, so lines may be ahead of the checkpoint, never missing; keep_epochs()
// drops those ahead, and the resumed run writes them anew. Every other file is replaced as a whole (write_file).
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "apps/norma/environment.h"
#include "apps/norma/folder_lock.h"
#include "apps/norma/health.h"
#include "apps/norma/metrics.h"
#include "apps/norma/report.h"
#include "norma/checkpoint.h"

namespace norma::app {

class RunDirectory {
 public:
  // For a run from its start; makes the folder. Throws Error(usage) if the folder holds a run, unless overwrite: then that run's files
  // are removed, and no others.
  static RunDirectory create(const std::filesystem::path& path, bool overwrite = false);
  // To go on with the run it holds. Throws Error(data) if it holds none.
  static RunDirectory open(const std::filesystem::path& path);
  // Both hold the folder against a second norma until the object or the process ends (Error(failure) if it is held).

  const std::filesystem::path& path() const { return path_; }

  void write_config(std::string_view toml) const;
  std::string config() const;
  void write_environment(const Environment& e) const;
  void write_report(const RunReport& report) const;

  struct Saved {
    Checkpoint model, training;
  };
  // The lines of metrics.jsonl and health.jsonl are on disk before the state, as Trainer::model() and Trainer::training() give it.
  void save(const Checkpoint& model, const Checkpoint& training) const;
  // The last state saved; nothing if the run ended before its first checkpoint, and so begins again.
  std::optional<Saved> load() const;

  // Appends one line, which save() syncs; on failure the file is as before.
  void append(const EpochMetrics& m, std::string_view device) const;
  void append(const EpochHealth& h) const;
  // Drops the lines of epochs after `last`.
  void keep_epochs(std::int64_t last) const;
  std::vector<RecordedEpoch> epochs() const;
  std::vector<EpochHealth> health() const;

 private:
  explicit RunDirectory(std::filesystem::path path);
  void remove_leftovers() const;

  std::filesystem::path path_;
  FolderLock lock_;
};

}  // namespace norma::app
