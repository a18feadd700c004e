// Which recipe a run goes on with.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"

namespace norma::app {

// The recipe a run goes on with: its own, with the overrides. Throws Error(usage) if one of them would change the result: only epochs,
// save_every, log_every, health, log_loss, where the data lie and [device] may differ.
Recipe resumed_recipe(const RecipeSource& stored, const std::vector<Override>& overrides);

// A recipe named beside --resume must be the run's (Error(usage)); where it says something else, the run's own word counts, and is logged.
void compare_with_named(const std::string& named, const Recipe& stored, const std::filesystem::path& out);

}  // namespace norma::app
