// fuse: graph to graph. Folding happens before differentiation, so the adjoint rule sees the fused node.
#include <vector>

#include "norma/graph.h"

namespace norma {

Graph fuse(Graph graph) {
  std::vector<int> users(graph.nodes.size(), 0);
  for (const Node& n : graph.nodes)
    for (Value v : n.inputs) ++users[static_cast<std::size_t>(v.id)];
  for (Value v : graph.outputs) ++users[static_cast<std::size_t>(v.id)];

  Graph fused;
  std::vector<Value> moved(graph.nodes.size());  // old id -> new id
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    Node node = std::move(graph.nodes[i]);
    if (const auto* activation = std::get_if<ActivationNode>(&node.op)) {
      const Value old = node.inputs[0];
      Node& producer = fused.nodes[static_cast<std::size_t>(moved[static_cast<std::size_t>(old.id)].id)];
      auto* norm = std::get_if<BatchNormNode>(&producer.op);
      if (norm && norm->act == Activation::none && users[static_cast<std::size_t>(old.id)] == 1) {
        norm->act = activation->act;
        producer.output_path = node.path;
        moved[i] = moved[static_cast<std::size_t>(old.id)];
        continue;
      }
    }
    for (Value& v : node.inputs) v = moved[static_cast<std::size_t>(v.id)];
    moved[i] = {static_cast<std::int32_t>(fused.nodes.size())};
    fused.nodes.push_back(std::move(node));
  }
  for (Value v : graph.outputs) fused.outputs.push_back(moved[static_cast<std::size_t>(v.id)]);
  return fused;
}

}  // namespace norma
