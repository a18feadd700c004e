// Builder: nodes get their path and shape here, so that every error names its layer.
#include <algorithm>
#include <atomic>

#include "norma/error.h"
#include "norma/graph.h"
#include "norma/text.h"
#include "src/net/layers.h"

namespace norma {
namespace {

// Name of a node outside every Scope: a module run alone.
struct Kind {
  std::string operator()(const InputNode&) const { return "input"; }
  std::string operator()(const BatchNormNode&) const { return nn::BatchNorm::kind; }
  std::string operator()(const ActivationNode& a) const { return name_of(a.act); }
  std::string operator()(const FlattenNode&) const { return nn::Flatten::kind; }
  std::string operator()(const AddNode&) const { return "add"; }
  std::string operator()(const nn::Operation& o) const { return o.kind; }
  template <class M>
  std::string operator()(const M&) const {
    return M::kind;
  }
};

// Number of Values a node reads.
struct Arity {
  std::size_t operator()(const InputNode&) const { return 0; }
  std::size_t operator()(const AddNode&) const { return 2; }
  std::size_t operator()(const nn::Operation& o) const { return static_cast<std::size_t>(std::max<std::int64_t>(1, o.inputs)); }
  template <class Op>
  std::size_t operator()(const Op&) const {
    return 1;
  }
};

// Sizes and offsets in bytes of this many elements stay far below 64 bits.
constexpr double most_elements = 0x1p52;
constexpr double most_multiply_adds = 0x1p60;
constexpr double samples_of_a_pack = 64;  // at most: batches are rounded up to whole packs
constexpr int deepest = 200;              // modules within modules: each level takes stack

double stored_elements(const Shape& s) {
  double n = s[0] > 0 ? static_cast<double>(s[0]) + samples_of_a_pack : 0;
  for (int i = 1; i < s.rank(); ++i) n *= static_cast<double>(s[i]);
  return n;
}

// Counts for a node that infer has accepted, with x its first input, y its output. They are double, since they may be beyond any integer.
double parameter_elements(const NodeOp& op, const Shape& x) {
  const auto d = [&](int i) { return static_cast<double>(x[i]); };
  return std::visit(
      [&](const auto& layer) {
        if constexpr (requires {
                        layer.out;
                        layer.kernel;
                      }) {
          const double area = static_cast<double>(layer.kernel.h) * static_cast<double>(layer.kernel.w);
          return static_cast<double>(layer.out) * (d(1) / static_cast<double>(layer.groups) * area + 1);
        } else if constexpr (requires { layer.out; }) {
          return static_cast<double>(layer.out) * (d(1) + 1);
        } else if constexpr (requires { layer.parameters; }) {
          double all = 0;
          for (const auto& p : layer.parameters) all += static_cast<double>(p.shape.elements());
          return all;
        } else {
          return 4 * d(1) * d(2) * d(3);  // of a norm at most
        }
      },
      op);
}

double multiply_adds(const NodeOp& op, const Shape& x, const Shape& y) {
  const bool product = std::visit(
      [](const auto& layer) {
        return requires { layer.out; };
      },
      op);
  const double of_one = product ? parameter_elements(op, x) / static_cast<double>(y[1]) : 1;
  double outputs = 1;
  for (const std::int64_t n : y) outputs *= static_cast<double>(n);
  return of_one * outputs;
}

void check_name(const std::string& text, std::string_view name, const Builder& b) {
  if (name.empty() || name.find_first_of("./") != std::string_view::npos)
    b.fail(text + "'s name must not be empty or hold '.' or '/', got \"" + printable(name) + "\"");
}

}  // namespace

Builder::Builder() {
  static std::atomic<std::uint32_t> numbers{0};
  do net_ = ++numbers;
  while (net_ == 0);  // that of a Value from no Builder
}

Builder::Level::Level(int& depth) : depth_(depth) {
  if (depth >= deepest) throw Error(ErrorKind::usage, "modules lie more than " + std::to_string(deepest) + " deep within each other");
  ++depth;
}

Builder::Scope::Scope(Builder& b, std::string_view name) : builder_(b), length_(b.path_.size()), level_(b.depth_) {
  check_name("a module", name, b);
  if (!b.path_.empty()) b.path_ += '/';
  b.path_ += name;
}

Builder::Scope::~Scope() { builder_.path_.resize(length_); }

void Builder::fail(const std::string& message) const {
  throw Error(ErrorKind::usage, path_.empty() ? message : "[" + printable(path_) + "] " + message);
}

std::string Builder::unique_path(std::string_view fallback) {
  const std::string stem = path_.empty() ? std::string(fallback) : path_;
  if (inputs_.contains(path_)) fail("an input has this name: give the module another one");
  for (;;) {
    const int number = ++used_[stem];
    if (number == 1) return stem;
    std::string path = stem + "_" + std::to_string(number);
    if (used_.emplace(path, 1).second) return path;
  }
}

void Builder::check(Value v, const std::string& what) const {
  if (v.id < 0) fail(what + " no value: it must be one that this net's Builder gave");
  if (v.net != net_ || static_cast<std::size_t>(v.id) >= graph_.nodes.size())
    fail(what + " a value of another net: it must be one that this net's Builder gave");
}

const Shape& Builder::shape(Value v) const {
  check(v, "a shape is asked of");
  return graph_[v].shape;
}

void Builder::count(const std::string& path, double elements) {
  elements_ += elements;
  if (!(elements_ <= most_elements))
    throw Error(ErrorKind::usage,
                "[" + printable(path) + "] makes the net too large: its values and parameters have more than 2^52 elements");
}

Value Builder::input(std::string name, const Shape& shape) {
  check_name("an input", name, *this);
  if (shape.rank() != 2 && shape.rank() != 4)
    throw Error(ErrorKind::usage, "input \"" + printable(name) + "\" must be (N, F) or (N, C, H, W), got " + to_string(shape));
  for (std::int64_t d : shape)
    if (d <= 0) throw Error(ErrorKind::usage, "input \"" + printable(name) + "\" has an empty dimension: " + to_string(shape));
  if (++used_[name] > 1) throw Error(ErrorKind::usage, "two inputs are called \"" + printable(name) + "\"");
  count(name, stored_elements(shape));
  inputs_.insert(name);
  graph_.nodes.push_back({InputNode{}, {}, shape, name, name});
  return last();
}

Value Builder::emit(NodeOp op, std::vector<Value> inputs) {
  std::string path = unique_path(std::visit(Kind{}, op));
  const auto refuse = [&](const std::string& message) { throw Error(ErrorKind::usage, "[" + printable(path) + "] " + message); };
  if (std::holds_alternative<InputNode>(op)) refuse("is an input: Builder::input makes those");
  if (const auto* n = std::get_if<BatchNormNode>(&op); n && (n->residual || n->act != Activation::none || n->pool))
    refuse("is fused already: fuse folds into a batch norm what follows it");
  if (const std::size_t wanted = std::visit(Arity{}, op); inputs.size() != wanted)
    refuse("reads " + std::to_string(wanted) + (wanted == 1 ? " value, got " : " values, got ") + std::to_string(inputs.size()));
  std::vector<Shape> shapes;
  for (Value v : inputs) {
    if (path_.empty()) check(v, "[" + printable(path) + "] reads");
    else check(v, "reads");
    shapes.push_back(graph_[v].shape);
  }
  Shape shape = infer(op, shapes, path);
  count(path, stored_elements(shape) + parameter_elements(op, shapes[0]));
  if (!(multiply_adds(op, shapes[0], shape) <= most_multiply_adds)) refuse("is too large: one pass takes more than 2^60 multiplications");
  graph_.nodes.push_back({std::move(op), std::move(inputs), shape, path, path});
  return last();
}

Graph Builder::finish(std::vector<Value> outputs) && {
  for (Value v : outputs) check(v, "the net returns");
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
