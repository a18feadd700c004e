// A saved model: its weights, and the recipe that says what net they are of. What eval and every other command on a model begins with.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"
#include "apps/norma/run/model_input.h"
#include "norma/checkpoint.h"

namespace CLI {
class App;
}

namespace norma::app {

struct SavedModelRequest {
  std::filesystem::path model;  // a run directory, or a .safetensors file
  std::string recipe;           // empty: config.toml beside the weights
  std::vector<Override> overrides;
};

// The model, --recipe and the flags of a recipe's data and device; `request` must outlive the parsing.
void add_saved_model_flags(CLI::App& command, SavedModelRequest& request);

struct SavedModel {
  std::filesystem::path weights;  // the file
  Recipe recipe;
  Checkpoint model;
  Device device;                    // the recipe's, usable
  std::optional<ModelInput> input;  // nothing in a file of the first edition
};

// The transform is the one the model was trained with, where its file says so and no flag gives another. Throws Error(data) where the
// weights are missing or no safetensors file, Error(usage) where the recipe is missing or wrong, Error(device) where its device cannot be
// used.
SavedModel open_model(const SavedModelRequest& request);

// What was read otherwise than it stands is a warning. Throws Error(data) naming the file whose weights are not of the recipe's net or have
// a running variance below 0, Error(diverged) naming also the tensor where one is not finite.
Trainer load_trainer(const SavedModel& saved, const Shape& sample);

}  // namespace norma::app
