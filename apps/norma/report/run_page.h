// A run as one page, report.html: figures, curves, batch norms, plan, configuration. Self-contained: no script, nothing loaded.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/norma/draw/scatter.h"
#include "apps/norma/health/health.h"
#include "apps/norma/report/classification.h"
#include "apps/norma/system/machine.h"
#include "norma/checkpoint.h"
#include "norma/plan.h"
#include "norma/trainer.h"

namespace norma::app {

struct RunReport {
  std::string recipe, description;
  std::string status;   // "finished", "stopped at step 512 by a signal", "diverged at step 40: [conv1] ..."
  bool failed = false;  // the status is shown as a warning
  std::int64_t epochs_planned = 0;
  std::vector<EpochMetrics> epochs;
  bool log_loss = false;  // the loss axis is logarithmic; false: only where the losses span a factor of 10
  std::int64_t parameter_count = 0;
  std::vector<std::pair<std::string, std::string>> facts;  // more rows for the final figures: ("Data", "fashion-mnist, 60000 + 10000")
  std::string config;                                      // config.toml
  Environment environment;
  Checkpoint model;            // for the batch norms; may be empty
  std::vector<PlanLine> plan;  // of a training step; may be empty
  MemoryReport memory;
  std::optional<Scatter> scatter;      // of data that are points in the plane
  std::vector<EpochHealth> health;     // may be empty
  std::optional<Classification> test;  // what the net says of the test set
  // Median seconds of each Call of plan in `timed_steps` steps; empty: not measured.
  std::vector<double> call_seconds;
  std::int64_t timed_steps = 0;
};

std::string report_html(const RunReport& report);

// Loss and accuracy by epoch as one picture; before them the scatter.
std::string curves_svg(const RunReport& report);

// ---- the norms of a checkpoint: those with a gamma for each channel

struct BatchNormLayer {
  std::string path;
  std::vector<float> gamma, beta, running_mean, running_var;  // empty where the layer has none
  std::optional<std::int64_t> batches;                        // num_batches_tracked
};

std::vector<BatchNormLayer> batch_norm_layers(const Checkpoint& model);

}  // namespace norma::app
