// A saved model: its weights, and the recipe that describes its net. eval and every other command on a model begins with it.
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
  std::string recipe;           // empty: config.toml in the folder of the weights
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

// The file of a run directory or of the model itself. Throws Error(data) where it is missing.
std::filesystem::path weights_file(const std::filesystem::path& model);
// The recipe of a model. Throws Error(usage) where it is missing or wrong.
Recipe read_recipe(const SavedModelRequest& request, const std::filesystem::path& weights);
// The input of a model whose file does not describe it, as its recipe does; for IDX files with their help.
ModelInput input_of(const DataSection& data, const std::filesystem::path& weights);

// The transform is the one the model was trained with, if its file has one and no flag gives another. Throws Error(data) where the weights
// are missing or no safetensors file. Throws Error(usage) where the recipe is missing or wrong, Error(device) where its device cannot be
// used.
SavedModel open_model(const SavedModelRequest& request);

// Warns of every value that is read otherwise than it was written. Throws Error(data) naming the file whose weights do not fit the recipe's
// net or have a running variance below 0. Throws Error(diverged) naming file and tensor where a weight is not finite.
Trainer load_trainer(const SavedModel& saved, const Shape& sample);

}  // namespace norma::app
