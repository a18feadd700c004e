#include "apps/norma/comparison_runs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "apps/norma/environment.h"
#include "apps/norma/json_lines.h"
#include "apps/norma/metrics.h"
#include "apps/norma/signals.h"
#include "apps/norma/training_run.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

constexpr const char* comparison_name = "comparison.toml";
constexpr const char* results_name = "results.jsonl";

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

RunResult result_of(const ordered_json& j) {
  RunResult r;
  r.name = j.at("run").get<std::string>();
  r.diverged = j.at("status").get<std::string>() == "diverged";
  r.detail = j.value("detail", "");
  for (const MeasureInfo& m : measures)
    if (const auto found = j.find(m.name); found != j.end()) r.measured[m.measure] = found->get<double>();
  r.seconds = j.at("seconds").get<double>();
  r.parameters_hash = j.at("parameters_hash").get<std::string>();
  return r;
}

// What the health of the last epoch comes to; the shift is the mean over all epochs but the first.
void measure(const std::vector<EpochHealth>& health, Measured& m) {
  if (health.empty()) return;
  const EpochHealth& last = health.back();
  m[Measure::mode_gap] = last.evaluation_loss - last.train_loss;
  double saturated = 0, drift = 0, shift = 0, dead = 0, channels = 0;
  for (const ActivationHealth& a : last.activations) {
    saturated += a.saturated / static_cast<double>(last.activations.size());
    dead += static_cast<double>(a.dead.size());
    channels += static_cast<double>(a.mean.size());
  }
  int norms = 0, shifts = 0;
  for (const NormHealth& n : last.norms)
    if (n.mean_drift) drift += *n.mean_drift, ++norms;
  for (std::size_t i = 1; i < health.size(); ++i)
    if (const std::optional<double> s = input_shift(health[i - 1], health[i])) shift += *s, ++shifts;
  if (!last.activations.empty()) m[Measure::saturated] = saturated;
  if (channels > 0) m[Measure::dead] = dead / channels;
  if (norms > 0) m[Measure::drift] = drift / norms;
  if (shifts > 0) m[Measure::input_shift] = shift / shifts;
}

RunResult result_of(const PlannedRun& run, const TrainingOutcome& outcome) {
  RunResult r;
  r.name = run.name;
  r.diverged = outcome.status == TrainingOutcome::Status::diverged;
  r.detail = outcome.detail;
  r.epochs = outcome.epochs;
  for (const EpochMetrics& m : r.epochs) r.seconds += m.seconds;
  if (r.epochs.empty()) return r;
  const EpochMetrics& last = r.epochs.back();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  r.measured[Measure::train_accuracy] = last.train_accuracy;
  r.measured[Measure::train_loss] = last.train_loss;
  r.measured[Measure::test_accuracy] = last.test_accuracy.value_or(nan);
  r.measured[Measure::test_loss] = last.test_loss.value_or(nan);
  measure(outcome.health, r.measured);
  if (outcome.training_loss && last.test_loss) r.measured[Measure::overfit] = *last.test_loss - *outcome.training_loss;
  r.parameters_hash = last.parameters_hash;
  return r;
}

// Sets that several runs train on are read once.
class DataCache {
 public:
  std::shared_ptr<const DatasetPair> get(const Recipe& recipe) {
    std::string key;
    for (const auto& [field, value] : flatten(recipe))
      if (field.starts_with("data.")) key += field + "=" + value + "\n";
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const DatasetPair>& kept = sets_[key];
    if (!kept) kept = std::make_shared<const DatasetPair>(load_data(recipe.data));
    return kept;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const DatasetPair>> sets_;
};

// Takes runs from a list until it is empty, a signal came or one failed.
class Pool {
 public:
  Pool(std::vector<const PlannedRun*> runs, const ComparisonDirectory& directory, const RunsOptions& options, int threads_each)
      : runs_(std::move(runs)), directory_(directory), options_(options), threads_each_(threads_each) {}

  void run(int jobs) {
    std::vector<std::thread> workers;
    for (int j = 0; j < jobs; ++j)
      workers.emplace_back([this] {
        work();
        const std::lock_guard lock(mutex_);
        ++ended_;
        changed_.notify_all();
      });
    {
      std::unique_lock lock(mutex_);
      while (ended_ < jobs) {
        changed_.wait_for(lock, std::chrono::milliseconds(100));
        if (options_.on_wait) options_.on_wait();
      }
    }
    for (std::thread& w : workers) w.join();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void work() {
    while (stop_signal() == 0 && !stop_) {
      const std::size_t i = next_++;
      if (i >= runs_.size()) return;
      const PlannedRun& run = *runs_[i];
      try {
        Recipe recipe = run.recipe;
        if (recipe.device.threads == 0) recipe.device.threads = threads_each_;
        const TrainingOutcome outcome =
            run_part(recipe, {.out = directory_.run(run.name), .data = data_.get(recipe), .stop = &stop_, .evaluate_training = true});
        if (outcome.status == TrainingOutcome::Status::stopped) return;
        const RunResult result = result_of(run, outcome);
        const std::lock_guard lock(mutex_);
        directory_.append(result);
        if (options_.on_result) options_.on_result(run, result);
      } catch (const Error& e) {
        fail(std::make_exception_ptr(Error(e.kind(), fmt::format("{}: {}", run.name, e.what()))));
      } catch (...) {
        fail(std::current_exception());
      }
    }
  }

  void fail(std::exception_ptr e) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(e);
    stop_ = true;
  }

  const std::vector<const PlannedRun*> runs_;
  const ComparisonDirectory& directory_;
  const RunsOptions& options_;
  const int threads_each_;
  DataCache data_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  int ended_ = 0;
  std::exception_ptr failure_;
};

}  // namespace

ComparisonDirectory ComparisonDirectory::create(const fs::path& path, const Comparison& comparison, bool overwrite) {
  std::error_code error;
  if (fs::exists(path / "config.toml", error))
    throw Error(ErrorKind::usage, path.string() + " holds a run of norma train: --out another folder");
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path))
    throw Error(ErrorKind::failure,
                fmt::format("cannot make {}: {}", path.string(), error ? error.message() : std::string("a file of that name exists")));
  ComparisonDirectory made(path);
  if (fs::exists(path / comparison_name, error)) {
    if (!overwrite)
      throw Error(ErrorKind::usage,
                  fmt::format("{} already holds a comparison: --resume goes on with it, --force replaces it, --out names another folder",
                              path.string()));
    for (const char* name : {comparison_name, results_name, "report.html", "comparison.svg", "runs"}) fs::remove_all(path / name, error);
  }
  write_file(path / comparison_name, write_toml(comparison));
  return made;
}

ComparisonDirectory ComparisonDirectory::open(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path / comparison_name, error))
    throw Error(ErrorKind::data, fmt::format("cannot resume {}: it holds no comparison (no {})", path.string(), comparison_name));
  ComparisonDirectory opened(path);
  // What a crash left of a line goes, so that the next one begins at its start.
  if (std::ifstream in(path / results_name, std::ios::binary); in) {
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (const std::size_t whole = text.rfind('\n') + 1; whole < text.size()) write_file(path / results_name, text.substr(0, whole));
  }
  return opened;
}

Comparison ComparisonDirectory::comparison() const {
  const fs::path file = path_ / comparison_name;
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorKind::data, fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  return parse_comparison(
      {printable(path_.filename().string()), {std::istreambuf_iterator<char>(in), {}}, file.string(), fs::absolute(path_)});
}

void ComparisonDirectory::append(const RunResult& result) const {
  const fs::path file = path_ / results_name;
  const std::string line = json_text(to_json(result)) + "\n";
  const int d = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  const bool written = d >= 0 && ::write(d, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && ::fsync(d) == 0;
  const int cause = errno;
  if (d >= 0) ::close(d);
  if (!written) throw Error(ErrorKind::failure, fmt::format("cannot write {}: {}", file.string(), std::strerror(cause)));
}

std::vector<RunResult> ComparisonDirectory::results() const {
  const fs::path file = path_ / results_name;
  std::error_code error;
  if (!fs::exists(file, error)) return {};
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorKind::data, fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  std::vector<RunResult> all;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (in.eof()) break;  // no line feed
    try {
      all.push_back(result_of(ordered_json::parse(line)));
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorKind::data, fmt::format("{}:{}: not a result as norma writes it", file.string(), number));
    }
    for (const RecordedEpoch& e : read_metrics(run(all.back().name) / "metrics.jsonl")) all.back().epochs.push_back(e.metrics);
  }
  return all;
}

void run_all(const std::vector<PlannedRun>& runs, const ComparisonDirectory& directory, const RunsOptions& options) {
  std::set<std::string> ended;
  for (const RunResult& r : directory.results()) ended.insert(r.name);
  std::vector<const PlannedRun*> left;
  bool on_cpu = true;
  for (const PlannedRun& r : runs) {
    if (!ended.contains(r.name)) left.push_back(&r);
    if (Device::parse(r.recipe.device.kind).kind != Device::Kind::cpu) on_cpu = false;
  }
  if (left.empty()) return;
  const int cores = this_environment().cores;
  int jobs = options.jobs > 0 ? options.jobs : on_cpu ? cores : 1;
  jobs = std::min(jobs, static_cast<int>(left.size()));
  std::error_code error;
  fs::create_directories(directory.path() / "runs", error);
  Pool(std::move(left), directory, options, std::max(1, cores / jobs)).run(jobs);
}

}  // namespace norma::app
