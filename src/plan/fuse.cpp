// fuse: graph to graph. Folding happens before differentiation, so the adjoint rule sees the fused node.
#include <vector>

#include "norma/graph.h"
#include "src/net/graph_check.h"

namespace norma {
namespace {

// Returns true if the pooling suits BatchNormMaxPool (kernels/calls.h): no dilation, and every window has a tap inside x.
bool suits(const nn::MaxPool2d& p) {
  return p.dilation.h == 1 && p.dilation.w == 1 && !p.ceil_mode && p.padding.h < p.kernel.h && p.padding.w < p.kernel.w &&
         p.kernel.h * p.kernel.w <= 256;
}

// Takes the node into the batch norm before it, if it can follow there.
bool fold(const Node& node, BatchNormNode& norm) {
  if (norm.pool) return false;
  if (const auto* activation = std::get_if<ActivationNode>(&node.op)) {
    if (norm.act != Activation::none || !traits(activation->act).gradient_from_output) return false;
    norm.act = activation->act;
    return true;
  }
  if (const auto* pool = std::get_if<nn::MaxPool2d>(&node.op); pool && suits(*pool) && !norm.residual) {
    norm.pool = *pool;
    return true;
  }
  return false;
}

class Fusion {
 public:
  explicit Fusion(Graph graph) : graph_(std::move(graph)), users_(graph_.nodes.size(), 0), moved_(graph_.nodes.size()) {
    for (const Node& n : graph_.nodes)
      for (Value v : n.inputs) ++users_[index(v)];
    for (Value v : graph_.outputs) ++users_[index(v)];
  }

  Graph run() {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      Node node = std::move(graph_.nodes[i]);
      const Value into = fold(node);
      if (into.id >= 0) {
        Node& producer = fused_.nodes[index(into)];
        producer.output_path = node.path;
        producer.shape = node.shape;
        moved_[i] = into;
        continue;
      }
      for (Value& v : node.inputs) v = moved_[index(v)];
      moved_[i] = {static_cast<std::int32_t>(fused_.nodes.size()), graph_.outputs.empty() ? 0 : graph_.outputs[0].net};
      fused_.nodes.push_back(std::move(node));
    }
    for (Value v : graph_.outputs) fused_.outputs.push_back(moved_[index(v)]);
    return std::move(fused_);
  }

 private:
  static std::size_t index(Value v) { return static_cast<std::size_t>(v.id); }

  // The fused graph's batch norm that makes this value, if only one node reads it.
  BatchNormNode* norm_of(Value old) {
    return users_[index(old)] == 1 ? std::get_if<BatchNormNode>(&fused_.nodes[index(moved_[index(old)])].op) : nullptr;
  }

  // The fused graph's node that took this one in; none where there is no such.
  Value fold(const Node& node) {
    if (std::holds_alternative<AddNode>(node.op)) {
      const Value a = node.inputs[0], b = node.inputs[1];
      if (fold_addition(a, b)) return moved_[index(a)];
      if (fold_addition(b, a)) return moved_[index(b)];
      return {};
    }
    if (node.inputs.empty()) return {};
    BatchNormNode* const norm = norm_of(node.inputs[0]);
    return norm && norma::fold(node, *norm) ? moved_[index(node.inputs[0])] : Value{};
  }

  // normed + other, where `other` is computed before the batch norm: nodes keep their order, which is that of the parameters.
  bool fold_addition(Value normed, Value other) {
    BatchNormNode* const norm = norm_of(normed);
    const Value r = moved_[index(other)], into = moved_[index(normed)];
    if (!norm || norm->residual || norm->act != Activation::none || norm->pool || r.id >= into.id) return false;
    norm->residual = true;
    fused_.nodes[index(into)].inputs.push_back(r);
    return true;
  }

  Graph graph_, fused_;
  std::vector<int> users_;
  std::vector<Value> moved_;  // old id -> new id
};

}  // namespace

Graph fuse(Graph graph) {
  check(graph);
  return Fusion{std::move(graph)}.run();
}

}  // namespace norma
