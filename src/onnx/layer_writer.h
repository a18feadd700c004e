// Nodes of a Graph as ONNX operators.
#pragma once
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/graph.h"
#include "src/onnx/graph_writer.h"

namespace norma {

// One node of a graph that is not fused, but for its input.
struct LayerToWrite {
  const Node& node;
  std::vector<std::string> inputs;  // names of the values that it reads
  Shape x;                          // of the first, batch included
  std::string name;                 // its path, or nearly so
  std::string output;               // the value it gives
};

// Throws Error(usage) naming a node that ONNX cannot be.
void write_layer(GraphWriter& out, const LayerToWrite& layer, const Checkpoint& model);

}  // namespace norma
