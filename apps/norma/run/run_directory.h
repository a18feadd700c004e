// A run directory: the files that explain one training run and let it go on.
//
//   config.toml           the recipe with every default written out
//   environment.json      what it ran on; a resumed run adds an entry to "resumed"
//   metrics.jsonl         one line an epoch
//   health.jsonl          one line an epoch that is logged (health.h)
//   training.safetensors  all that resuming needs: parameters and buffers (names "model."...), optimizer state, counters
//   model.safetensors     parameters and buffers alone, under their state_dict names
//   report.html, curves.svg
//   .norma-files          the list of these (file_list.h): a file of one of these names that is not on it, or has other contents than
//                         norma gave it, is neither replaced nor removed
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

#include "apps/norma/files/file_list.h"
#include "apps/norma/files/folder_lock.h"
#include "apps/norma/health/health.h"
#include "apps/norma/run/metrics.h"
#include "apps/norma/system/machine.h"
#include "norma/checkpoint.h"

namespace norma::app {

class RunDirectory {
 public:
  // For a run from its start; makes the folder. Throws Error(usage) if the folder holds a run, unless overwrite: then that run's files
  // are removed, and no others. Files of these names that are not norma's are refused by name, with overwrite, too.
  static RunDirectory create(const std::filesystem::path& path, bool overwrite = false);
  // What create() would refuse, without touching anything.
  static void check(const std::filesystem::path& path, bool overwrite = false);
  // Removes the run that is there, and the folder where nothing else is in it. Throws as create() with overwrite.
  static void remove(const std::filesystem::path& path);
  // To go on with the run it holds; config.toml may have been edited. Without a list, files whose contents are no proof are in the way.
  // Throws Error(data) if it holds none that norma began, Error(usage) naming a file that is in the way.
  static RunDirectory open(const std::filesystem::path& path);
  // Whether a file of a run's is there, be it norma's or not.
  static bool any(const std::filesystem::path& path);
  // All but any() throw Error(failure) if a second norma holds the folder, and all but it and check() hold it until the object or the
  // process ends.

  const std::filesystem::path& path() const { return path_; }

  // What a user wrote into config.toml is kept beside it: the new name, or empty where there was nothing to keep.
  std::filesystem::path write_config(std::string_view toml);
  std::string config() const;
  void write_environment(const Environment& e);
  void write_report(std::string_view html, std::string_view svg);

  struct Saved {
    Checkpoint model, training;
  };
  // The lines of metrics.jsonl and health.jsonl are on disk before the state, as Trainer::model() and Trainer::training() give it. A
  // config.toml that somebody removed meanwhile is there again.
  void save(Checkpoint model, Checkpoint training);
  bool has_checkpoint() const;
  // The last state saved; nothing if the run ended before its first checkpoint, and so begins again.
  std::optional<Saved> load();
  // Of a run that failed before its first step: it is none, and the same folder can be used again.
  void leave_no_trace();

  // Appends one line, which save() syncs; on failure the file is as before.
  void append(const EpochMetrics& m, std::string_view device);
  void append(const EpochHealth& h);
  // Drops the lines of epochs after `last`.
  void keep_epochs(std::int64_t last) const;
  std::vector<RecordedEpoch> epochs() const;
  std::vector<EpochHealth> health() const;

 private:
  explicit RunDirectory(std::filesystem::path path);
  void remove_files();
  void append(const char* name, std::string_view line);

  std::filesystem::path path_;
  FolderLock lock_;
  FileList files_;
  std::string config_;  // as written last
};

}  // namespace norma::app
