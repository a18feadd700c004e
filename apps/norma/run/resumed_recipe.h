// Chooses the recipe of a resumed run.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"

namespace norma::app {

// The recipe a run resumes with: its own, with the overrides. Throws Error(usage) if an override would change the result. Only epochs,
// save_every, log_every, health, tensorboard, log_loss, the location of the data and [device] may differ.
Recipe resumed_recipe(const RecipeSource& stored, const std::vector<Override>& overrides);

// Compares a recipe named with --resume with the run's. Another recipe is an Error(usage). Where its contents differ, the run's own recipe
// counts, and the log says so.
void compare_with_named(const std::string& named, const Recipe& stored, const std::filesystem::path& out);

}  // namespace norma::app
