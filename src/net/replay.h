// A graph as a module.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "norma/graph.h"

namespace norma {

// f(builder) with the path's parts as scopes.
inline Value in_scopes(Builder& b, std::string_view path, const std::function<Value()>& f) {
  if (path.empty()) return f();
  const std::size_t slash = path.find('/');
  const Builder::Scope scope(b, path.substr(0, slash));
  return in_scopes(b, slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1), f);
}

// The graph as a module, where the nodes in `skipped` give what goes into them.
class Replay {
 public:
  Replay(const Graph& graph, std::set<std::int32_t> skipped) : graph_(std::make_shared<const Graph>(graph)), skipped_(std::move(skipped)) {}

  Value operator()(Builder& b, Value x) const {
    std::vector<Value> made;
    for (std::size_t i = 0; i < graph_->nodes.size(); ++i) {
      const Node& node = graph_->nodes[i];
      std::vector<Value> inputs;
      for (const Value v : node.inputs) inputs.push_back(made[static_cast<std::size_t>(v.id)]);
      if (std::holds_alternative<InputNode>(node.op)) made.push_back(x);
      else if (skipped_.contains(static_cast<std::int32_t>(i))) made.push_back(inputs[0]);
      else made.push_back(in_scopes(b, node.path, [&] { return b.emit(node.op, inputs); }));
    }
    return made[static_cast<std::size_t>(graph_->outputs[0].id)];
  }

 private:
  std::shared_ptr<const Graph> graph_;
  std::set<std::int32_t> skipped_;
};

}  // namespace norma
