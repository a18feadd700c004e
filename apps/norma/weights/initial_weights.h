// The weights that a run begins with, where [init] of its recipe names a file.
#pragma once
#include <filesystem>

#include "apps/norma/recipe/recipe.h"
#include "norma/checkpoint.h"

namespace norma::app {

struct InitialWeights {
  std::filesystem::path file;  // of a run directory its model.safetensors
  Checkpoint checkpoint;
};

// Reads init.file, and sets init.sha256 to its digest. Throws Error(data) naming the file where it cannot be read, is not the one of that
// digest, or holds a value that no net has; Error(usage) for a key of a safetensors file.
InitialWeights read_initial_weights(InitSection& init);

// Throws Error(usage) where a run that replaces that of a folder would remove the file that it begins with. file: of InitSection, or empty.
void refuse_own_weights(const std::filesystem::path& file, const std::filesystem::path& run);

// Gives them to the trainer, parameters and running statistics; tell: and logs a table of them. Throws as Trainer::load_model, naming the
// file.
void load_initial_weights(Trainer& trainer, const InitialWeights& weights, const InitSection& init, bool tell);

}  // namespace norma::app
