// Options are PyTorch's here and ONNX's there. Where the two differ the operators are composed of others.
#include "src/onnx/layer_writer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "norma/error.h"
#include "norma/text.h"

namespace norma {
namespace {

std::vector<std::int64_t> both(Size2 s) { return {s.h, s.w}; }

class LayerWriter {
 public:
  LayerWriter(GraphWriter& out, const LayerToWrite& layer, const Checkpoint& model)
      : out_(out), layer_(layer), path_(layer.node.path), model_(model) {}

  void operator()(const InputNode&) const { refuse("is a second input: an ONNX model of norma has one"); }
  void operator()(const nn::Conv2d& c) const { last("Conv", with_bias(c.bias, {x(), parameter("weight")}), convolution(c, c.padding)); }

  void operator()(const nn::ConvTranspose2d& c) const {
    const Size2 &more = c.output_padding, &p = c.padding;
    if (more.h < c.stride.h && more.w < c.stride.w) {
      std::vector<OnnxAttribute> attributes = convolution(c, p);
      attributes.push_back({"output_padding", both(more)});
      return last("ConvTranspose", with_bias(c.bias, {x(), parameter("weight")}), attributes);
    }
    // ONNX Runtime takes no output_padding as large as the stride. Less padding at the end gives the same, then rows of nothing but bias.
    const Size2 beyond(std::max<std::int64_t>(0, more.h - p.h), std::max<std::int64_t>(0, more.w - p.w));
    std::string y =
        step("ConvTranspose", {x(), parameter("weight")}, convolution(c, p, {p.h - more.h + beyond.h, p.w - more.w + beyond.w}));
    const std::vector<std::string> ends{y, integers("pads", {0, 0, 0, 0, 0, 0, beyond.h, beyond.w})};
    if (!c.bias) return last("Pad", ends);
    last("Add", {step("Pad", ends), step("Reshape", {parameter("bias"), integers("per_channel", {c.out, 1, 1})})});
  }

  void operator()(const nn::Linear& l) const { last("Gemm", with_bias(l.bias, {x(), parameter("weight")}), {{"transB", std::int64_t{1}}}); }

  void operator()(const BatchNormNode& n) const {
    if (!n.options.track_running_stats)
      refuse("has no running statistics: it normalises by the samples that happen to come together, so no sample has an output of its own");
    by_running_statistics(n.options);
  }

  void operator()(const nn::InstanceNorm& n) const {
    if (n.track_running_stats) return by_running_statistics(n);
    last("InstanceNormalization", {x(), scale(n.affine, {channels()}), shift(n.affine, {channels()})}, {epsilon(n.eps)});
  }

  void operator()(const nn::LayerNorm& n) const {
    const Shape& s = layer_.node.shape;
    const std::vector<std::int64_t> sample(s.begin() + 1, s.end());
    last("LayerNormalization", with_bias(n.elementwise_affine && n.bias, {x(), scale(n.elementwise_affine, sample)}),
         {{"axis", std::int64_t{1}}, epsilon(n.eps)});
  }

  // Opset 17 has no group norm: an instance norm of as many channels as there are groups.
  void operator()(const nn::GroupNorm& n) const {
    const Shape& s = layer_.node.shape;
    std::vector<std::int64_t> back{0}, per_channel;  // 0: the batch, as it is
    for (int i = 1; i < s.rank(); ++i) back.push_back(s[i]), per_channel.push_back(i == 1 ? s[1] : 1);
    const std::string grouped = step("Reshape", {x(), integers("grouped", {0, n.groups, s.with_batch(1).elements() / n.groups})});
    const std::string normalised =
        step("InstanceNormalization", {grouped, scale(false, {n.groups}), shift(false, {n.groups})}, {epsilon(n.eps)});
    const std::vector<std::string> flat{normalised, integers("shape", back)};
    if (!n.affine) return last("Reshape", flat);
    const std::string whole = step("Reshape", flat), shape = integers("per_channel", per_channel);
    const std::string scaled = step("Mul", {whole, step("Reshape", {parameter("weight"), shape})});
    last("Add", {scaled, step("Reshape", {parameter("bias"), shape})});
  }

  void operator()(const nn::MaxPool2d& p) const {
    Ends ends = ends_of(p, p.dilation);
    std::string from = x();
    // ONNX Runtime takes no padding as large as the kernel, which windows with gaps may have beyond the last row.
    if (p.padding.h + ends.overhang.h >= p.kernel.h || p.padding.w + ends.overhang.w >= p.kernel.w) {
      from = padded(ends, -std::numeric_limits<double>::infinity());
      ends = {0, 0};
    }
    last("MaxPool", {from}, window(p.kernel, p.stride, ends, {{"dilations", both(p.dilation)}}));
  }

  // Positions beyond the padding are never counted, those in the padding where count_include_pad says so.
  void operator()(const nn::AvgPool2d& p) const {
    Ends ends = ends_of(p, 1);
    std::string from = x();
    const bool overhangs = !(ends.overhang == Size2(0));
    if (p.count_include_pad && overhangs && !(p.padding == Size2(0))) {
      from = padded({p.padding, 0}, 0);
      ends.padding = 0;
    }
    last("AveragePool", {from}, window(p.kernel, p.stride, ends, {{"count_include_pad", std::int64_t{p.count_include_pad && !overhangs}}}));
  }

  void operator()(const ActivationNode& a) const {
    const auto option = static_cast<float>(a.option);
    switch (a.act) {
      case Activation::none: return last("Identity", {x()});
      case Activation::relu: return last("Relu", {x()});
      case Activation::sigmoid: return last("Sigmoid", {x()});
      case Activation::tanh: return last("Tanh", {x()});
      case Activation::leaky_relu: return last("LeakyRelu", {x()}, {{"alpha", option}});
      case Activation::elu: return last("Elu", {x()}, {{"alpha", option}});
      case Activation::silu: return last("Mul", {x(), step("Sigmoid", {x()})});
      case Activation::gelu: {  // x/2 (1 + erf(x / sqrt 2))
        const std::string error = step("Erf", {step("Div", {x(), number("root_of_2", std::numbers::sqrt2)})});
        const std::string twice = step("Mul", {x(), step("Add", {error, number("one", 1)})});
        return last("Mul", {twice, number("half", 0.5)});
      }
      case Activation::gelu_tanh: {  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
        const std::string cube = step("Mul", {step("Mul", {x(), x()}), x()});
        const std::string inner = step("Add", {x(), step("Mul", {cube, number("of_cube", 0.044715)})});
        const std::string slope = number("slope", std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
        const std::string tanh = step("Tanh", {step("Mul", {inner, slope})});
        const std::string twice = step("Mul", {x(), step("Add", {tanh, number("one", 1)})});
        return last("Mul", {twice, number("half", 0.5)});
      }
    }
  }

  void operator()(const nn::Dropout&) const { last("Identity", {x()}); }
  void operator()(const FlattenNode&) const { last("Flatten", {x()}, {{"axis", std::int64_t{1}}}); }
  void operator()(const AddNode&) const { last("Add", layer_.inputs); }
  void operator()(const nn::Operation&) const {
    refuse("is an nn::Operation, a function of the program's own: ONNX has no operator for it");
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const { throw Error(ErrorKind::usage, "[" + printable(path_) + "] " + why); }

  const std::string& x() const { return layer_.inputs.at(0); }
  std::int64_t channels() const { return layer_.node.shape[1]; }
  const std::string& parameter(const char* what) const { return out_.parameter(parameter_name(path_, what)); }
  std::string constant_name(const char* what) const { return parameter_name(path_, what); }
  std::string number(const char* what, double value) const { return out_.filled(constant_name(what), {}, static_cast<float>(value)); }
  std::string integers(const char* what, const std::vector<std::int64_t>& values) const {
    return out_.integers(constant_name(what), values);
  }
  std::string scale(bool affine, const std::vector<std::int64_t>& shape) const {
    return affine ? parameter("weight") : out_.filled(constant_name("ones"), shape, 1);
  }
  std::string shift(bool affine, const std::vector<std::int64_t>& shape) const {
    return affine ? parameter("bias") : out_.filled(constant_name("zeros"), shape, 0);
  }
  static OnnxAttribute epsilon(double eps) { return {"epsilon", static_cast<float>(eps)}; }

  // The operator that gives the layer's output, and one before it.
  void last(const char* op, const std::vector<std::string>& inputs, const std::vector<OnnxAttribute>& attributes = {}) const {
    out_.node(op, layer_.name, inputs, layer_.output, attributes);
  }
  std::string step(const char* op, const std::vector<std::string>& inputs, const std::vector<OnnxAttribute>& attributes = {}) const {
    std::string name = out_.claim(path_ + "/" + op);
    out_.node(op, name, inputs, name, attributes);
    return name;
  }

  std::vector<std::string> with_bias(bool bias, std::vector<std::string> inputs) const {
    if (bias) inputs.push_back(parameter("bias"));
    return inputs;
  }

  template <class Convolution>
  static std::vector<OnnxAttribute> convolution(const Convolution& c, Size2 begin, Size2 end) {
    return {{"dilations", both(c.dilation)},
            {"group", c.groups},
            {"kernel_shape", both(c.kernel)},
            {"pads", std::vector<std::int64_t>{begin.h, begin.w, end.h, end.w}},
            {"strides", both(c.stride)}};
  }
  template <class Convolution>
  static std::vector<OnnxAttribute> convolution(const Convolution& c, Size2 padding) {
    return convolution(c, padding, padding);
  }

  template <class Norm>
  void by_running_statistics(const Norm& n) const {
    const std::vector<float> variance = model_.find(parameter_name(path_, "running_var"))->floats();
    const auto zero = std::ranges::find_if(variance, [&](float v) { return v + static_cast<float>(n.eps) == 0; });
    if (zero != variance.end())
      refuse("has eps 0 and running_var 0 at element " + std::to_string(zero - variance.begin()) +
             ": ONNX divides by zero there, where norma gives the bias; fold_batch_norms takes it out");
    last("BatchNormalization",
         {x(), scale(n.affine, {channels()}), shift(n.affine, {channels()}), parameter("running_mean"), parameter("running_var")},
         {epsilon(n.eps)});
  }

  // ---- pooling

  // Windows need this beyond the input: padding on every side, and positions after the last row and column of that.
  struct Ends {
    Size2 padding, overhang;
  };

  // Every window of PyTorch's, with ceil_mode or without, and no other: ONNX's own ceil_mode has one more where it begins in the padding.
  template <class Pool>
  Ends ends_of(const Pool& p, Size2 dilation) const {
    const Size2 stride = p.stride.value_or(p.kernel);
    const Shape& y = layer_.node.shape;
    const auto overhang = [&](int d, std::int64_t kernel, std::int64_t step_size, std::int64_t padding, std::int64_t gap) {
      const std::int64_t end = (y[d] - 1) * step_size + gap * (kernel - 1) + 1;
      return std::max<std::int64_t>(0, end - layer_.x[d] - 2 * padding);
    };
    return {p.padding,
            Size2(overhang(2, p.kernel.h, stride.h, p.padding.h, dilation.h), overhang(3, p.kernel.w, stride.w, p.padding.w, dilation.w))};
  }

  // The input with these ends, filled with a value.
  std::string padded(const Ends& ends, double value) const {
    const Size2 &p = ends.padding, &o = ends.overhang;
    const std::string pads = integers("pads", {0, 0, p.h, p.w, 0, 0, p.h + o.h, p.w + o.w});
    return step("Pad", {x(), pads, number("padding", value)}, {{"mode", std::string("constant")}});
  }

  static std::vector<OnnxAttribute> window(Size2 kernel, const std::optional<Size2>& stride, const Ends& ends,
                                           std::vector<OnnxAttribute> attributes) {
    const Size2 &p = ends.padding, &o = ends.overhang;
    const std::vector<std::int64_t> pads{p.h, p.w, p.h + o.h, p.w + o.w};
    attributes.insert(attributes.end(), {{"kernel_shape", both(kernel)}, {"pads", pads}, {"strides", both(stride.value_or(kernel))}});
    return attributes;
  }

  GraphWriter& out_;
  const LayerToWrite& layer_;
  const std::string& path_;
  const Checkpoint& model_;
};

}  // namespace

void write_layer(GraphWriter& out, const LayerToWrite& layer, const Checkpoint& model) {
  std::visit(LayerWriter{out, layer, model}, layer.node.op);
}

}  // namespace norma
