// norma bench export: where a run of a recipe starts, written down for a program that is to repeat it.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"

namespace norma::app {

struct ExportRequest {
  std::filesystem::path folder;
  std::string recipe;
  std::vector<Override> overrides;
  bool quiet = false;
};

// weights.safetensors: parameters and buffers before the first step. order.safetensors: "order", i32 (epochs, samples), the index of the
// stored sample that comes k-th in each epoch.
int bench_export(const ExportRequest& request);

}  // namespace norma::app
