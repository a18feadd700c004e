// Each kind of node as calls of C functions.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <variant>

#include "norma/error.h"
#include "norma/text.h"
#include "src/data/affine.h"
#include "src/export/c_program.h"
#include "src/export/resize_filter.h"
#include "src/net/layers.h"

namespace norma {
namespace {

constexpr std::int64_t most_elements = std::numeric_limits<std::int32_t>::max();

std::int64_t plane_of(const Shape& s) { return s[2] * s[3]; }

[[noreturn]] void refuse(const Node& node, const std::string& why) {
  throw Error(ErrorKind::usage, "[" + printable(node.path) + "] " + why);
}

// Windows of (oh, ow) over (h, w): the sizes in the order in which the C functions take them.
struct Sliding {
  kernels::Window window;
  std::int64_t h, w, oh, ow;
};

class ProgramWriter {
 public:
  ProgramWriter(const Graph& graph, const Checkpoint& model, const QuantisedModel& quantised, const ModelInput& input, Identifiers& names)
      : graph_(graph), model_(model), quantised_(quantised), input_(input), names_(names), buffer_(graph.nodes.size(), -1) {}

  CProgram run() {
    count_readers();
    const int sample = new_buffer(input_.sample.elements());
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (readers_[i] == 0) continue;  // the output does not depend on it
      node_ = i;
      for (const Value v : node().inputs) --pending_[static_cast<std::size_t>(buffer_of(v))];
      const bool is_input = std::holds_alternative<InputNode>(node().op);
      buffer_[i] = is_input ? transformed_input(sample) : std::visit(*this, node().op);
      pending_[static_cast<std::size_t>(buffer_[i])] += readers_[i];
    }
    program_.output = buffer_of(graph_.outputs[0]);
    if (program_.output == sample) program_.output = copy_of(sample);
    return std::move(program_);
  }

  // ---- a node's buffer, after the steps that fill it

  int operator()(const InputNode&) { refuse(node(), "is a second input: a C file has one"); }

  int operator()(const nn::Conv2d& c) {
    const Shape &x = in_shape(), &y = node().shape;
    Sliding s{window_of(c), x[2], x[3], y[2], y[3]};
    int from = in();
    const kernels::Window& win = s.window;
    if (win.pad_h > 0 || win.pad_w > 0) {
      const std::int64_t h = (s.oh - 1) * win.stride_h + (win.kernel_h - 1) * std::int64_t{win.dilation_h} + 1,
                         w = (s.ow - 1) * win.stride_w + (win.kernel_w - 1) * std::int64_t{win.dilation_w} + 1;
      const int padded = new_buffer(checked_product({x[1], h, w}));
      step("pad", {{from}, {padded}}, {x[1], s.h, s.w, win.pad_h, win.pad_w, h, w});
      from = padded, s.h = h, s.w = w;
    } else if (win.kernel_h == 1 && win.kernel_w == 1 && win.stride_h == 1 && win.stride_w == 1) {
      s.w = s.ow = plane_of(x), s.h = s.oh = 1;  // one long row
    }
    const int to = new_buffer(y.elements());
    std::vector<CArgument> arguments{{from}, {to}};
    add_weights(arguments, c.bias);
    const std::int64_t down = s.oh > 1 ? win.stride_h : 1, across = s.ow > 1 ? win.stride_w : 1;  // one never taken may be any number
    step("conv2d", std::move(arguments),
         {c.groups, x[1] / c.groups, s.h, s.w, c.out / c.groups, s.oh, s.ow, win.kernel_h, win.kernel_w, down, across, win.dilation_h,
          win.dilation_w});
    program_.multiplications += y.elements() * (x[1] / c.groups) * c.kernel.h * c.kernel.w;
    return to;
  }

  int operator()(const nn::ConvTranspose2d& c) {
    const Shape &x = in_shape(), &y = node().shape;
    const kernels::Window w = make_window(c.kernel, c.stride, c.padding, c.dilation);
    check_reach(x[2], w.stride_h, w.kernel_h, w.dilation_h), check_reach(x[3], w.stride_w, w.kernel_w, w.dilation_w);
    const int to = new_buffer(y.elements());
    std::vector<CArgument> arguments{{in()}, {to}};
    add_weights(arguments, c.bias);
    step("conv_transpose2d", std::move(arguments),
         {c.groups, x[1] / c.groups, x[2], x[3], c.out / c.groups, y[2], y[3], w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.pad_h,
          w.pad_w, w.dilation_h, w.dilation_w});
    program_.multiplications += x.elements() * (c.out / c.groups) * c.kernel.h * c.kernel.w;
    return to;
  }

  int operator()(const nn::Linear& l) {
    const int to = new_buffer(node().shape.elements());
    std::vector<CArgument> arguments{{in()}, {to}};
    add_weights(arguments, l.bias);
    step("linear", std::move(arguments), {in_shape()[1], l.out});
    program_.multiplications += in_shape()[1] * l.out;
    return to;
  }

  int operator()(const BatchNormNode& n) {
    if (!n.options.track_running_stats)
      refuse(node(), "has no running statistics: it normalises by the samples that happen to come together");
    return by_statistics(n.options.eps, n.options.affine);
  }

  int operator()(const nn::InstanceNorm& n) {
    if (n.track_running_stats) return by_statistics(n.eps, n.affine);
    const Shape& x = in_shape();
    return standardised(x[1], plane_of(x), n.eps, x[1], n.affine, n.affine);
  }
  int operator()(const nn::LayerNorm& n) {
    const std::int64_t elements = in_shape().elements();
    return standardised(1, elements, n.eps, elements, n.elementwise_affine, n.elementwise_affine && n.bias);
  }
  int operator()(const nn::GroupNorm& n) {
    const Shape& x = in_shape();
    return standardised(n.groups, x.elements() / n.groups, n.eps, x[1], n.affine, n.affine);
  }

  int operator()(const nn::MaxPool2d& p) {
    const kernels::Window w = window_of(p);
    return pool("max_pool2d", w, {w.dilation_h, w.dilation_w});
  }
  int operator()(const nn::AvgPool2d& p) {
    const kernels::Window w = window_of(p);
    return pool("avg_pool2d", w, {p.count_include_pad ? w.pad_h : 0, p.count_include_pad ? w.pad_w : 0});
  }

  int operator()(const ActivationNode& a) {
    if (a.act == Activation::none) return in();
    const int to = own_input();
    std::vector<CArgument> arguments{{to}, {-1, std::to_string(node().shape.elements())}};
    if (traits(a.act).option) arguments.push_back({-1, c_float(static_cast<float>(a.option))});
    step(name_of(a.act), std::move(arguments));
    return to;
  }

  int operator()(const nn::Dropout&) { return in(); }
  int operator()(const FlattenNode&) { return in(); }

  int operator()(const AddNode&) {
    const int a = in(0), b = in(1);
    const bool into_b = !is_free(a) && is_free(b);
    const int to = into_b ? b : own(a), from = into_b ? a : b;
    step("add", {{from}, {to}}, {node().shape.elements()});
    return to;
  }

  int operator()(const nn::Operation&) {
    refuse(node(), "is an nn::Operation, a function of a program of its own: no C can be made of it");
  }

 private:
  const Node& node() const { return graph_.nodes[node_]; }
  const Shape& in_shape() const { return graph_[node().inputs[0]].shape; }
  int buffer_of(Value v) const { return buffer_[static_cast<std::size_t>(v.id)]; }
  int in(std::size_t i = 0) const { return buffer_of(node().inputs[i]); }

  // Readers of each node among those on which the output depends; the caller reads the output.
  void count_readers() {
    readers_.assign(graph_.nodes.size(), 0);
    ++readers_[static_cast<std::size_t>(graph_.outputs[0].id)];
    for (std::size_t i = graph_.nodes.size(); i-- > 0;)
      if (readers_[i] > 0)
        for (const Value v : graph_.nodes[i].inputs) ++readers_[static_cast<std::size_t>(v.id)];
  }

  std::int64_t checked_product(std::initializer_list<std::int64_t> factors) const {
    std::int64_t product = 1;
    for (const std::int64_t f : factors)
      if (__builtin_mul_overflow(product, f, &product) || product > most_elements)
        refuse(node(), "has a value of more than 2^31 - 1 elements, padding included, which a C file does not index");
    return product;
  }
  // Windows of `kernel` at `outputs` places reach no further than an int counts.
  void check_reach(std::int64_t outputs, std::int64_t stride, std::int64_t kernel, std::int64_t dilation) const {
    if (outputs * stride + kernel * dilation > most_elements)
      refuse(node(), "has windows that reach over more than 2^31 - 1 rows or columns, which a C file does not index");
  }

  int new_buffer(std::int64_t floats) {
    program_.buffers.push_back({.floats = checked_product({floats})});
    pending_.push_back(0);
    return static_cast<int>(program_.buffers.size()) - 1;
  }
  int copy_of(int buffer) {
    const int to = new_buffer(program_.buffers[static_cast<std::size_t>(buffer)].floats);
    step("copy", {{buffer}, {to}}, {program_.buffers[static_cast<std::size_t>(buffer)].floats});
    return to;
  }
  // Nothing reads it after this node, and it is not the caller's.
  bool is_free(int buffer) const { return buffer != 0 && pending_[static_cast<std::size_t>(buffer)] == 0; }
  // A buffer with these values that may be changed.
  int own(int buffer) { return is_free(buffer) ? buffer : copy_of(buffer); }
  int own_input() { return own(in()); }

  void step(const std::string& function, std::vector<CArgument> arguments, std::initializer_list<std::int64_t> sizes = {}) {
    for (const std::int64_t s : sizes) arguments.push_back({-1, std::to_string(checked_product({s}))});
    program_.functions.insert(function);
    program_.steps.push_back({node().path + ": " + title(node().op), function, std::move(arguments)});
  }

  std::vector<float> values(const char* what) const { return model_.find(parameter_name(node().path, what))->floats(); }

  template <class T>
  CArgument array(const char* what, std::span<const T> all) {
    const std::string name = names_.make(node().path, what);
    program_.arrays += c_array(name, all);
    if (!std::holds_alternative<InputNode>(node().op)) program_.parameters += checked_product({static_cast<std::int64_t>(all.size())});
    return {-1, name};
  }
  CArgument array(const char* what, const std::vector<float>& all) { return array<float>(what, std::span(all)); }

  // Weights, scales where they are quantised, and bias.
  void add_weights(std::vector<CArgument>& arguments, bool bias) {
    const auto found = quantised_.find(parameter_name(node().path, "weight"));
    if (found == quantised_.end()) {
      arguments.push_back(array("weight", values("weight")));
    } else {
      arguments.push_back(array<std::int8_t>("weight", found->second.values));
      arguments.push_back(array("scale", found->second.scales));
    }
    arguments.push_back(bias ? array("bias", values("bias")) : CArgument{-1, "0"});
  }

  int transformed_input(int sample) {
    const Affine affine(input_.transform, input_.sample[0], input_.stored);
    const auto all = [](const std::vector<float>& v, float wanted) { return std::ranges::all_of(v, [&](float x) { return x == wanted; }); };
    int buffer = sample;
    if (input_.stored == DType::u8 || !all(affine.scale, 1) || !all(affine.offset, 0)) {
      buffer = new_buffer(input_.sample.elements());
      const std::int64_t channels = input_.sample[0], plane = input_.sample.elements() / channels;
      step("transform", {{sample},
                         {buffer},
                         {-1, std::to_string(channels)},
                         {-1, std::to_string(plane)},
                         array("input_scale", affine.scale),
                         array("input_offset", affine.offset)});
    }
    if (const std::optional<Size2>& to = input_.transform.resize) buffer = resized(buffer, *to);
    return buffer;
  }

  int resized(int from, Size2 size) {
    const Shape& x = input_.sample;
    const ResizeFilter down = resize_filter(x[1], size.h), across = resize_filter(x[2], size.w);
    const int to = new_buffer(node().shape.elements());
    step("resize", {{from},
                    {to},
                    {-1, std::to_string(x[0])},
                    {-1, std::to_string(x[1])},
                    {-1, std::to_string(x[2])},
                    {-1, std::to_string(size.h)},
                    {-1, std::to_string(size.w)},
                    array<int>("rows", down.first),
                    array("row_weights", down.weights),
                    {-1, std::to_string(down.taps)},
                    array<int>("columns", across.first),
                    array("column_weights", across.weights),
                    {-1, std::to_string(across.taps)}});
    return to;
  }

  int by_statistics(double eps, bool affine) {
    const std::vector<float> mean = values("running_mean"), var = values("running_var");
    std::vector<float> scale(mean.size()), shift(mean.size());
    const std::vector<float> gamma = affine ? values("weight") : std::vector<float>(mean.size(), 1.0f);
    const std::vector<float> beta = affine ? values("bias") : std::vector<float>(mean.size(), 0.0f);
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const double root = std::sqrt(static_cast<double>(var[c]) + eps);
      const double factor = root == 0 ? 0 : static_cast<double>(gamma[c]) / root;
      scale[c] = static_cast<float>(factor);
      shift[c] = static_cast<float>(static_cast<double>(beta[c]) - static_cast<double>(mean[c]) * factor);
      if (!std::isfinite(scale[c]) || !std::isfinite(shift[c]))
        throw Error(ErrorKind::diverged, "[" + printable(node().path) + "] has no floats as a scale and a shift");
    }
    const int to = own_input();
    scale_and_shift(to, static_cast<std::int64_t>(mean.size()), array("scale", scale), array("shift", shift));
    return to;
  }

  void scale_and_shift(int buffer, std::int64_t channels, CArgument scale, CArgument shift) {
    const std::int64_t plane = node().shape.elements() / channels;
    step("scale_shift", {{buffer}, {-1, std::to_string(channels)}, {-1, std::to_string(plane)}, std::move(scale), std::move(shift)});
  }

  int standardised(std::int64_t groups, std::int64_t each, double eps, std::int64_t channels, bool scale, bool shift) {
    const int to = own_input();
    char text[40];  // in any locale
    const std::string literal(text, std::to_chars(text, text + sizeof text, eps).ptr);
    step("standardise", {{to}, {-1, std::to_string(groups)}, {-1, std::to_string(each)}, {-1, literal}});
    if (!scale && !shift) return to;
    CArgument scales = scale ? array("scale", values("weight")) : CArgument{-1, "0"};
    scale_and_shift(to, channels, std::move(scales), shift ? array("shift", values("bias")) : CArgument{-1, "0"});
    return to;
  }

  int pool(const char* function, const kernels::Window& w, std::initializer_list<std::int64_t> last) {
    const Shape &x = in_shape(), &y = node().shape;
    check_reach(y[2], w.stride_h, w.kernel_h, w.dilation_h), check_reach(y[3], w.stride_w, w.kernel_w, w.dilation_w);
    const int to = new_buffer(y.elements());
    std::vector<CArgument> arguments{{in()}, {to}};
    for (const std::int64_t s : {x[1], x[2], x[3], y[2], y[3], std::int64_t{w.kernel_h}, std::int64_t{w.kernel_w}, std::int64_t{w.stride_h},
                                 std::int64_t{w.stride_w}, std::int64_t{w.pad_h}, std::int64_t{w.pad_w}})
      arguments.push_back({-1, std::to_string(s)});
    step(function, std::move(arguments), last);
    return to;
  }

  const Graph& graph_;
  const Checkpoint& model_;
  const QuantisedModel& quantised_;
  const ModelInput& input_;
  Identifiers& names_;
  CProgram program_;
  std::vector<int> buffer_;            // [node]
  std::vector<std::int64_t> readers_;  // [node]
  std::vector<std::int64_t> pending_;  // [buffer]: readers that are still to come
  std::size_t node_ = 0;
};

}  // namespace

CProgram write_program(const Graph& graph, const Checkpoint& model, const QuantisedModel& quantised, const ModelInput& input,
                       Identifiers& names) {
  return ProgramWriter(graph, model, quantised, input, names).run();
}

}  // namespace norma
