// A run directory: the files that explain one training run and let it resume.
//
//   config.toml           the recipe with every default written out
//   environment.json      machine and build; a resumed run adds an entry to "resumed"
//   metrics.jsonl         one line an epoch
//   metrics.csv           the same as a table
//   health.jsonl          one line an epoch that is logged (health.h)
//   events.out.tfevents.norma   where train.tensorboard is true: an event an epoch (event_file.h)
//   training.safetensors  all that resuming needs: parameters and buffers (names "model."...), optimizer state, counters
//   model.safetensors     parameters and buffers alone, under their state_dict names
//   report.html, curves.svg
//   .norma-files          the list of these (file_list.h). norma neither replaces nor removes a file of one of these names that is not on
//                         it, or has other contents than norma gave it
//
// After a kill at any moment, resuming finds one consistent state: it reads training.safetensors alone, and one rename replaces that file.
// model.safetensors is written later and may be one save behind; load() then writes it again. An epoch's lines of metrics.jsonl and the
// other growing files are written before its checkpoint. So lines may be ahead of the checkpoint, never missing. keep_epochs() drops those
// ahead, and the resumed run writes them anew. Every other file is replaced as a whole (write_file).
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "apps/norma/events/event_file.h"
#include "apps/norma/files/file_list.h"
#include "apps/norma/files/folder_lock.h"
#include "apps/norma/health/health.h"
#include "apps/norma/run/metrics.h"
#include "apps/norma/system/machine.h"
#include "norma/checkpoint.h"

namespace norma::app {

class RunDirectory {
 public:
  // Makes the folder of a new run. Throws Error(usage) if the folder holds a run, unless overwrite: then that run's files are removed, and
  // no others. Throws Error(usage) naming files of these names that are not norma's, with overwrite, too.
  static RunDirectory create(const std::filesystem::path& path, bool overwrite = false);
  // Throws what create() would throw, and touches nothing.
  static void check(const std::filesystem::path& path, bool overwrite = false);
  // Removes the run that is there, and the folder where nothing else is in it. Throws as create() with overwrite.
  static void remove(const std::filesystem::path& path);
  // Opens a folder to resume its run; config.toml may have been edited. Without a list, files whose contents prove nothing are in the way.
  // Throws Error(data) if it holds no run that norma began, Error(usage) naming a file that is in the way.
  static RunDirectory open(const std::filesystem::path& path);
  // True if the folder has a file with a run's file name, norma's or not.
  static bool any(const std::filesystem::path& path);
  // All but any() throw Error(failure) if a second norma holds the folder. All but any() and check() hold it until the object or the
  // process ends.

  const std::filesystem::path& path() const { return path_; }

  // Keeps a config.toml that a user edited under another name. Returns that name, or empty where nothing was kept.
  std::filesystem::path write_config(std::string_view toml);
  std::string config() const;
  void write_environment(const Environment& e);
  void write_report(std::string_view html, std::string_view svg);

  struct Saved {
    Checkpoint model, training;
  };
  // The lines of growing files are on disk before the state, as Trainer::model() and Trainer::training() give it. A
  // config.toml that somebody removed meanwhile is there again.
  void save(Checkpoint model, Checkpoint training);
  bool has_checkpoint() const;
  // The last state saved; nothing if the run ended before its first checkpoint, and so begins again.
  std::optional<Saved> load();
  // Removes a run that failed before its first step, so that the folder can be used again.
  void leave_no_trace();

  // Appends one line, which save() syncs; on failure the file is as before.
  void append(const EpochMetrics& m, std::string_view device);
  void append(const EpochHealth& h);
  // An event of TensorBoard, at the present time.
  void append(std::int64_t epoch, std::span<const Scalar> scalars);
  // Drops the lines of epochs after `last`. metrics.csv is then as metrics.jsonl says.
  void keep_epochs(std::int64_t last);
  std::vector<RecordedEpoch> epochs() const;
  std::vector<EpochHealth> health() const;

 private:
  explicit RunDirectory(std::filesystem::path path);
  void remove_files();
  void append(const char* name, std::string_view line);
  void keep_table();
  void keep_events(std::int64_t last);

  std::filesystem::path path_;
  FolderLock lock_;
  FileList files_;
  std::string config_;  // as written last
};

}  // namespace norma::app
