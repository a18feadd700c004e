// RunDirectory: creation, the lock, checkpoints, metrics.
#include "apps/norma/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>
#include <utility>

#include "apps/norma/json_lines.h"
#include "norma/error.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* config_name = "config.toml";
constexpr const char* environment_name = "environment.json";
constexpr const char* metrics_name = "metrics.jsonl";
constexpr const char* health_name = "health.jsonl";
constexpr const char* training_name = "training.safetensors";
constexpr const char* model_name = "model.safetensors";
constexpr const char* report_name = "report.html";
constexpr const char* curves_name = "curves.svg";

// In the order in which they are removed: without its checkpoint a half-removed run begins again under its own configuration.
constexpr std::array run_files = {training_name, metrics_name, health_name,      model_name,
                                  report_name,   curves_name,  environment_name, config_name};

constexpr std::string_view model_prefix = "model.";  // of the model's tensors and metadata in training.safetensors

// The contents of a file, or nothing where there is none.
std::optional<std::string> read_text(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error) && !error) return {};
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw Error(ErrorKind::data, file.string() + ": cannot be read");
  return text;
}

bool same(const Checkpoint& a, const Checkpoint& b) {
  const auto same_tensor = [](const StoredTensor& x, const StoredTensor& y) {
    return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape && x.bytes == y.bytes;
  };
  return a.metadata == b.metadata && std::ranges::equal(a.tensors, b.tensors, same_tensor);
}

bool holds(const fs::path& file, const Checkpoint& checkpoint) {
  try {
    return same(load_safetensors(file), checkpoint);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data) throw;
    return false;  // absent or damaged: to be written again
  }
}

Checkpoint merge(const Checkpoint& model, const Checkpoint& training) {
  Checkpoint all = training;
  const auto refuse = [](const std::string& name) {
    if (name.starts_with(model_prefix)) throw Error(ErrorKind::failure, fmt::format("training state must not be called '{}'", name));
  };
  for (const StoredTensor& t : training.tensors) refuse(t.name);
  for (const auto& [key, value] : training.metadata) refuse(key);
  for (StoredTensor t : model.tensors) {
    t.name.insert(0, model_prefix);
    all.tensors.push_back(std::move(t));
  }
  for (const auto& [key, value] : model.metadata) all.metadata.emplace(std::string(model_prefix) + key, value);
  return all;
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

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)), lock_(path_) {}

RunDirectory RunDirectory::create(const fs::path& path, bool overwrite) {
  std::error_code error;
  fs::create_directories(path, error);
  // "EEXIST" for a path through a file says less than what stands in the way
  if (error || !fs::is_directory(path))
    throw Error(ErrorKind::failure, fmt::format("cannot make the run directory {}: {}", path.string(),
                                                error ? error.message() : std::string("a file of that name exists")));
  RunDirectory run(path);
  run.remove_leftovers();
  for (const char* name : run_files) {
    const fs::path file = path / name;
    if (!fs::exists(fs::symlink_status(file, error))) continue;
    if (!overwrite)
      throw Error(ErrorKind::usage, fmt::format("{} already holds a run ({}): --resume goes on with it, --force replaces it, --out "
                                                "names another folder",
                                                path.string(), name));
    if (!fs::remove(file, error)) throw Error(ErrorKind::failure, fmt::format("cannot remove {}: {}", file.string(), error.message()));
  }
  return run;
}

RunDirectory RunDirectory::open(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) throw Error(ErrorKind::data, fmt::format("cannot resume {}: no such folder", path.string()));
  RunDirectory run(path);
  if (!fs::exists(path / config_name, error))
    throw Error(ErrorKind::data, fmt::format("cannot resume {}: it holds no run (no {})", path.string(), config_name));
  run.remove_leftovers();
  return run;
}

// Temporary files of write_file that a kill left behind. The lock says that no one is writing them now.
void RunDirectory::remove_leftovers() const {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(".norma-") && name.ends_with(".tmp")) leftovers.push_back(it->path());
  }
  for (const fs::path& file : leftovers) fs::remove(file, error);
}

void RunDirectory::write_config(std::string_view toml) const { write_file(path_ / config_name, toml); }

std::string RunDirectory::config() const {
  const std::optional<std::string> text = read_text(path_ / config_name);
  if (!text) throw Error(ErrorKind::data, fmt::format("{}: no such file", (path_ / config_name).string()));
  return *text;
}

void RunDirectory::write_environment(const Environment& e) const {
  const fs::path file = path_ / environment_name;
  ordered_json all = to_json(e);
  if (const std::optional<std::string> text = read_text(file)) {
    all = ordered_json::parse(*text, nullptr, false);
    if (!all.is_object() || (all.contains("resumed") && !all["resumed"].is_array()))
      throw Error(ErrorKind::data, file.string() + ": not an environment as norma writes it");
    all["resumed"].push_back(to_json(e));
  }
  write_file(file, json_text(all, 2) + "\n");
}

void RunDirectory::write_report(const RunReport& report) const {
  write_file(path_ / curves_name, curves_svg(report));
  write_file(path_ / report_name, report_html(report));
}

void RunDirectory::save(const Checkpoint& model, const Checkpoint& training) const {
  for (const char* name : {metrics_name, health_name}) sync_file(path_ / name);
  save_safetensors(path_ / training_name, merge(model, training));
  save_safetensors(path_ / model_name, model);
}

std::optional<RunDirectory::Saved> RunDirectory::load() const {
  const fs::path file = path_ / training_name;
  std::error_code error;
  if (!fs::exists(file, error) && !error) return {};
  Saved saved = split(load_safetensors(file));
  if (!holds(path_ / model_name, saved.model)) save_safetensors(path_ / model_name, saved.model);
  return saved;
}

void RunDirectory::append(const EpochMetrics& m, std::string_view device) const {
  append_line(path_ / metrics_name, json_text(to_json(m, device)) + "\n");
}
void RunDirectory::append(const EpochHealth& h) const { append_line(path_ / health_name, json_text(to_json(h)) + "\n"); }

void RunDirectory::keep_epochs(std::int64_t last) const {
  const auto keep = [&](const char* name, auto text) {
    const std::optional<std::string> before = read_text(path_ / name);
    if (!before) return;
    if (const std::string kept = text(); kept != *before) write_file(path_ / name, kept);
  };
  keep(metrics_name, [&] {
    std::string kept;
    for (const RecordedEpoch& r : epochs())
      if (r.metrics.epoch <= last) kept += json_text(to_json(r.metrics, r.device)) + "\n";
    return kept;
  });
  keep(health_name, [&] {
    std::string kept;
    for (const EpochHealth& h : health())
      if (h.epoch <= last) kept += json_text(to_json(h)) + "\n";
    return kept;
  });
}

std::vector<RecordedEpoch> RunDirectory::epochs() const { return read_metrics(path_ / metrics_name); }
std::vector<EpochHealth> RunDirectory::health() const { return read_health(path_ / health_name); }

}  // namespace norma::app
