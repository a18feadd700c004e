// Shape inference and the checks of every option, with PyTorch's rules.
#include "src/net/shape_inference.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "norma/error.h"
#include "norma/text.h"
#include "norma/types.h"

namespace norma {
namespace {

// Rules of one node; every message begins with its path.
class Inference {
 public:
  Inference(const std::vector<Shape>& inputs, const std::string& path) : in_(inputs), path_(path) {}

  Shape operator()(const InputNode&) const { return in_.at(0); }

  Shape operator()(const nn::Conv2d& c) const {
    const Shape& x = image();
    start("weight_init", c.weight_init), start("bias_init", c.bias_init);
    positive("out", c.out);
    positive("groups", c.groups);
    window(c.kernel, c.stride, c.dilation, c.padding);
    check(x[1] % c.groups == 0, std::to_string(x[1]) + " input channels cannot be divided into " + std::to_string(c.groups) + " groups");
    check(c.out % c.groups == 0, std::to_string(c.out) + " output channels cannot be divided into " + std::to_string(c.groups) + " groups");
    return {x[0], c.out, sliding(x, 2, c.kernel.h, c.stride.h, c.padding.h, c.dilation.h, false),
            sliding(x, 3, c.kernel.w, c.stride.w, c.padding.w, c.dilation.w, false)};
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

kernels::Window make_window(Size2 kernel, Size2 stride, Size2 padding, Size2 dilation) {
  const auto narrow = [](std::int64_t v) { return static_cast<std::int32_t>(v); };
  return {narrow(kernel.h),  narrow(kernel.w),  narrow(stride.h),   narrow(stride.w),
          narrow(padding.h), narrow(padding.w), narrow(dilation.h), narrow(dilation.w)};
}

}  // namespace

Shape infer(const NodeOp& op, const std::vector<Shape>& inputs, const std::string& path) { return std::visit(Inference{inputs, path}, op); }

double parameter_elements(const NodeOp& op, const Shape& x) {
  const auto d = [&](int i) { return static_cast<double>(x[i]); };
  if (const auto* c = std::get_if<nn::Conv2d>(&op))
    return static_cast<double>(c->out) *
           (d(1) / static_cast<double>(c->groups) * static_cast<double>(c->kernel.h) * static_cast<double>(c->kernel.w) + 1);
  if (const auto* l = std::get_if<nn::Linear>(&op)) return static_cast<double>(l->out) * (d(1) + 1);
  return 4 * d(1) * d(2) * d(3);  // of a norm at most
}

double multiply_adds(const NodeOp& op, const Shape& x, const Shape& y) {
  const double of_one = std::holds_alternative<nn::Conv2d>(op) || std::holds_alternative<nn::Linear>(op)
                            ? parameter_elements(op, x) / static_cast<double>(y[1])
                            : 1;
  double outputs = 1;
  for (const std::int64_t n : y) outputs *= static_cast<double>(n);
  return of_one * outputs;
}

std::string single_elements(const Shape& input) { return "expects more than one spatial element, got input " + to_string(input); }

kernels::Dims dims_of(const Shape& s, int lanes) {
  return {s[0], s.rank() > 1 ? s[1] : 1, s.rank() > 2 ? s[2] : 1, s.rank() > 3 ? s[3] : 1, lanes};
}

kernels::NormShape norm_shape_of(const nn::LayerNorm&, const kernels::Dims& x) { return {x, 1, true}; }
kernels::NormShape norm_shape_of(const nn::InstanceNorm&, const kernels::Dims& x) { return {x, x.c}; }
kernels::NormShape norm_shape_of(const nn::GroupNorm& l, const kernels::Dims& x) { return {x, l.groups}; }

kernels::Window window_of(const nn::Conv2d& c) { return make_window(c.kernel, c.stride, c.padding, c.dilation); }
kernels::Window window_of(const nn::MaxPool2d& p) { return make_window(p.kernel, p.stride.value_or(p.kernel), p.padding, p.dilation); }
kernels::Window window_of(const nn::AvgPool2d& p) { return make_window(p.kernel, p.stride.value_or(p.kernel), p.padding, 1); }

}  // namespace norma
