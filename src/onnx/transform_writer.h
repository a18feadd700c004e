// A Transform as ONNX operators.
#pragma once
#include <string>

#include "norma/model_file.h"
#include "src/onnx/graph_writer.h"

namespace norma {

// From samples as they are stored, the value `x`, to the net's input. Returns its name. Throws Error(usage) as Affine does.
std::string write_transform(GraphWriter& out, const ModelInput& input, const std::string& x);

}  // namespace norma
