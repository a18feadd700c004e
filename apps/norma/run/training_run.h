// One run of `norma train`: from a recipe, or from where a run directory left off, to a saved model.
#pragma once
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/health/health.h"
#include "apps/norma/recipe/recipe.h"
#include "apps/norma/system/progress.h"

namespace norma::app {

struct TrainRequest {
  std::string recipe;  // may be empty with resume
  std::vector<Override> overrides;
  std::filesystem::path out;  // empty: runs/<recipe>-<time>
  bool resume = false, force = false, json = false, quiet = false;
  bool verbose = false;  // every layer's output shape and parameters, on stderr
  ProgressMode progress = ProgressMode::automatic;
};

// A run that is one of many (norma compare): nothing is printed, no report is written.
struct TrainingPart {
  std::filesystem::path out;                // where a run is, it goes on; a finished one is only read
  std::shared_ptr<const DatasetPair> data;  // what recipe.data names
  const std::atomic<bool>* stop = nullptr;  // asks it to stop as a signal does
  bool evaluate_training = false;           // the loss of the training samples, in evaluation mode, at the end
};

struct TrainingOutcome {
  enum class Status : std::uint8_t { finished, diverged, stopped };
  Status status = Status::finished;
  std::string detail;                // why it diverged
  std::vector<EpochMetrics> epochs;  // all of the run's
  std::vector<EpochHealth> health;   // of those that were logged
  std::optional<double> training_loss;
};

// Throws Error, but for a divergence.
TrainingOutcome run_part(const Recipe& recipe, const TrainingPart& part);

// Trains, saves and reports. Returns 0, or 128 + the signal that stopped it after the state was saved. Throws Error; after a divergence
// the state before it is saved.
int run_training(const TrainRequest& request);

}  // namespace norma::app
