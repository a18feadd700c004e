// fuse: graph to graph. Folding happens before differentiation, so the adjoint rule sees the fused node.
#include <vector>

#include "norma/graph.h"

namespace norma {
namespace {

// Whether the pooling suits BatchNormMaxPool (kernels/calls.h): no dilation, and every window has a tap inside x.
bool suits(const nn::MaxPool2d& p) {
  return p.dilation.h == 1 && p.dilation.w == 1 && !p.ceil_mode && p.padding.h < p.kernel.h && p.padding.w < p.kernel.w &&
         p.kernel.h * p.kernel.w <= 256;
}

// Takes the node into the batch norm before it, if it can follow there.
bool fold(const Node& node, BatchNormNode& norm) {
  if (norm.pool) return false;
  if (const auto* activation = std::get_if<ActivationNode>(&node.op); activation && norm.act == Activation::none) {
    norm.act = activation->act;
    return true;
  }
  if (const auto* pool = std::get_if<nn::MaxPool2d>(&node.op); pool && suits(*pool)) {
    norm.pool = *pool;
    return true;
  }
  return false;
}

}  // namespace

Graph fuse(Graph graph) {
  std::vector<int> users(graph.nodes.size(), 0);
  for (const Node& n : graph.nodes)
    for (Value v : n.inputs) ++users[static_cast<std::size_t>(v.id)];
  for (Value v : graph.outputs) ++users[static_cast<std::size_t>(v.id)];

  Graph fused;
  std::vector<Value> moved(graph.nodes.size());  // old id -> new id
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    Node node = std::move(graph.nodes[i]);
    const std::size_t old = node.inputs.empty() ? i : static_cast<std::size_t>(node.inputs[0].id);
    if (old != i && users[old] == 1) {
      Node& producer = fused.nodes[static_cast<std::size_t>(moved[old].id)];
      if (auto* norm = std::get_if<BatchNormNode>(&producer.op); norm && fold(node, *norm)) {
        producer.output_path = node.path;
        producer.shape = node.shape;
        moved[i] = moved[old];
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
