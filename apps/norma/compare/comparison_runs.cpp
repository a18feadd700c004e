#include "apps/norma/compare/comparison_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "apps/norma/files/folders.h"
#include "apps/norma/files/json_lines.h"
#include "apps/norma/run/metrics.h"
#include "apps/norma/run/run_files.h"
#include "apps/norma/run/run_identity.h"
#include "apps/norma/run/training_run.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/signals.h"
#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

// Measures from the health of the last epoch. The shift is the mean over all epochs but the first.
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
  RunResult r = figures(run.name, outcome.epochs, outcome.health);
  r.diverged = outcome.status == TrainingOutcome::Status::diverged;
  r.detail = outcome.detail;
  if (outcome.training_loss && !r.epochs.empty() && r.epochs.back().test_loss)
    r.measured[Measure::overfit] = *r.epochs.back().test_loss - *outcome.training_loss;
  return r;
}

// Sets that several runs train on are read once, and must be those that the runs before were trained on.
class DataCache {
 public:
  DataCache(std::vector<const PlannedRun*> ended, const ComparisonDirectory& directory) : ended_(std::move(ended)), directory_(directory) {}

  std::shared_ptr<const DatasetPair> get(const Recipe& recipe) {
    const std::string key = key_of(recipe);
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const DatasetPair>& kept = sets_[key];
    if (kept) return kept;
    auto read = std::make_shared<const DatasetPair>(load_data(recipe.data));
    for (const PlannedRun* run : ended_)
      if (const fs::path file = directory_.run(run->name) / training_name; key_of(run->recipe) == key && there(file)) {
        check_data_identity(load_safetensors(file).metadata, recipe.data, *read, file);
        break;
      }
    return kept = std::move(read);
  }

 private:
  static std::string key_of(const Recipe& recipe) {
    std::string key;
    for (const auto& [field, value] : flatten(recipe))
      if (field.starts_with("data.")) key += field + "=" + value + "\n";
    return key;
  }

  const std::vector<const PlannedRun*> ended_;
  const ComparisonDirectory& directory_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const DatasetPair>> sets_;
};

// The error with its run's name before it, or std::bad_alloc where there is no memory for that.
std::exception_ptr named(const std::string& run, const Error& e) noexcept {
  try {
    return std::make_exception_ptr(Error(e.kind(), fmt::format("{}: {}", run, e.what())));
  } catch (const std::bad_alloc&) {
    return std::current_exception();
  }
}

// Takes runs from a list until it is empty, a signal came or one failed.
class Pool {
 public:
  Pool(std::vector<const PlannedRun*> runs, std::vector<const PlannedRun*> ended, ComparisonDirectory& directory,
       const RunsOptions& options, int threads_each)
      : runs_(std::move(runs)), directory_(directory), options_(options), threads_each_(threads_each), data_(std::move(ended), directory) {}

  void run(int jobs) {
    std::vector<std::jthread> workers;
    workers.reserve(static_cast<std::size_t>(jobs));
    try {
      while (static_cast<int>(workers.size()) < jobs)
        workers.emplace_back([this] {
          work();
          const std::lock_guard lock(mutex_);
          ++ended_;
          changed_.notify_all();
        });
      wait(jobs);
    } catch (...) {
      fail(std::current_exception());  // those that have begun save and end
    }
    workers.clear();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void wait(int jobs) {
    std::unique_lock lock(mutex_);
    for (int idle = 0; ended_ < jobs;) {
      changed_.wait_for(lock, std::chrono::milliseconds(100));
      if (options_.on_wait) options_.on_wait();
      // The rest reads data or compiles: nothing of it is worth waiting for.
      idle = stop_signal() != 0 && !Unsaved::any() ? idle + 1 : 0;
      if (idle > 3 && ended_ < jobs) leave(stop_signal());
    }
  }

  void work() {
    while (stop_signal() == 0 && !stop_) {
      const std::size_t i = next_++;
      if (i >= runs_.size()) return;
      const PlannedRun& run = *runs_[i];
      try {
        Recipe recipe = run.recipe;
        if (recipe.device.threads == 0) recipe.device.threads = threads_each_;
        {
          const std::lock_guard lock(mutex_);
          directory_.claim_run(run.name);
        }
        const TrainingOutcome outcome =
            run_part(recipe, {.out = directory_.run(run.name), .data = data_.get(recipe), .stop = &stop_, .evaluate_training = true});
        if (outcome.status == TrainingOutcome::Status::stopped) return;
        const RunResult result = result_of(run, outcome);
        const std::lock_guard lock(mutex_);
        directory_.append(result);
        if (options_.on_result) options_.on_result(run, result);
      } catch (const Error& e) {
        fail(named(run.name, e));
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
  ComparisonDirectory& directory_;
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

RunResult figures(const std::string& name, const std::vector<EpochMetrics>& epochs, const std::vector<EpochHealth>& health) {
  RunResult r;
  r.name = name;
  r.epochs = epochs;
  for (const EpochMetrics& m : r.epochs) r.seconds += m.seconds;
  if (r.epochs.empty()) return r;
  const EpochMetrics& last = r.epochs.back();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  r.measured[Measure::train_accuracy] = last.train_accuracy;
  r.measured[Measure::train_loss] = last.train_loss;
  r.measured[Measure::test_accuracy] = last.test_accuracy.value_or(nan);
  r.measured[Measure::test_loss] = last.test_loss.value_or(nan);
  measure(health, r.measured);
  r.parameters_hash = last.parameters_hash;
  return r;
}

void run_all(const std::vector<PlannedRun>& runs, ComparisonDirectory& directory, const RunsOptions& options) {
  std::set<std::string> names;
  for (const RunResult& r : directory.results()) names.insert(r.name);
  std::vector<const PlannedRun*> left, ended;
  bool on_cpu = true;
  for (const PlannedRun& r : runs) {
    (names.contains(r.name) ? ended : left).push_back(&r);
    if (Device::parse(r.recipe.device.kind).kind != Device::Kind::cpu) on_cpu = false;
  }
  if (left.empty()) return;
  for (const PlannedRun* r : left) directory.check_run(r->name);
  const int cores = this_environment().cores;
  int jobs = options.jobs > 0 ? options.jobs : on_cpu ? cores : 1;
  jobs = std::min(jobs, static_cast<int>(left.size()));
  make_folder(directory.path() / "runs", "the folder of runs");
  Pool(std::move(left), std::move(ended), directory, options, std::max(1, cores / jobs)).run(jobs);
}

}  // namespace norma::app
