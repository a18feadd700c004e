// The layers of a net whose weights are quantised.
#include <optional>
#include <variant>

#include "src/export/c_program.h"

namespace norma {
namespace {

// The layout of a weight that is quantised, or nothing.
struct Quantised {
  const Graph& graph;
  const Node& node;
  std::optional<WeightLayout> operator()(const nn::Conv2d& c) const {
    return WeightLayout{.channels = c.out, .inner = graph[node.inputs[0]].shape[1] / c.groups * c.kernel.h * c.kernel.w};
  }
  std::optional<WeightLayout> operator()(const nn::ConvTranspose2d& c) const {
    return WeightLayout{.groups = c.groups,
                        .outer = graph[node.inputs[0]].shape[1] / c.groups,
                        .channels = c.out / c.groups,
                        .inner = c.kernel.h * c.kernel.w};
  }
  std::optional<WeightLayout> operator()(const nn::Linear& l) const {
    return WeightLayout{.channels = l.out, .inner = graph[node.inputs[0]].shape[1]};
  }
  std::optional<WeightLayout> operator()(const InputNode&) const { return {}; }
  std::optional<WeightLayout> operator()(const BatchNormNode&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::LayerNorm&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::InstanceNorm&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::GroupNorm&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::MaxPool2d&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::AvgPool2d&) const { return {}; }
  std::optional<WeightLayout> operator()(const ActivationNode&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::Dropout&) const { return {}; }
  std::optional<WeightLayout> operator()(const FlattenNode&) const { return {}; }
  std::optional<WeightLayout> operator()(const AddNode&) const { return {}; }
  std::optional<WeightLayout> operator()(const nn::Operation&) const { return {}; }
};

}  // namespace

QuantisedModel quantise(const Graph& graph, Checkpoint& model) {
  QuantisedModel all;
  for (const Node& node : graph.nodes) {
    const std::optional<WeightLayout> layout = std::visit(Quantised{graph, node}, node.op);
    if (!layout) continue;
    const std::string name = parameter_name(node.path, "weight");
    for (StoredTensor& t : model.tensors)
      if (t.name == name) {
        QuantisedWeights q = quantise(t.floats(), *layout);
        t = StoredTensor::from(name, t.shape, q.floats());
        all.emplace(name, std::move(q));
      }
  }
  return all;
}

}  // namespace norma
