// Description of a net's input, for the metadata of model.safetensors. With it a net can be used where its training data are missing.
#pragma once
#include "apps/norma/recipe/recipe.h"
#include "norma/model_file.h"

namespace norma::app {

ModelInput model_input(const DataSection& data, const Dataset& set);

bool same(const Transform& a, const Transform& b);

}  // namespace norma::app
