// RunDirectory: creation, the lock, checkpoints, metrics.
#include "apps/norma/run/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/run_files.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Tensors are moved, both ways: a copy of all would be the largest thing in memory.
Checkpoint merge(Checkpoint model, Checkpoint training) {
  const auto refuse = [](const std::string& name) {
    if (name.starts_with(model_prefix)) throw Error(ErrorKind::failure, fmt::format("training state must not be called '{}'", name));
  };
  for (const StoredTensor& t : training.tensors) refuse(t.name);
  for (const auto& [key, value] : training.metadata) refuse(key);
  for (StoredTensor& t : model.tensors) {
    t.name.insert(0, model_prefix);
    training.tensors.push_back(std::move(t));
  }
  for (const auto& [key, value] : model.metadata) training.metadata.emplace(std::string(model_prefix) + key, value);
  return training;
}

bool holds_nothing(const fs::path& file) {
  std::error_code error;
  return !there(file) || fs::file_size(file, error) == 0;
}

RunDirectory::Saved split(Checkpoint all) {
  RunDirectory::Saved saved;
  const auto strip = [](std::string name) { return name.substr(model_prefix.size()); };
  for (StoredTensor& t : all.tensors) {
    const bool of_model = t.name.starts_with(model_prefix);
    if (of_model) t.name = strip(t.name);
    (of_model ? saved.model : saved.training).tensors.push_back(std::move(t));
  }
  for (const auto& [key, value] : all.metadata) {
    if (key.starts_with(model_prefix)) saved.model.metadata.emplace(strip(key), value);
    else saved.training.metadata.emplace(key, value);
  }
  return saved;
}

}  // namespace

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)), lock_(path_), files_(path_) {}

bool RunDirectory::any(const fs::path& path) {
  return std::ranges::any_of(run_files, [&](const char* name) { return there(path / name); });
}

void RunDirectory::check(const fs::path& path, bool overwrite) {
  std::error_code error;
  // While another norma writes there, its list and its files need not agree.
  const FolderLock lock = fs::is_directory(path, error) ? FolderLock(path) : FolderLock();
  refuse_run(path, FileList(path), overwrite);
}

RunDirectory RunDirectory::create(const fs::path& path, bool overwrite) {
  make_folder(path, "the run directory");
  RunDirectory run(path);
  remove_leftovers(path);
  refuse_run(path, run.files_, overwrite);
  run.remove_files();
  return run;
}

void RunDirectory::remove(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return;
  create(path, true);
  fs::remove(path, error);  // only where nothing else is in it
}

RunDirectory RunDirectory::open(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) throw Error(ErrorKind::data, fmt::format("cannot resume {}: no such folder", path.string()));
  RunDirectory run(path);
  if (!fs::exists(path / config_name, error))
    throw Error(ErrorKind::data, fmt::format("cannot resume {}: it holds no run (no {})", path.string(), config_name));
  remove_leftovers(path);
  const bool listed = run.files_.names(config_name);
  if (!listed && !begun_without_a_list(path))
    throw Error(ErrorKind::data,
                fmt::format("cannot resume {0}: it holds no run, only files that norma did not write; to train the recipe in "
                            "{0}/{1} name it, and another folder with --out",
                            path.string(), config_name));
  const bool checkpoint = there(path / training_name);
  if (!checkpoint && there(path / model_name))
    throw Error(ErrorKind::data, fmt::format("cannot resume {}: {} is there and {} is not, without which training would begin again and "
                                             "overwrite those weights",
                                             path.string(), model_name, training_name));
  if (checkpoint && !run.files_.ours(training_name)) {  // a copy put back; load() throws if it is invalid
    const Checkpoint model = split(load_safetensors(path / training_name)).model;
    if (model.tensors.empty()) refuse_other(path / training_name, "it holds no state of a run; move it away");
    run.files_.adopt(training_name);
    if (!run.files_.ours(model_name) && holds_safetensors(path / model_name, model)) run.files_.adopt(model_name);
  }
  if (!run.files_.ours(environment_name) && is_environment(path / environment_name)) run.files_.adopt(environment_name);
  for (const char* name : run_files) {
    const bool lines = grows(name);
    // Lines on the list are read before anything is written. Without a list, lines in a folder with a checkpoint are norma's if all of them
    // parse.
    const bool by_content =
        lines && (run.files_.names(name) ? is_regular(path / name) : !listed && checkpoint && has_lines(path / name, name));
    if (!by_content && !run.files_.ours(name) && name != std::string_view(config_name))
      refuse_other(path / name, "move it away; --resume then writes its own");
  }
  if (!listed) {
    for (const char* name : growing_files)
      if (there(path / name)) run.files_.add_lines(name);
    run.files_.add_lines(config_name);  // last: with it the folder counts as one with a list
  }
  run.config_ = run.config();
  return run;
}

void RunDirectory::remove_files() {
  for (const char* name : run_files) files_.remove(name);
  files_.forget(run_files);
}

void RunDirectory::leave_no_trace() {
  if (has_checkpoint() || !std::ranges::all_of(run_files, [&](const char* name) { return is_ours(path_, files_, name); })) return;
  remove_files();
  std::error_code ignored;
  fs::remove(path_, ignored);  // only where nothing else is in it
}

fs::path RunDirectory::write_config(std::string_view toml) {
  const fs::path file = path_ / config_name;
  fs::path kept;
  if (!files_.ours(config_name) && read_text(file) != toml) {
    // A second name first, so that there is a config.toml at any moment.
    if (!is_regular(file)) refuse_other(file, "move it away");
    kept = path_ / "config.edited.toml";
    std::error_code error;
    for (int k = 2; fs::create_hard_link(file, kept, error), error == std::errc::file_exists; ++k)
      kept = path_ / fmt::format("config.edited-{}.toml", k);
    if (error) refuse_other(file, fmt::format("it cannot be kept as {} ({}); move it away", kept.string(), error.message()));
    files_.adopt(config_name);  // by this name it may go now
  }
  files_.write(config_name, toml);
  config_ = toml;
  return kept;
}

std::string RunDirectory::config() const {
  const std::optional<std::string> text = read_text(path_ / config_name);
  if (!text) throw Error(ErrorKind::data, fmt::format("{}: no such file", (path_ / config_name).string()));
  return *text;
}

void RunDirectory::write_environment(const Environment& e) {
  const fs::path file = path_ / environment_name;
  ordered_json all = to_json(e);
  const std::optional<std::string> text = read_text(file);
  const bool blank = text && text->find_first_not_of(" \t\r\n") == std::string::npos;
  if (blank) files_.adopt(environment_name);  // nothing is lost with it
  if (text && !blank) {
    all = ordered_json::parse(*text, nullptr, false);
    if (!all.is_object() || (all.contains("resumed") && !all["resumed"].is_array()))
      throw Error(ErrorKind::data, file.string() + ": not an environment as norma writes it");
    try {
      take_schema(all);
    } catch (const Error& fault) {
      throw Error(ErrorKind::data, fmt::format("{}: {}; name another folder with --out", file.string(), fault.what()));
    }
    all["resumed"].push_back(to_json(e));
  }
  files_.write(environment_name, json_document(all, 2));
}

void RunDirectory::write_report(std::string_view html, std::string_view svg) {
  files_.write(curves_name, svg);
  files_.write(report_name, html);
}

void RunDirectory::save(Checkpoint model, Checkpoint training) {
  for (const char* name : growing_files) sync_file(path_ / name);
  const auto write = [&](const char* name, const Checkpoint& c) { files_.write(name, encode_safetensors(c, path_ / name)); };
  Checkpoint all = merge(std::move(model), std::move(training));
  write(training_name, all);
  write(model_name, split(std::move(all)).model);
  if (!config_.empty() && !there(path_ / config_name)) files_.write(config_name, config_);
}

bool RunDirectory::has_checkpoint() const { return there(path_ / training_name); }

std::optional<RunDirectory::Saved> RunDirectory::load() {
  const fs::path file = path_ / training_name;
  std::error_code error;
  if (!fs::exists(file, error) && !error) return {};
  Saved saved = split(load_safetensors(file));
  if (!holds_safetensors(path_ / model_name, saved.model)) files_.write(model_name, encode_safetensors(saved.model, path_ / model_name));
  return saved;
}

void RunDirectory::append(const char* name, std::string_view line) {
  if (!files_.names(name) && there(path_ / name)) refuse_other(path_ / name, "move it away");
  files_.add_lines(name);
  append_line(path_ / name, line);
}

void RunDirectory::append(const EpochMetrics& m, std::string_view device) {
  append(metrics_name, json_document(to_json(m, device)));
  append(table_name, (holds_nothing(path_ / table_name) ? csv_header() : "") + csv_row(m, device));
}

void RunDirectory::append(const EpochHealth& h) { append(health_name, json_document(to_json(h))); }

void RunDirectory::append(std::int64_t epoch, std::span<const Scalar> scalars) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  append(events_name, (holds_nothing(path_ / events_name) ? event_file_begin(now) : "") + event_of(now, epoch, scalars));
}

void RunDirectory::keep_epochs(std::int64_t last) {
  for (const char* name : {metrics_name, health_name})
    keep_json_lines(path_ / name, [&](const ordered_json& j) { return epoch_of(j, name) <= last; });
  keep_table();
  keep_events(last);
}

void RunDirectory::keep_table() {
  const std::optional<std::string> written = read_text(path_ / table_name);
  if (written && !is_csv(*written)) refuse_other(path_ / table_name, "move it away; --resume then writes its own");
  std::string table = csv_header();
  const std::vector<RecordedEpoch> all = epochs();
  for (const RecordedEpoch& e : all) table += csv_row(e.metrics, e.device);
  if (written == table || (!written && all.empty())) return;
  files_.add_lines(table_name);
  write_file(path_ / table_name, table);
}

void RunDirectory::keep_events(std::int64_t last) {
  const fs::path file = path_ / events_name;
  if (holds_nothing(file)) return;
  const std::size_t begin = event_file_begin(0).size();
  std::uint64_t kept = begin;
  const std::uint64_t whole = for_each_event(file, [&](std::int64_t epoch, std::uint64_t end) {
    if (epoch <= last) kept = end;
  });
  if (whole < begin) kept = 0;
  if (kept < fs::file_size(file)) write_file(file, std::string_view(read_file(file)).substr(0, kept));
}

std::vector<RecordedEpoch> RunDirectory::epochs() const { return read_metrics(path_ / metrics_name); }
std::vector<EpochHealth> RunDirectory::health() const { return read_health(path_ / health_name); }

}  // namespace norma::app
