// ComparisonDirectory: creation, the list of its files, results.jsonl.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "apps/norma/compare/comparison_runs.h"
#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/metrics.h"
#include "apps/norma/run/run_directory.h"
#include "apps/norma/run/run_files.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

constexpr const char* comparison_name = "comparison.toml";
constexpr const char* results_name = "results.jsonl";
constexpr const char* picture_name = "comparison.svg";
constexpr const char* runs_name = "runs";

// Order of removal: a comparison that is half removed can still be resumed.
constexpr std::array files_of_it = {report_name, picture_name, results_name, comparison_name};

ordered_json to_json(const RunResult& r) {
  ordered_json j{{"run", r.name}, {"status", r.diverged ? "diverged" : "finished"}};
  if (!r.detail.empty()) j["detail"] = r.detail;
  for (const MeasureInfo& m : measures)
    if (std::isfinite(r.measured[m.measure])) j[m.name] = r.measured[m.measure];
  j["epochs"] = r.epochs.size();
  j["seconds"] = r.seconds;
  j["parameters_hash"] = r.parameters_hash;
  return j;
}

// Throws Error(data) where norma would not write the line so.
RunResult result_of(const ordered_json& j) {
  RunResult r;
  r.name = j.at("run").get<std::string>();
  r.diverged = j.at("status").get<std::string>() == "diverged";
  r.detail = j.value("detail", "");
  for (const MeasureInfo& m : measures)
    if (const auto found = j.find(m.name); found != j.end()) r.measured[m.measure] = found->get<double>();
  r.seconds = j.at("seconds").get<double>();
  r.parameters_hash = j.at("parameters_hash").get<std::string>();
  ordered_json written = to_json(r);
  written["epochs"] = j.at("epochs");
  if (written != j || !j.at("epochs").is_number_unsigned()) throw Error(ErrorKind::data, "has keys or values that norma does not write");
  for (const MeasureInfo& m : measures)
    if (const double v = r.measured[m.measure]; m.percent && (v < 0 || v > 1))
      throw Error(ErrorKind::data, fmt::format("{} is {}, not a share from 0 to 1", m.name, v));
  if (r.seconds < 0) throw Error(ErrorKind::data, fmt::format("seconds are {}", r.seconds));
  return r;
}

bool has_results(const fs::path& file) {
  if (!is_regular(file)) return false;
  try {
    for_each_json_line(file, [](const ordered_json& j) { result_of(j); });
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool ours(const fs::path& path, const FileList& files, const char* name) {
  if (name == std::string_view(results_name)) return !there(path / name) || (files.names(name) && has_results(path / name));
  return files.ours(name);
}

// A file that is not norma's is named first, since --force does not help there.
void refuse(const fs::path& path, const FileList& files, bool overwrite) {
  const char* found = nullptr;
  for (const char* name : files_of_it) {
    if (!there(path / name)) continue;
    if (!files.names(comparison_name) && there(path / comparison_name))
      throw Error(
          ErrorKind::usage,
          fmt::format("{} already holds a comparison ({}) of which norma kept no list: --resume goes on with it, --out names another "
                      "folder; to replace it, remove its files",
                      path.string(), comparison_name));
    if (!ours(path, files, name)) refuse_other(path / name, "it stays as it is; move it away, or name another folder with --out");
    found = name;
  }
  if (found && !overwrite)
    throw Error(ErrorKind::usage,
                fmt::format("{} already holds a comparison ({}): --resume goes on with it, --force replaces it, --out names "
                            "another folder",
                            path.string(), found));
  for (const std::string& folder : files.folders()) {
    if (!there(path / folder)) continue;
    std::error_code error;
    if (!fs::is_directory(fs::symlink_status(path / folder, error))) refuse_other(path / folder, "it stays as it is; move it away");
    refuse_run(path / folder, FileList(path / folder), true);
  }
}

}  // namespace

ComparisonDirectory ComparisonDirectory::create(const fs::path& path, const Comparison& comparison, bool overwrite) {
  if (there(path / config_name)) throw Error(ErrorKind::usage, path.string() + " holds a run of norma train: --out another folder");
  make_folder(path, "the folder");
  ComparisonDirectory made(path);
  remove_leftovers(path);
  refuse(path, made.files_, overwrite);
  made.remove_files();
  made.files_.write(comparison_name, write_toml(comparison));
  return made;
}

// Removes a run's files from its folder, and the folder where nothing else is in it.
void ComparisonDirectory::remove_files() {
  const std::vector<std::string> folders = files_.folders();
  std::vector<const char*> names(files_of_it.begin(), files_of_it.end());
  for (const std::string& folder : folders) {
    RunDirectory::remove(path_ / folder);
    names.push_back(folder.c_str());
  }
  for (const char* name : files_of_it) files_.remove(name);
  std::error_code ignored;
  if (!folders.empty()) fs::remove(path_ / runs_name, ignored);  // only where it is empty
  files_.forget(names);
}

ComparisonDirectory ComparisonDirectory::open(const fs::path& path) {
  if (!there(path / comparison_name))
    throw Error(ErrorKind::data, fmt::format("cannot resume {}: it holds no comparison (no {})", path.string(), comparison_name));
  ComparisonDirectory opened(path);
  remove_leftovers(path);
  FileList& files = opened.files_;
  opened.listed_ = files.names(comparison_name);
  for (const char* name : {report_name, picture_name})
    if (!files.ours(name)) refuse_other(path / name, "move it away; --resume then writes its own");
  if (!opened.listed_ && has_results(path / results_name)) files.add_lines(results_name);
  if (there(path / results_name) && (!files.names(results_name) || !is_regular(path / results_name)))
    refuse_other(path / results_name, "move it away");
  // A line that a crash cut is dropped, so that the next one begins at its start.
  keep_json_lines(path / results_name, [](const ordered_json& j) { return result_of(j), true; });
  return opened;
}

Comparison ComparisonDirectory::comparison() const {
  const fs::path file = path_ / comparison_name;
  const std::optional<std::string> text = read_text(file);
  if (!text) throw Error(ErrorKind::data, file.string() + ": no such file");
  return parse_comparison({printable(path_.filename().string()), *text, file.string(), fs::absolute(path_)});
}

void ComparisonDirectory::write(const Comparison& comparison) {
  if (!files_.ours(comparison_name))
    refuse_other(path_ / comparison_name, "it stays as it is; write the fields into its [set], and leave the flags out");
  files_.write(comparison_name, write_toml(comparison));
}

void ComparisonDirectory::check_run(const std::string& name) const {
  const fs::path folder = run(name);
  if (!listed_ || files_.names(fmt::format("{}/{}", runs_name, name))) return;
  for (const char* file : run_files)
    if (there(folder / file))
      throw Error(ErrorKind::usage,
                  fmt::format("{} holds {}, which this comparison did not write: move it away, or name another folder with "
                              "--out",
                              folder.string(), file));
}

void ComparisonDirectory::claim_run(const std::string& name) {
  check_run(name);
  files_.add_folder(fmt::format("{}/{}", runs_name, name));
}

void ComparisonDirectory::append(const RunResult& result) {
  if (!files_.names(results_name) && there(path_ / results_name)) refuse_other(path_ / results_name, "move it away");
  files_.add_lines(results_name);
  append_line(path_ / results_name, json_document(to_json(result)));
  sync_file(path_ / results_name);
}

void ComparisonDirectory::write_report(std::string_view html, std::string_view svg) {
  files_.write(report_name, html);
  files_.write(picture_name, svg);
}

void ComparisonDirectory::check_results(const std::vector<PlannedRun>& runs) const {
  std::set<std::string> planned;
  for (const PlannedRun& p : runs) planned.insert(p.name);
  for (const RunResult& r : results()) {
    const auto refuse_line = [&](const std::string& why) {
      throw Error(ErrorKind::data, fmt::format("{}: run {} {}", (path_ / results_name).string(), r.name, why));
    };
    if (planned.erase(r.name) == 0)
      refuse_line(fmt::format("is listed twice, or is not a run of {}: remove its line, or put that file back", comparison_name));
    if (r.epochs.empty()) continue;  // its folder is not there
    const RunResult own = figures(r.name, r.epochs, read_health(run(r.name) / health_name));
    const auto check = [&](const char* what, const auto& line, const auto& folder) {
      if (line != folder && (line == line || folder == folder))
        refuse_line(fmt::format("has {} {}, in its folder it is {}: remove its line, --resume then makes it anew", what, line, folder));
    };
    for (const MeasureInfo& m : measures)
      if (m.measure != Measure::overfit) check(m.name, r.measured[m.measure], own.measured[m.measure]);  // that needs the data
    check("seconds", r.seconds, own.seconds);
    check("parameters_hash", r.parameters_hash, own.parameters_hash);
  }
}

std::vector<RunResult> ComparisonDirectory::results() const {
  std::vector<RunResult> all;
  for_each_json_line(path_ / results_name, [&](const ordered_json& j) { all.push_back(result_of(j)); });
  for (RunResult& r : all)
    for (const RecordedEpoch& e : read_metrics(run(r.name) / metrics_name)) r.epochs.push_back(e.metrics);
  return all;
}

}  // namespace norma::app
