// Description of a net's input, in the metadata of model.safetensors. With it a net can be used where its training data are missing.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"

namespace norma::app {

struct ModelInput {
  std::string data;          // name_of what it was trained on
  Shape sample;              // as stored, before the transform
  DType stored = DType::u8;  // u8 or f32
  Transform transform;
  std::vector<std::string> classes;
};

ModelInput model_input(const DataSection& data, const Dataset& set);

// Writes JSON under "norma.input" and "norma.classes". Writes nothing if the samples are larger than a reader accepts.
void write_model_input(const ModelInput& input, std::map<std::string, std::string>& metadata);

// Nothing where the file says nothing, as those of norma's first edition. Throws Error(data) naming `file`, key and field where a value
// cannot be one that write_model_input wrote.
std::optional<ModelInput> read_model_input(const std::map<std::string, std::string>& metadata, const std::string& file);

bool same(const Transform& a, const Transform& b);

}  // namespace norma::app
