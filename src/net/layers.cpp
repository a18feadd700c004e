// Rules of each layer: its node, the checks of its options and the shape of its output (PyTorch's rules), its parameters, its printed form.
#include "src/net/layers.h"

#include <cmath>
#include <limits>
#include <set>
#include <sstream>

#include "norma/error.h"
#include "norma/text.h"
#include "norma/types.h"

namespace norma {

// ---- nodes

namespace nn {

Value Conv2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value ConvTranspose2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value Linear::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value BatchNorm::operator()(Builder& b, Value x) const { return b.emit(BatchNormNode{.options = *this}, {x}); }
Value LayerNorm::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value InstanceNorm::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value GroupNorm::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value MaxPool2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value AvgPool2d::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value Activate::operator()(Builder& b, Value x) const { return b.activation(act, x, option); }
Value Dropout::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value Flatten::operator()(Builder& b, Value x) const { return b.emit(FlattenNode{}, {x}); }
Value Operation::operator()(Builder& b, Value x) const { return b.emit(*this, {x}); }
Value Operation::operator()(Builder& b, const std::vector<Value>& x) const { return b.emit(*this, x); }

}  // namespace nn

// ---- shapes

namespace {

// Rules of one node; every message begins with its path.
class Inference {
 public:
  Inference(const std::vector<Shape>& inputs, const std::string& path) : in_(inputs), path_(path) {}

  Shape operator()(const InputNode&) const { return in_.at(0); }

  Shape operator()(const nn::Conv2d& c) const {
    const Shape& x = convolved(c);
    return {x[0], c.out, sliding(x, 2, c.kernel.h, c.stride.h, c.padding.h, c.dilation.h, false),
            sliding(x, 3, c.kernel.w, c.stride.w, c.padding.w, c.dilation.w, false)};
  }

  Shape operator()(const nn::ConvTranspose2d& c) const {
    const Shape& x = convolved(c);
    const auto size = [&](int d, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t more, std::int64_t dilation) {
      check(more >= 0 && (more < stride || more < dilation), "output_padding must be below stride or dilation, got " +
                                                                 std::to_string(more) + " with stride " + std::to_string(stride) +
                                                                 " and dilation " + std::to_string(dilation));
      const std::int64_t out = (x[d] - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1;
      check(out > 0, std::string("the output has no ") + (d == 2 ? "rows" : "columns") + ": padding " + std::to_string(padding) +
                         " takes all of them from input " + to_string(x));
      return out;
    };
    return {x[0], c.out, size(2, c.kernel.h, c.stride.h, c.padding.h, c.output_padding.h, c.dilation.h),
            size(3, c.kernel.w, c.stride.w, c.padding.w, c.output_padding.w, c.dilation.w)};
  }

  Shape operator()(const nn::Linear& l) const {
    const Shape& x = in_[0];
    start("weight_init", l.weight_init), start("bias_init", l.bias_init);
    positive("out", l.out);
    if (x.rank() != 2) fail("expects 2-d input, got " + to_string(x) + "; put a Flatten before it");
    return {x[0], l.out};
  }

  Shape operator()(const BatchNormNode& n) const {
    running_statistics(n.options);
    return normalised(n.options);
  }

  Shape operator()(const nn::LayerNorm& l) const { return normalised(l); }

  Shape operator()(const nn::InstanceNorm& l) const {
    running_statistics(l);
    const Shape& x = normalised(l);
    if (x.rank() != 4)
      fail("expects 4-d input, got " + to_string(x) + "; a channel of one element has no variance: use layer or group norm there");
    if (!l.track_running_stats) check(x[2] * x[3] > 1, single_elements(x));
    return x;
  }

  Shape operator()(const nn::GroupNorm& l) const {
    const Shape& x = normalised(l);
    positive("groups", l.groups);
    check(x[1] % l.groups == 0, std::to_string(x[1]) + " channels cannot be divided into " + std::to_string(l.groups) + " groups");
    check(x.elements() > x[0] * l.groups, "expects more than one value in each of its " + std::to_string(l.groups) + " groups, got input " +
                                              to_string(x) + "; one value has no variance: use fewer groups");
    return x;
  }

  Shape operator()(const nn::MaxPool2d& p) const { return pool(p.kernel, p.stride.value_or(p.kernel), p.padding, p.dilation, p.ceil_mode); }
  Shape operator()(const nn::AvgPool2d& p) const { return pool(p.kernel, p.stride.value_or(p.kernel), p.padding, 1, p.ceil_mode); }
  Shape operator()(const ActivationNode& a) const {
    check(is_activation(a.act), "activation " + std::to_string(static_cast<int>(a.act)) + " is no Activation");
    if (const char* option = traits(a.act).option) {
      check(std::isfinite(a.option), std::string(option) + " must be finite");
      fits(option, a.option);
    }
    return in_[0];
  }

  Shape operator()(const nn::Dropout& d) const {
    check(d.p >= 0 && d.p <= 1, "p must lie in 0..1, got " + std::to_string(d.p));
    fits("p", d.p);
    check(d.p == 1 || static_cast<float>(d.p) < 1, "p must be 1, or below 1 as a float, too");
    return in_[0];
  }

  Shape operator()(const FlattenNode&) const { return {in_[0][0], in_[0].elements() / in_[0][0]}; }

  Shape operator()(const AddNode&) const {
    if (!(in_.at(0) == in_.at(1))) fail("adds values of equal shape, got " + to_string(in_[0]) + " and " + to_string(in_[1]));
    return in_[0];
  }

  Shape operator()(const nn::Operation& o) const {
    check(o.forward && o.backward, "needs its functions forward and backward");
    check(o.inputs >= 1, "needs at least one input, got " + std::to_string(o.inputs));
    constexpr std::size_t most = 6;
    check(in_.size() + o.parameters.size() <= most, "has " + std::to_string(in_.size()) + " inputs and " +
                                                        std::to_string(o.parameters.size()) + " parameters, more than " +
                                                        std::to_string(most) + " together");
    std::set<std::string> names;
    for (const nn::Operation::Parameter& p : o.parameters) {
      check(!p.name.empty() && p.name.find_first_of("./") == std::string::npos && names.insert(p.name).second,
            "a parameter's name must not be empty, hold '.' or '/', or be used twice, got \"" + printable(p.name) + "\"");
      start(p.name.c_str(), p.init);
      check(p.init.kind <= Init::Kind::normal,
            "parameter \"" + printable(p.name) + "\" has no fan to be initialised by: constant, uniform or normal");
      check(p.shape.elements() > 0, "parameter \"" + printable(p.name) + "\" has no elements: " + to_string(p.shape));
    }
    const Shape y = o.shape ? o.shape(in_) : in_.at(0);
    check((y.rank() == 2 || y.rank() == 4) && y[0] == in_.at(0)[0] && y.elements() > 0,
          "must give (N,F) or (N,C,H,W) with the samples of its input, got " + to_string(y) + " of " + to_string(in_.at(0)));
    return y;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw Error(ErrorKind::usage, "[" + printable(path_) + "] " + message); }
  void check(bool ok, const std::string& message) const {
    if (!ok) fail(message);
  }
  void below_2_31(const char* option, int least, std::int64_t v) const {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    check(v <= most,
          std::string(option) + " must lie in " + std::to_string(least) + ".." + std::to_string(most) + ", got " + std::to_string(v));
  }
  void positive(const char* option, std::int64_t v) const {
    check(v > 0, std::string(option) + " must be positive, got " + std::to_string(v));
    below_2_31(option, 1, v);
  }
  void fits(const char* option, double v) const {
    if (fits_float(v)) return;
    std::ostringstream text;
    text << option << " must be 0 or fit a float, 1.2e-38 to 3.4e38, got " << v;
    fail(text.str());
  }
  void start(const char* option, const Init& i) const {
    check(std::isfinite(i.a) && std::isfinite(i.b),
          std::string(option) + " must be of finite numbers, got " + std::to_string(i.a) + " and " + std::to_string(i.b));
    fits(option, i.a), fits(option, i.b);
    check(i.kind <= Init::Kind::he_normal,
          std::string(option) + ": kind " + std::to_string(static_cast<int>(i.kind)) + " is no Init::Kind");
    check(i.kind != Init::Kind::uniform || i.a <= i.b,
          std::string(option) + ": uniform needs low <= high, got " + std::to_string(i.a) + " and " + std::to_string(i.b));
    const bool scaled = i.kind >= Init::Kind::xavier_uniform;
    check(!scaled || i.a >= 0, std::string(option) + ": gain must not be negative, got " + std::to_string(i.a));
  }
  template <class Norm>
  const Shape& normalised(const Norm& n) const {
    const Shape& x = in_[0];
    start("weight_init", n.weight_init), start("bias_init", n.bias_init);
    if (x.rank() != 2 && x.rank() != 4) fail("expects 2-d or 4-d input, got " + to_string(x));
    check(n.eps >= 0, "eps must not be negative, got " + std::to_string(n.eps));
    fits("eps", n.eps);
    return x;
  }
  template <class Norm>
  void running_statistics(const Norm& n) const {
    if (n.momentum) {
      check(*n.momentum >= 0 && *n.momentum <= 1, "momentum must lie in 0..1, got " + std::to_string(*n.momentum));
      fits("momentum", *n.momentum);
    }
    check(n.initial_running_var >= 0, "initial_running_var must not be negative, got " + std::to_string(n.initial_running_var));
    fits("initial_running_var", n.initial_running_var);
  }
  const Shape& image() const {
    if (in_[0].rank() != 4) fail("expects 4-d input, got " + to_string(in_[0]));
    return in_[0];
  }
  // The input, once the options that all convolutions have are checked.
  template <class Convolution>
  const Shape& convolved(const Convolution& c) const {
    const Shape& x = image();
    start("weight_init", c.weight_init), start("bias_init", c.bias_init);
    positive("out", c.out);
    positive("groups", c.groups);
    window(c.kernel, c.stride, c.dilation, c.padding);
    check(x[1] % c.groups == 0, std::to_string(x[1]) + " input channels cannot be divided into " + std::to_string(c.groups) + " groups");
    check(c.out % c.groups == 0, std::to_string(c.out) + " output channels cannot be divided into " + std::to_string(c.groups) + " groups");
    return x;
  }
  void window(Size2 kernel, Size2 stride, Size2 dilation, Size2 padding) const {
    for (std::int64_t v : {kernel.h, kernel.w}) positive("kernel", v);
    for (std::int64_t v : {stride.h, stride.w}) positive("stride", v);
    for (std::int64_t v : {dilation.h, dilation.w}) positive("dilation", v);
    for (std::int64_t v : {padding.h, padding.w}) {
      check(v >= 0, "padding must not be negative, got " + std::to_string(v));
      below_2_31("padding", 0, v);
    }
  }

  // Output size along dimension d; a window in ceil_mode must start inside the input or its left padding.
  std::int64_t sliding(const Shape& x, int d, std::int64_t kernel, std::int64_t stride, std::int64_t pad, std::int64_t dilation,
                       bool ceil_mode) const {
    const std::int64_t extent = dilation * (kernel - 1) + 1, padded = x[d] + 2 * pad;
    if (extent > padded)
      fail("kernel covers " + std::to_string(extent) + " but the padded input has only " + std::to_string(padded) +
           (d == 2 ? " rows" : " columns") + ": input " + to_string(x));
    std::int64_t out = (padded - extent + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (out - 1) * stride >= x[d] + pad) --out;
    return out;
  }

  Shape pool(Size2 kernel, Size2 stride, Size2 padding, Size2 dilation, bool ceil_mode) const {
    const Shape& x = image();
    window(kernel, stride, dilation, padding);
    check(kernel.h * kernel.w <= std::numeric_limits<std::int32_t>::max(),
          "kernel " + std::to_string(kernel.h) + "x" + std::to_string(kernel.w) + " has more than 2^31 - 1 elements");
    check(padding.h <= kernel.h / 2 && padding.w <= kernel.w / 2,
          "padding must be at most half the kernel, got padding " + std::to_string(padding.h) + "x" + std::to_string(padding.w) +
              " and kernel " + std::to_string(kernel.h) + "x" + std::to_string(kernel.w));
    return {x[0], x[1], sliding(x, 2, kernel.h, stride.h, padding.h, dilation.h, ceil_mode),
            sliding(x, 3, kernel.w, stride.w, padding.w, dilation.w, ceil_mode)};
  }

  const std::vector<Shape>& in_;
  const std::string& path_;
};

}  // namespace

Shape infer(const NodeOp& op, const std::vector<Shape>& inputs, const std::string& path) { return std::visit(Inference{inputs, path}, op); }

// ---- parameters and printed form

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
  void operator()(const nn::ConvTranspose2d& c) const {  // fan_in and fan_out as PyTorch has them: of the weight as it is stored
    const std::int64_t channels = graph[node.inputs[0]].shape[1], outs = c.out / c.groups, area = c.kernel.h * c.kernel.w;
    add("weight", {channels, outs, c.kernel.h, c.kernel.w}, c.weight_init, outs * area, channels * area, 0);
    if (c.bias) add("bias", {c.out}, c.bias_init, outs * area, channels * area, 0);
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
  void operator()(const nn::Operation& o) const {
    for (const nn::Operation::Parameter& p : o.parameters) add(p.name.c_str(), p.shape, p.init, 0, 0, 0);
  }
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
  template <class Convolution>
  static std::string convolution(const Convolution& c) {
    return "out=" + std::to_string(c.out) + " kernel=" + pair(c.kernel) + " stride=" + pair(c.stride) + " padding=" + pair(c.padding) +
           " dilation=" + pair(c.dilation) + " groups=" + std::to_string(c.groups) + (c.bias ? "" : " bias=false");
  }
  std::string operator()(const nn::Conv2d& c) const { return "conv2d " + convolution(c); }
  std::string operator()(const nn::ConvTranspose2d& c) const {
    return "conv_transpose2d " + convolution(c) + " output_padding=" + pair(c.output_padding);
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
  std::string operator()(const nn::Operation& o) const { return o.kind; }
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

void add_parameters(const Graph& graph, std::int32_t node, std::vector<ParameterInfo>& list) {
  const Node& n = graph.nodes[static_cast<std::size_t>(node)];
  std::visit(Parameters{list, graph, n, node}, n.op);
}

std::string title(const NodeOp& op) { return std::visit(Title{}, op); }

std::string single_elements(const Shape& input) { return "expects more than one spatial element, got input " + to_string(input); }

kernels::Dims dims_of(const Shape& s, int lanes) {
  return {s[0], s.rank() > 1 ? s[1] : 1, s.rank() > 2 ? s[2] : 1, s.rank() > 3 ? s[3] : 1, lanes};
}

kernels::NormShape norm_shape_of(const nn::LayerNorm&, const kernels::Dims& x) { return {x, 1, true}; }
kernels::NormShape norm_shape_of(const nn::InstanceNorm&, const kernels::Dims& x) { return {x, x.c}; }
kernels::NormShape norm_shape_of(const nn::GroupNorm& l, const kernels::Dims& x) { return {x, l.groups}; }

kernels::Window make_window(Size2 kernel, Size2 stride, Size2 padding, Size2 dilation) {
  const auto narrow = [](std::int64_t v) { return static_cast<std::int32_t>(v); };
  return {narrow(kernel.h),  narrow(kernel.w),  narrow(stride.h),   narrow(stride.w),
          narrow(padding.h), narrow(padding.w), narrow(dilation.h), narrow(dilation.w)};
}

}  // namespace norma
