// A net as JSON: its nodes in order, each with what it does, its options, its inputs' numbers and its path.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "norma/activation.h"
#include "norma/error.h"
#include "norma/model_file.h"
#include "norma/text.h"
#include "src/net/replay.h"

namespace norma {
namespace {

using nlohmann::ordered_json;

constexpr const char* net_key = "norma.net";
constexpr std::size_t most_net_text = std::size_t{1} << 21, most_nodes = std::size_t{1} << 20;
constexpr std::ptrdiff_t most_parts = 150;  // of a path, less one

// The name of each kind of node, and v(key, option) for its options. A kind without does not compile.
template <class Op>
constexpr const char* op_name = nullptr;
template <>
constexpr const char* op_name<InputNode> = "input";
template <>
constexpr const char* op_name<nn::Conv2d> = "conv2d";
template <>
constexpr const char* op_name<nn::ConvTranspose2d> = "conv_transpose2d";
template <>
constexpr const char* op_name<nn::Linear> = "linear";
template <>
constexpr const char* op_name<BatchNormNode> = "batch_norm";
template <>
constexpr const char* op_name<nn::LayerNorm> = "layer_norm";
template <>
constexpr const char* op_name<nn::InstanceNorm> = "instance_norm";
template <>
constexpr const char* op_name<nn::GroupNorm> = "group_norm";
template <>
constexpr const char* op_name<nn::MaxPool2d> = "max_pool2d";
template <>
constexpr const char* op_name<nn::AvgPool2d> = "avg_pool2d";
template <>
constexpr const char* op_name<ActivationNode> = "activation";
template <>
constexpr const char* op_name<nn::Dropout> = "dropout";
template <>
constexpr const char* op_name<FlattenNode> = "flatten";
template <>
constexpr const char* op_name<AddNode> = "add";
template <>
constexpr const char* op_name<nn::Operation> = "";  // a program's own: no file holds it

template <class T, class Op>
concept OneOf = std::is_same_v<std::remove_const_t<T>, Op>;

template <class V, OneOf<nn::Conv2d> T>
void options(V v, T& o) {
  v("out", o.out), v("kernel", o.kernel), v("stride", o.stride), v("padding", o.padding), v("dilation", o.dilation), v("groups", o.groups);
  v("bias", o.bias);
}
template <class V, OneOf<nn::ConvTranspose2d> T>
void options(V v, T& o) {
  v("out", o.out), v("kernel", o.kernel), v("stride", o.stride), v("padding", o.padding), v("output_padding", o.output_padding);
  v("dilation", o.dilation), v("groups", o.groups), v("bias", o.bias);
}
template <class V, OneOf<nn::Linear> T>
void options(V v, T& o) {
  v("out", o.out), v("bias", o.bias);
}
template <class V, OneOf<BatchNormNode> T>
void options(V v, T& o) {
  v("eps", o.options.eps), v("momentum", o.options.momentum), v("affine", o.options.affine);
  v("track_running_stats", o.options.track_running_stats);
}
template <class V, OneOf<nn::LayerNorm> T>
void options(V v, T& o) {
  v("eps", o.eps), v("elementwise_affine", o.elementwise_affine), v("bias", o.bias);
}
template <class V, OneOf<nn::InstanceNorm> T>
void options(V v, T& o) {
  v("eps", o.eps), v("momentum", o.momentum), v("affine", o.affine), v("track_running_stats", o.track_running_stats);
}
template <class V, OneOf<nn::GroupNorm> T>
void options(V v, T& o) {
  v("groups", o.groups), v("eps", o.eps), v("affine", o.affine);
}
template <class V, OneOf<nn::MaxPool2d> T>
void options(V v, T& o) {
  v("kernel", o.kernel), v("stride", o.stride), v("padding", o.padding), v("dilation", o.dilation), v("ceil_mode", o.ceil_mode);
}
template <class V, OneOf<nn::AvgPool2d> T>
void options(V v, T& o) {
  v("kernel", o.kernel), v("stride", o.stride), v("padding", o.padding), v("ceil_mode", o.ceil_mode);
  v("count_include_pad", o.count_include_pad);
}
template <class V, OneOf<ActivationNode> T>
void options(V v, T& o) {
  v("function", o.act), v("option", o.option);
}
template <class V, OneOf<nn::Dropout> T>
void options(V v, T& o) {
  v("p", o.p);
}
template <class V, OneOf<InputNode> T>
void options(V, T&) {}
template <class V, OneOf<FlattenNode> T>
void options(V, T&) {}
template <class V, OneOf<AddNode> T>
void options(V, T&) {}
template <class V, OneOf<nn::Operation> T>
void options(V, T&) {}

struct OptionWriter {
  ordered_json& json;
  static ordered_json to_json(const Size2& s) { return {s.h, s.w}; }
  static ordered_json to_json(Activation a) { return name_of(a); }
  template <class T>
  static ordered_json to_json(const std::optional<T>& o) {
    return o ? to_json(*o) : ordered_json();
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  static ordered_json to_json(T value) { return value; }
  template <class T>
  void operator()(const char* key, const T& option) const {
    json[key] = to_json(option);
  }
};

class NetReader {
 public:
  NetReader(const std::string& file, const std::string& text) : file_(file) {
    if (text.size() > most_net_text) fail("holds " + std::to_string(text.size()) + " bytes");
    try {
      json_ = ordered_json::parse(text);
    } catch (const ordered_json::exception&) {
      fail("is not JSON");
    }
  }

  Graph graph() {
    const ordered_json* const nodes = member(json_, "nodes");
    if (!nodes || !nodes->is_array() || nodes->empty() || nodes->size() > most_nodes) fail("has no list of nodes");
    Graph graph;
    for (const ordered_json& n : *nodes) {
      at_ = "node " + std::to_string(graph.nodes.size());
      graph.nodes.push_back(node(n, graph.nodes.size()));
      const bool is_input = std::holds_alternative<InputNode>(graph.nodes.back().op);
      if (is_input != (graph.nodes.size() == 1)) fail("has an input elsewhere than at its beginning");
    }
    at_ = "output";
    graph.outputs = {{static_cast<std::int32_t>(number(json_, "output", graph.nodes.size())), 0}};
    return graph;
  }

 private:
  struct OptionReader {
    NetReader& r;
    const ordered_json& json;
    template <class T>
    void operator()(const char* key, T& option) const {
      const ordered_json* const j = member(json, key);
      if (!j || !r.read(*j, option)) r.fail(std::string("has no valid ") + key);
    }
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::data, file_ + ": metadata " + net_key + (at_.empty() ? "" : ", " + at_ + ",") + " " + what +
                                     "; norma writes no such net: the file is damaged or forged");
  }
  static const ordered_json* member(const ordered_json& j, const char* key) {
    const auto found = j.is_object() ? j.find(key) : j.end();
    return found == j.end() ? nullptr : &*found;
  }
  std::size_t number(const ordered_json& j, const char* key, std::size_t below) const {
    const ordered_json* const n = member(j, key);
    if (!n || !n->is_number_unsigned() || n->get<std::uint64_t>() >= below) fail(std::string("has no valid ") + key);
    return n->get<std::size_t>();
  }

  bool read(const ordered_json& j, std::int64_t& value) const {
    constexpr std::uint64_t most = std::uint64_t{1} << 31;
    if (!j.is_number_unsigned() || j.get<std::uint64_t>() > most) return false;
    value = j.get<std::int64_t>();
    return true;
  }
  bool read(const ordered_json& j, double& value) const {
    if (!j.is_number() || !std::isfinite(j.get<double>())) return false;
    value = j.get<double>();
    return true;
  }
  bool read(const ordered_json& j, bool& value) const {
    if (!j.is_boolean()) return false;
    value = j.get<bool>();
    return true;
  }
  bool read(const ordered_json& j, Size2& value) const {
    return j.is_array() && j.size() == 2 && read(j[0], value.h) && read(j[1], value.w);
  }
  bool read(const ordered_json& j, Activation& value) const {
    const auto* const found =
        std::ranges::find_if(activation_table, [&](const ActivationTraits& t) { return j.is_string() && j.get<std::string>() == t.name; });
    if (found == std::end(activation_table)) return false;
    value = found->act;
    return true;
  }
  template <class T>
  bool read(const ordered_json& j, std::optional<T>& value) const {
    value.reset();
    return j.is_null() || read(j, value.emplace());
  }

  template <class Op>
  bool read_as(const ordered_json& j, const std::string& name, NodeOp& op) {
    static_assert(op_name<Op> != nullptr, "this kind of node has no name in model files");
    if (name != op_name<Op> || name.empty()) return false;
    Op of;
    options(OptionReader{*this, j}, of);
    op = std::move(of);
    return true;
  }
  template <class... Op>
  bool read_any(const ordered_json& j, const std::string& name, NodeOp& op, std::type_identity<std::variant<Op...>>) {
    return (read_as<Op>(j, name, op) || ...);
  }

  Node node(const ordered_json& j, std::size_t before) {
    const ordered_json* const name = member(j, "op");
    const ordered_json* const path = member(j, "path");
    const ordered_json* const inputs = member(j, "inputs");
    Node n;
    if (!name || !name->is_string() || !read_any(j, name->get<std::string>(), n.op, std::type_identity<NodeOp>{}))
      fail("does nothing that this norma knows; a later one may");
    if (!path || !path->is_string() || path->get<std::string>().empty()) fail("has no path");
    n.path = n.output_path = path->get<std::string>();
    if (std::ranges::count(n.path, '/') > most_parts) fail("has a path of too many parts");
    const std::size_t wanted = std::holds_alternative<InputNode>(n.op) ? 0 : std::holds_alternative<AddNode>(n.op) ? 2 : 1;
    if (!inputs || !inputs->is_array() || inputs->size() != wanted) fail("has no valid inputs");
    for (const ordered_json& in : *inputs) {
      if (!in.is_number_unsigned() || in.get<std::uint64_t>() >= before) fail("reads a node that does not come before it");
      n.inputs.push_back({in.get<std::int32_t>(), 0});
    }
    return n;
  }

  const std::string& file_;
  std::string at_;
  ordered_json json_;
};

}  // namespace

bool write_model_net(const Graph& graph, std::map<std::string, std::string>& metadata) {
  metadata.erase(net_key);
  if (graph.outputs.size() != 1) return false;
  ordered_json nodes = ordered_json::array();
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    if (std::ranges::count(n.path, '/') > most_parts || std::holds_alternative<nn::Operation>(n.op) ||
        std::holds_alternative<InputNode>(n.op) != (i == 0))
      return false;
    ordered_json inputs = ordered_json::array();
    for (const Value v : n.inputs) inputs.push_back(v.id);
    ordered_json j{{"op", nullptr}, {"path", n.path}, {"inputs", inputs}};
    std::visit(
        [&](const auto& op) {
          j["op"] = op_name<std::decay_t<decltype(op)>>;
          options(OptionWriter{j}, op);
        },
        n.op);
    nodes.push_back(std::move(j));
  }
  std::string text =
      ordered_json{{"nodes", nodes}, {"output", graph.outputs[0].id}}.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  if (text.size() > most_net_text) return false;
  metadata[net_key] = std::move(text);
  return true;
}

std::optional<Module> read_model_net(const std::map<std::string, std::string>& metadata, const std::string& file) {
  const auto found = metadata.find(net_key);
  if (found == metadata.end()) return {};
  return Module(Replay(NetReader(file, found->second).graph(), {}));
}

}  // namespace norma
