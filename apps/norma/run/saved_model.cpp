#include "apps/norma/run/saved_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/norma/recipe/flags.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/machine.h"
#include "norma/error.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;

RecipeSource recipe_of(const SavedModelRequest& request, const fs::path& weights) {
  if (!request.recipe.empty()) return find_recipe(request.recipe);
  const fs::path config = weights.parent_path() / "config.toml";
  std::error_code ec;
  if (!fs::exists(config, ec))
    throw Error(ErrorKind::usage,
                fmt::format("{} has no config.toml in its folder that describes its net: name the recipe with --recipe", weights.string()));
  return find_recipe(config.string());
}

bool gives_transform(const std::vector<Override>& overrides) {
  return std::ranges::any_of(overrides, [](const Override& o) {
    return o.key == "data" || o.key.starts_with("data.mean") || o.key.starts_with("data.std") || o.key.starts_with("data.resize") ||
           o.key == "data.to_unit";
  });
}

// Refuses options of training, which do not affect the evaluation of a trained model.
void refuse_without_effect(const std::vector<Override>& overrides) {
  for (const Override& o : overrides) {
    const std::string section = o.key.substr(0, o.key.find('.'));
    if (section == "optimizer" || section == "schedule" || section == "init" || (section == "train" && o.key != "train.precision"))
      throw Error(ErrorKind::usage, fmt::format("{}: {} affects training only, not a saved model", o.flag, o.key));
  }
}

}  // namespace

void add_saved_model_flags(CLI::App& command, SavedModelRequest& request) {
  command.add_option("model", request.model, "A run directory, or a .safetensors or .pt file")->required();
  command.add_option("--recipe", request.recipe, "Recipe of the model, if its folder has no config.toml")->type_name("RECIPE");
  add_recipe_flags(command, FlagScope::evaluation, request.overrides);
}

fs::path weights_file(const fs::path& model) {
  std::error_code ec;
  const fs::path weights = fs::is_directory(model, ec) ? model / "model.safetensors" : model;
  if (!fs::exists(weights, ec)) throw Error(ErrorKind::data, weights.string() + ": no such file");
  return weights;
}

Recipe read_recipe(const SavedModelRequest& request, const fs::path& weights) {
  return parse_recipe(recipe_of(request, weights), request.overrides);
}

ModelInput input_of(const DataSection& data, const fs::path& weights) {
  Dataset set;
  try {
    set.sample = sample_shape(data);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::data) throw;
    throw Error(
        ErrorKind::data,
        fmt::format(
            "{}\n  {} does not describe the net's input (an older norma or another program wrote it): its training images are needed",
            e.what(), weights.string()));
  }
  if (traits(data.source).published) set.classes = dataset_classes(name_of(data.source));
  return model_input(data, set);
}

SavedModel open_model(const SavedModelRequest& request) {
  refuse_without_effect(request.overrides);
  const fs::path weights = weights_file(request.model);
  Recipe recipe = read_recipe(request, weights);
  Checkpoint model = load_weights(weights);
  std::optional<ModelInput> input = read_model_input(model.metadata, weights.string());
  if (input && !gives_transform(request.overrides)) {
    if (!same(recipe.data.transform, input->transform))
      log_warning(
          fmt::format("{} was trained with another mean, std, to_unit or resize than its recipe says: the file's own values are used",
                      weights.string()));
    recipe.data.transform = input->transform;
  }
  const Device device = choose_device(recipe.device.kind, executor_options(recipe.device));
  return {weights, std::move(recipe), std::move(model), device, std::move(input)};
}

Trainer load_trainer(const SavedModel& saved, const Shape& sample) {
  if (saved.input && !(saved.input->sample == sample))
    log_warning(
        fmt::format("{} was trained on samples {}, not {}", saved.weights.string(), to_string(saved.input->sample), to_string(sample)));
  TrainerOptions options = trainer_options(saved.recipe, sample, saved.device);
  options.groups.clear();  // they affect training only
  Trainer trainer(build_model(saved.recipe.model), std::move(options));
  try {
    for (const std::string& note : trainer.load_model(saved.model)) log_warning(saved.weights.string() + ": " + note);
  } catch (const Error& e) {
    throw Error(e.kind(), saved.weights.string() + ": " + e.what());
  }
  if (const std::string fault = first_fault(trainer.model()); !fault.empty())
    throw Error(ErrorKind::diverged, fmt::format("{}: {}", saved.weights.string(), fault));
  return trainer;
}

}  // namespace norma::app
