// Builder: nodes get their path and shape here, so that every error names its layer.
#include <algorithm>

#include "norma/error.h"
#include "norma/graph.h"
#include "src/infer.h"

namespace norma {
namespace {

// What a node is called where no Scope gives it a name: a module run alone.
struct Kind {
  std::string operator()(const InputNode&) const { return "input"; }
  std::string operator()(const BatchNormNode&) const { return nn::BatchNorm::kind; }
  std::string operator()(const ActivationNode& a) const { return name_of(a.act); }
  std::string operator()(const FlattenNode&) const { return nn::Flatten::kind; }
  std::string operator()(const AddNode&) const { return "add"; }
  template <class M>
  std::string operator()(const M&) const {
    return M::kind;
  }
};

}  // namespace

Builder::Scope::Scope(Builder& b, std::string_view name) : builder_(b), length_(b.path_.size()) {
  if (name.empty() || name.find_first_of("./") != std::string_view::npos)
    b.fail("a module's name must not be empty or hold '.' or '/', got \"" + std::string(name) + "\"");
  if (!b.path_.empty()) b.path_ += '/';
  b.path_ += name;
}

Builder::Scope::~Scope() { builder_.path_.resize(length_); }

void Builder::fail(const std::string& message) const {
  throw Error(ErrorKind::usage, path_.empty() ? message : "[" + path_ + "] " + message);
}

std::string Builder::unique_path(std::string_view fallback) {
  const std::string stem = path_.empty() ? std::string(fallback) : path_;
  const int number = ++used_[stem];
  return number == 1 ? stem : stem + "_" + std::to_string(number);
}

Value Builder::input(std::string name, const Shape& shape) {
  if (shape.rank() != 2 && shape.rank() != 4)
    throw Error(ErrorKind::usage, "input \"" + name + "\" must be (N, F) or (N, C, H, W), got " + to_string(shape));
  for (std::int64_t d : shape)
    if (d <= 0) throw Error(ErrorKind::usage, "input \"" + name + "\" has an empty dimension: " + to_string(shape));
  if (++used_[name] > 1) throw Error(ErrorKind::usage, "two inputs are called \"" + name + "\"");
  graph_.nodes.push_back({InputNode{}, {}, shape, name, name});
  return {static_cast<std::int32_t>(graph_.nodes.size()) - 1};
}

Value Builder::emit(NodeOp op, std::vector<Value> inputs) {
  std::string path = unique_path(std::visit(Kind{}, op));
  std::vector<Shape> shapes;
  for (Value v : inputs) {
    if (v.id < 0 || static_cast<std::size_t>(v.id) >= graph_.nodes.size())
      throw Error(ErrorKind::usage, "[" + path + "] reads a value of another net");
    shapes.push_back(graph_[v].shape);
  }
  Shape shape = infer(op, shapes, path);
  graph_.nodes.push_back({std::move(op), std::move(inputs), shape, path, path});
  return {static_cast<std::int32_t>(graph_.nodes.size()) - 1};
}

Graph Builder::finish(std::vector<Value> outputs) && {
  graph_.outputs = std::move(outputs);
  return std::move(graph_);
}

Graph trace(const Module& module, const Shape& input) {
  Builder b;
  const Value x = b.input("x", input);
  const Value y = module(b, x);
  return std::move(b).finish({y});
}

}  // namespace norma
