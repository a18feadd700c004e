// The flags that stand for fields of a recipe: --lr for optimizer.lr, and --set for any of them.
#pragma once
#include <string>
#include <vector>

#include "apps/norma/recipe.h"

namespace CLI {
class App;
}

namespace norma::app {

enum class FlagScope {
  all,         // of a run to be trained
  evaluation,  // of one that was: data, device, batch size
  bench,       // of one to be measured: all but epochs, and but batch size, threads and level, of which there are lists
};

// Adds the flags to a command; each one given is appended to `overrides`, which must outlive the parsing.
void add_recipe_flags(CLI::App& command, FlagScope scope, std::vector<Override>& overrides);

// --device, --threads and --isa alone, for a program that has read its recipe: the device, checked. Logs what `auto` chose and why.
// Throws Error(device) if it cannot be used.
Device choose_device(const DeviceSection& section);

}  // namespace norma::app
