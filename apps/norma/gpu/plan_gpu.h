// norma plan for a GPU: the kernels of every Call, what they take, and the time that a model predicts for them.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/gpu/gpu_model.h"
#include "apps/norma/recipe/recipe.h"

namespace norma::app {

struct GpuPlan {
  const GpuCard* card = nullptr;
  std::string recipe;
  Mode mode = Mode::train;
  std::int64_t batch = 0;
  std::vector<PlanLine> lines{};
  std::vector<std::vector<KernelLaunch>> launches{};
  StepTime step{};
  // An epoch of training: the number of whole steps, and the samples and times of a smaller last step.
  std::int64_t steps = 0, tail = 0;
  StepTime last{};
  std::vector<double> measured{};  // us of each Call, where it was measured; else empty
  std::string measured_on{};

  double epoch_serial() const { return static_cast<double>(steps) * step.serial() + last.serial(); }
  double epoch_chained() const { return static_cast<double>(steps) * step.chained() + last.chained(); }
};

// Throws Error(device) in a build without CUDA.
GpuPlan predict_plan(const Recipe& recipe, Mode mode, const Device& device, const GpuCard& card);
// Adds what each Call takes on the device: the median of 200 steps on the recipe's data. Throws Error(device) without that GPU.
void measure(GpuPlan& plan, const Recipe& recipe, const Device& device);

// The card of this name; without one that of the GPU in this machine, or the H200. Throws Error(usage).
const GpuCard& choose_card(const std::string& key, const Device& device);

// The plan as text in 80 columns.
std::string print(const GpuPlan& plan);
nlohmann::ordered_json kernels_json(const GpuPlan& plan, std::size_t call);  // of one Call
nlohmann::ordered_json prediction_json(const GpuPlan& plan);

}  // namespace norma::app
