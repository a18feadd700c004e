#include "apps/norma/saved_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/norma/recipe_flags.h"
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
                fmt::format("{} has no config.toml beside it that says what net it is: name the recipe with --recipe", weights.string()));
  return find_recipe(config.string());
}

}  // namespace

void add_saved_model_flags(CLI::App& command, SavedModelRequest& request) {
  command.add_option("model", request.model, "A run directory, or a model.safetensors")->required();
  command.add_option("--recipe", request.recipe, "The net, where no config.toml lies beside the model")->type_name("RECIPE");
  add_recipe_flags(command, FlagScope::evaluation, request.overrides);
}

SavedModel open_model(const SavedModelRequest& request) {
  std::error_code ec;
  const fs::path weights = fs::is_directory(request.model, ec) ? request.model / "model.safetensors" : request.model;
  if (!fs::exists(weights, ec)) throw Error(ErrorKind::data, weights.string() + ": no such file");
  Recipe recipe = parse_recipe(recipe_of(request, weights), request.overrides);
  Checkpoint model = load_safetensors(weights);
  const Device device = choose_device(recipe.device);
  return {weights, std::move(recipe), std::move(model), device};
}

Trainer load_trainer(const SavedModel& saved, const Shape& sample) {
  Trainer trainer(build_model(saved.recipe.model), trainer_options(saved.recipe, sample, saved.device));
  try {
    trainer.load_model(saved.model);
  } catch (const Error& e) {
    throw Error(e.kind(), saved.weights.string() + ": " + e.what());
  }
  return trainer;
}

}  // namespace norma::app
