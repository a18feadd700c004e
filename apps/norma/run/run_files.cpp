#include "apps/norma/run/run_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "apps/norma/events/event_file.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/health/health.h"
#include "apps/norma/run/metrics.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

bool there(const fs::path& file) {
  std::error_code error;
  return fs::exists(fs::symlink_status(file, error));
}

bool is_regular(const fs::path& file) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(file, error));
}

std::optional<std::string> read_text(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error) && !error) return {};
  return read_file(file);
}

std::int64_t epoch_of(const ordered_json& line, const std::string& name) {
  ordered_json written;
  if (name == metrics_name) {
    const RecordedEpoch e = epoch_from_json(line);
    written = to_json(e.metrics, e.device);
  } else {
    written = to_json(health_from_json(line));
  }
  if (written != line) throw Error(ErrorKind::data, "has keys or values that norma does not write");
  return written["epoch"].get<std::int64_t>();
}

bool grows(std::string_view name) { return std::ranges::find(growing_files, name) != growing_files.end(); }

bool has_lines(const fs::path& file, const std::string& name) {
  if (!is_regular(file)) return false;
  try {
    if (name == table_name) return is_csv(read_text(file).value_or(""));
    if (name == events_name) return for_each_event(file, [](std::int64_t, std::uint64_t) {}), true;
    for_each_json_line(file, [&](const ordered_json& j) { epoch_of(j, name); });
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool is_environment(const fs::path& file) {
  if (!is_regular(file)) return false;
  const std::string text = read_text(file).value_or("");
  const ordered_json j = ordered_json::parse(text, nullptr, false);
  return j.is_object() && j.contains("norma_version") && j.contains("compiler") && j.contains("started");
}

bool begun_without_a_list(const fs::path& run) {
  if (is_environment(run / environment_name)) return true;
  if (!is_regular(run / training_name)) return false;
  const Checkpoint training = load_safetensors(run / training_name);
  return std::ranges::any_of(training.tensors, [](const StoredTensor& t) { return t.name.starts_with(model_prefix); });
}

bool is_ours(const fs::path& run, const FileList& files, const std::string& name) {
  if (grows(name)) return !there(run / name) || (files.names(name) && has_lines(run / name, name));
  return files.ours(name);
}

// A file that is not norma's is named first, since --force does not help there.
void refuse_run(const fs::path& run, const FileList& files, bool overwrite) {
  if (there(run / "comparison.toml"))
    throw Error(ErrorKind::usage, run.string() + " holds a comparison of norma compare: --out names another folder");
  const char* found = nullptr;
  for (const char* name : run_files) {
    if (!there(run / name)) continue;
    found = name;
    if (is_ours(run, files, name)) continue;
    if (!files.names(config_name) && is_environment(run / environment_name))
      throw Error(ErrorKind::usage,
                  fmt::format("{} already holds a run ({}) of a norma that kept no list of its files: --resume goes on with "
                              "it, --out names another folder; to replace it, remove those files",
                              run.string(), name));
    refuse_other(run / name, fmt::format("{}it stays as it is; move it away, or name another folder with --out",
                                         files.names(config_name) ? "" : run.string() + " holds no run, only a file of that name; "));
  }
  if (found && !overwrite)
    throw Error(ErrorKind::usage, fmt::format("{} already holds a run ({}): --resume goes on with it, --force replaces it, --out "
                                              "names another folder",
                                              run.string(), found));
}

void refuse_replacement(const fs::path& folder, std::initializer_list<const char*> names, bool force, const char* other) {
  const FileList files(folder);
  for (const char* name : names) {
    if (!there(folder / name)) continue;
    if (!force)
      throw Error(ErrorKind::usage, fmt::format("{} exists: --force replaces it, {} names another", (folder / name).string(), other));
    if (!files.ours(name))
      refuse_other(folder / name, fmt::format("--force does not replace it; move it away, or name another with {}", other));
  }
}

}  // namespace norma::app
