// The graph's parameters and its printed form.
#include "norma/graph.h"

#include <algorithm>
#include <sstream>

#include "norma/error.h"
#include "norma/text.h"
#include "src/net/graph_check.h"

namespace norma {
namespace {

// Adds the parameters of one node.
struct Parameters {
  std::vector<ParameterInfo>& out;
  const Graph& graph;
  const Node& node;
  std::int32_t index;

  void add(const char* name, Shape shape, Init init, std::int64_t fan_in, std::int64_t fan_out, double standard_value) const {
    out.push_back({.name = parameter_name(node.path, name),
                   .shape = shape,
                   .init = init,
                   .fan_in = fan_in,
                   .fan_out = fan_out,
                   .standard_value = standard_value,
                   .node = index});
  }
  void buffer(const char* name, Shape shape, double value, DType dtype) const {
    add(name, shape, Init::constant(value), 1, 1, value);
    out.back().buffer = true;
    out.back().dtype = dtype;
  }

  void operator()(const nn::Conv2d& c) const {
    const std::int64_t channels = graph[node.inputs[0]].shape[1] / c.groups, area = c.kernel.h * c.kernel.w;
    const std::int64_t fan_in = channels * area, fan_out = c.out * area;
    add("weight", {c.out, channels, c.kernel.h, c.kernel.w}, c.weight_init, fan_in, fan_out, 0);
    if (c.bias) add("bias", {c.out}, c.bias_init, fan_in, fan_out, 0);
  }
  void operator()(const nn::Linear& l) const {
    const std::int64_t features = graph[node.inputs[0]].shape[1];
    add("weight", {l.out, features}, l.weight_init, features, l.out, 0);
    if (l.bias) add("bias", {l.out}, l.bias_init, features, l.out, 0);
  }
  template <class Norm>
  void affine(const Norm& n, const Shape& shape, bool weight, bool bias) const {
    if (weight) add("weight", shape, n.weight_init, 0, 0, 1);
    if (bias) add("bias", shape, n.bias_init, 0, 0, 0);
  }
  template <class Norm>
  void running_statistics(const Norm& n) const {
    if (!n.track_running_stats) return;
    const Shape channels{node.shape[1]};
    buffer("running_mean", channels, 0, DType::f32);
    buffer("running_var", channels, n.initial_running_var, DType::f32);
    buffer("num_batches_tracked", {}, 0, DType::i64);
  }
  void operator()(const BatchNormNode& n) const {
    affine(n.options, {node.shape[1]}, n.options.affine, n.options.affine);
    running_statistics(n.options);
  }
  void operator()(const nn::LayerNorm& n) const {
    const Shape& s = node.shape;
    affine(n, s.rank() == 2 ? Shape{s[1]} : Shape{s[1], s[2], s[3]}, n.elementwise_affine, n.elementwise_affine && n.bias);
  }
  void operator()(const nn::InstanceNorm& n) const {
    affine(n, {node.shape[1]}, n.affine, n.affine);
    running_statistics(n);
  }
  void operator()(const nn::GroupNorm& n) const { affine(n, {node.shape[1]}, n.affine, n.affine); }
  // Nodes without parameters are listed, so that a new one cannot be left without its own.
  void operator()(const InputNode&) const {}
  void operator()(const nn::MaxPool2d&) const {}
  void operator()(const nn::AvgPool2d&) const {}
  void operator()(const ActivationNode&) const {}
  void operator()(const nn::Dropout&) const {}
  void operator()(const FlattenNode&) const {}
  void operator()(const AddNode&) const {}
};

std::string pair(Size2 s) { return std::to_string(s.h) + (s.h == s.w ? "" : "x" + std::to_string(s.w)); }

struct Title {
  std::string operator()(const InputNode&) const { return "input"; }
  std::string operator()(const nn::Conv2d& c) const {
    return "conv2d out=" + std::to_string(c.out) + " kernel=" + pair(c.kernel) + " stride=" + pair(c.stride) +
           " padding=" + pair(c.padding) + " dilation=" + pair(c.dilation) + " groups=" + std::to_string(c.groups) +
           (c.bias ? "" : " bias=false");
  }
  std::string operator()(const nn::Linear& l) const { return "linear out=" + std::to_string(l.out) + (l.bias ? "" : " bias=false"); }
  std::string operator()(const BatchNormNode& n) const {
    return std::string("batch_norm") + (n.residual ? " + add" : "") +
           (n.act == Activation::none ? "" : std::string(" + ") + name_of(n.act)) + (n.pool ? " + " + (*this)(*n.pool) : "");
  }
  std::string operator()(const nn::LayerNorm&) const { return "layer_norm"; }
  std::string operator()(const nn::InstanceNorm& n) const {
    return n.track_running_stats ? "instance_norm track_running_stats=true" : "instance_norm";
  }
  std::string operator()(const nn::GroupNorm& n) const { return "group_norm groups=" + std::to_string(n.groups); }
  std::string operator()(const nn::MaxPool2d& p) const {
    return "max_pool2d kernel=" + pair(p.kernel) + " stride=" + pair(p.stride.value_or(p.kernel));
  }
  std::string operator()(const nn::AvgPool2d& p) const {
    return "avg_pool2d kernel=" + pair(p.kernel) + " stride=" + pair(p.stride.value_or(p.kernel));
  }
  std::string operator()(const ActivationNode& a) const {
    std::ostringstream s;
    s << name_of(a.act);
    if (const char* option = traits(a.act).option) s << " " << option << "=" << a.option;
    return s.str();
  }
  std::string operator()(const nn::Dropout& d) const {
    std::ostringstream s;
    s << "dropout p=" << d.p;
    return s.str();
  }
  std::string operator()(const FlattenNode&) const { return "flatten"; }
  std::string operator()(const AddNode&) const { return "add"; }
};

}  // namespace

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

std::string parameter_name(std::string_view path, std::string_view what) {
  std::string name(path);
  std::replace(name.begin(), name.end(), '/', '.');
  return name.append(".").append(what);
}

std::vector<ParameterInfo> Graph::parameters() const {
  check(*this);
  std::vector<ParameterInfo> list;
  for (std::size_t i = 0; i < nodes.size(); ++i) std::visit(Parameters{list, *this, nodes[i], static_cast<std::int32_t>(i)}, nodes[i].op);
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
    out << printable(n.path) << ": " << std::visit(Title{}, n.op) << "(";
    for (std::size_t i = 0; i < n.inputs.size(); ++i) out << (i ? ", " : "") << printable((*this)[n.inputs[i]].output_path);
    out << ") -> " << to_string(n.shape) << (n.output_path == n.path ? "" : " as " + printable(n.output_path)) << "\n";
  }
  return out.str();
}

}  // namespace norma
