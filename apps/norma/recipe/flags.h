// The flags that stand for fields of a recipe: --lr for optimizer.lr, and --set for any of them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "apps/norma/recipe/recipe.h"

namespace CLI {
class App;
}

namespace norma::app {

enum class FlagScope {
  all,         // of a run to be trained
  step,        // of steps alone: all but epochs and what is done between them
  evaluation,  // of one that was trained: data, precision, device
  bench,       // of one to be measured: all but epochs, and but batch size, threads and level, of which there are lists
};

inline constexpr const char* recipe_flag_group = "Recipe (each overrides a field)";

// The words that a flag of add_recipe_flags takes, where it has a choice of some; else none.
std::vector<std::string> choices_of_flag(std::string_view flag);

// Adds the flags to a command. Each one given is appended to `overrides`, in the order of the command line: the last one counts.
// `overrides` must outlive the parsing.
void add_recipe_flags(CLI::App& command, FlagScope scope, std::vector<Override>& overrides);

// The flags of [init], in the same way: --init, --init-key, --init-rename, --init-missing and --init-extra.
void add_init_flags(CLI::App& command, std::vector<Override>& overrides);

}  // namespace norma::app
