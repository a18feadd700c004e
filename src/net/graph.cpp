// A graph's nodes: found, checked, listed with their parameters, printed.
#include "norma/graph.h"

#include <algorithm>
#include <sstream>

#include "norma/error.h"
#include "norma/text.h"
#include "src/net/graph_check.h"
#include "src/net/layers.h"

namespace norma {

const Node& Graph::operator[](Value v) const {
  if (v.id < 0 || static_cast<std::size_t>(v.id) >= nodes.size())
    throw Error(ErrorKind::usage,
                "value number " + std::to_string(v.id) + " is none of this graph, which has " + std::to_string(nodes.size()) + " nodes");
  // A Value that norma itself made of a number, and a graph made by hand, have no net.
  const std::uint32_t net = outputs.empty() ? 0 : outputs[0].net;
  if (v.net != 0 && net != 0 && v.net != net)
    throw Error(ErrorKind::usage, "value number " + std::to_string(v.id) + " is of another net, none of this graph");
  return nodes[static_cast<std::size_t>(v.id)];
}

void check(const Graph& graph) {
  const auto precedes = [&](Value v, std::size_t i) { return v.id >= 0 && static_cast<std::size_t>(v.id) < i; };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    const bool input = std::holds_alternative<InputNode>(n.op);
    if (n.inputs.empty() != input || !std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return precedes(v, i); }))
      throw Error(ErrorKind::usage, "[" + printable(n.path) + "] does not read nodes that come before it: this is no graph of a Builder");
  }
  for (const Value v : graph.outputs) (void)graph[v];
}

void check_plain(const Graph& graph, const std::string& use) {
  check(graph);
  const auto inputs =
      std::count_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return std::holds_alternative<InputNode>(n.op); });
  if (inputs != 1 || graph.outputs.size() != 1)
    throw Error(ErrorKind::usage, use + " a graph of one input and output, this one has " + std::to_string(inputs) + " and " +
                                      std::to_string(graph.outputs.size()));
  for (const Node& n : graph.nodes)
    if (const auto* norm = std::get_if<BatchNormNode>(&n.op); norm && (norm->residual || norm->act != Activation::none || norm->pool))
      throw Error(ErrorKind::usage, "[" + printable(n.path) + "] is fused: give the graph of trace() or Trainer::unfused_graph()");
}

std::string parameter_name(std::string_view path, std::string_view what) {
  std::string name(path);
  std::replace(name.begin(), name.end(), '/', '.');
  return name.append(".").append(what);
}

std::vector<ParameterInfo> Graph::parameters() const {
  check(*this);
  std::vector<ParameterInfo> list;
  for (std::size_t i = 0; i < nodes.size(); ++i) add_parameters(*this, static_cast<std::int32_t>(i), list);
  return list;
}

std::vector<BatchNormSite> batch_norms(const Graph& graph) {
  check(graph);
  std::vector<BatchNormSite> sites;
  std::vector<std::size_t> site_of(graph.nodes.size());  // by node; from 1
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    const Node& node = graph.nodes[static_cast<std::size_t>(i)];
    if (std::holds_alternative<BatchNormNode>(node.op)) {
      sites.push_back({node.inputs[0], {i}});
      site_of[static_cast<std::size_t>(i)] = sites.size();
    }
    if (!std::holds_alternative<ActivationNode>(node.op)) continue;
    if (const std::size_t site = site_of[static_cast<std::size_t>(node.inputs[0].id)]; site > 0 && !sites[site - 1].activation)
      sites[site - 1].activation = Value{i};
  }
  return sites;
}

std::string Graph::print() const {
  check(*this);
  std::ostringstream out;
  for (const Node& n : nodes) {
    out << printable(n.path) << ": " << title(n.op) << "(";
    for (std::size_t i = 0; i < n.inputs.size(); ++i) out << (i ? ", " : "") << printable((*this)[n.inputs[i]].output_path);
    out << ") -> " << to_string(n.shape) << (n.output_path == n.path ? "" : " as " + printable(n.output_path)) << "\n";
  }
  return out.str();
}

}  // namespace norma
