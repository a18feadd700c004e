// The graph of a net: nodes in the order they were built (so inputs precede users), each with its inferred shape and module path.
// A Builder is what modules write to. Errors name the path: "[block2/bn] expects ...".
// Its structs are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "norma/export.h"
#include "norma/module.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

struct NORMA_API Node {
  NodeOp op;
  std::vector<Value> inputs;
  Shape shape;              // with the batch: (N,C,H,W) or (N,F)
  std::string path;         // conv1, block2/bn; an input's name
  std::string output_path;  // path under which the output is read: differs from path where fuse folded a node in
};

// "block2.bn.weight" of ("block2/bn", "weight").
NORMA_API std::string parameter_name(std::string_view path, std::string_view what);

// Origin of a node's parameter or buffer; made by Graph::parameters().
struct NORMA_API ParameterInfo {
  std::string name{};  // conv1.weight
  Shape shape{};
  Init init{};
  std::int64_t fan_in = 1, fan_out = 1;
  double standard_value = 0;  // Init::standard of a parameter without fan: gamma 1, beta 0
  bool buffer = false;        // running statistics: saved, not trained
  DType dtype = DType::f32;
  std::int32_t node = -1;
};

struct NORMA_API Graph {
  std::vector<Node> nodes;
  std::vector<Value> outputs;

  // Throws Error(usage) for a Value that is not one of its nodes. The reference is good until `nodes` changes.
  const Node& operator[](Value v) const;
  // Parameters and buffers of all nodes in node order; names are unique. PyTorch's state_dict names and shapes, '.' between path parts.
  std::vector<ParameterInfo> parameters() const;
  // One line a node: path, operation, shape.
  std::string print() const;
};

// One thread at a time uses a Builder, which does not check it, for one net. Each thread may have its own.
class NORMA_API Builder {
  // One more of something within itself, for its lifetime. Throws Error(usage) beyond 200.
  class Level {
   public:
    explicit Level(int& depth);
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int& depth_;
  };

 public:
  Builder();
  // An input of the net; shape includes the batch.
  Value input(std::string name, const Shape& shape);
  // Infers the output shape from op and inputs. Throws Error(usage) naming the current path. It refuses Values of another net, too few or
  // too many of them, and sizes beyond 64 bits.
  Value emit(NodeOp op, std::vector<Value> inputs);
  Value add(Value a, Value b) { return emit(AddNode{}, {a, b}); }
  Value activation(Activation act, Value x) { return emit(ActivationNode{act}, {x}); }
  // option: what the activation's row in norma/activation.h says, negative_slope or alpha.
  Value activation(Activation act, Value x, double option) { return emit(ActivationNode{act, option}, {x}); }
  const Shape& shape(Value v) const;  // good until the next node
  // Throws Error(usage) naming the current path unless the Value is one of this net. what: "a module returns".
  void check(Value v, const std::string& what) const;

  // Path parts are pushed for the lifetime of a Scope, at most 200 of them. A Scope ends before its Builder, the latest first.
  class Scope {
   public:
    Scope(Builder& b, std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Builder& builder_;
    std::size_t length_;  // of the path outside
    Level level_;
  };
  const std::string& path() const { return path_; }
  // Throws Error(usage, "[path] message").
  [[noreturn]] void fail(const std::string& message) const;

  Graph finish(std::vector<Value> outputs) &&;

 private:
  friend class Module;

  std::string unique_path(std::string_view fallback);
  Value last() const { return {static_cast<std::int32_t>(graph_.nodes.size()) - 1, net_}; }
  void count(const std::string& path, double elements);

  Graph graph_;
  std::string path_;
  int depth_ = 0, calls_ = 0;  // Scopes, Modules within each other
  std::map<std::string, int> used_;
  std::set<std::string> inputs_;  // names
  std::uint32_t net_;
  double elements_ = 0;  // of all values and parameters
};

// Runs the module on inputs of the given shape (batch included) and returns the graph. Input name: "x"; output: the last node.
NORMA_API Graph trace(const Module& module, const Shape& input);

// A batch norm of a graph that is not fused. `norm` reads the output of `input`. `activation` reads the output of `norm`, if one does.
struct NORMA_API BatchNormSite {
  Value input, norm;
  std::optional<Value> activation{};
};
// In node order.
NORMA_API std::vector<BatchNormSite> batch_norms(const Graph& graph);

// Folds an activation, then a max pooling, into the batch norm they follow. It also folds an addition of something computed earlier, then
// an activation. Nothing else may read the values between.
NORMA_API Graph fuse(Graph graph);

}  // namespace norma
