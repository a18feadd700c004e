// Modules are plain values that say what a layer is. A module has no data and no base class; it is anything with
//   Value operator()(Builder&, Value) const
// It returns the Value its last layer gave, or the one it was given. Channels and input sizes are inferred. Options and defaults are
// PyTorch's. A parameter's name comes from its place in the net. nn::Sequential names its children by kind and number (conv1, bn1, relu1,
// pool1, fc1, ...) unless given names.
// All types here are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "norma/error.h"
#include "norma/export.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

class Builder;
namespace nn {
class Sequential;
}

// A node of the graph under construction. Values come from the Builder and are good with it alone.
struct NORMA_API Value {
  std::int32_t id = -1;
  std::uint32_t net = 0;  // whose: every Builder has a number of its own
};

// Initialisation of a parameter. fan_in = inputs of one output element; fan_out likewise.
struct NORMA_API Init {
  enum class Kind : std::uint8_t {
    standard,        // PyTorch's default for the layer: U(-1/sqrt(fan_in), 1/sqrt(fan_in)); gamma 1, beta 0
    constant,        // a
    uniform,         // U(a, b)
    normal,          // N(a, b^2): mean a, standard deviation b
    xavier_uniform,  // U(-s, s), s = gain sqrt(6/(fan_in + fan_out)), gain = a (Glorot and Bengio 2010)
    xavier_normal,   // standard deviation gain sqrt(2/(fan_in + fan_out))
    he_uniform,      // U(-s, s), s = gain sqrt(3/fan_in), gain = a (He et al. 2015)
    he_normal,       // standard deviation gain / sqrt(fan_in)
  };
  Kind kind = Kind::standard;
  double a = 0, b = 0;

  static constexpr Init constant(double value) { return {Kind::constant, value, 0}; }
  static constexpr Init uniform(double low, double high) { return {Kind::uniform, low, high}; }
  static constexpr Init normal(double mean, double standard_deviation) { return {Kind::normal, mean, standard_deviation}; }
  static constexpr Init xavier_uniform(double gain = 1) { return {Kind::xavier_uniform, gain, 0}; }
  static constexpr Init xavier_normal(double gain = 1) { return {Kind::xavier_normal, gain, 0}; }
  static constexpr Init he_uniform(double gain = 1.4142135623730951) { return {Kind::he_uniform, gain, 0}; }
  static constexpr Init he_normal(double gain = 1.4142135623730951) { return {Kind::he_normal, gain, 0}; }
};

// Any module, held by value. Any number of threads may call it at the same time, if its operator() only reads. A Trainer calls it anew for
// a new batch size, so what it refers to must live as long as the Trainer.
class NORMA_API Module {
 public:
  // Throws Error(usage) for an empty std::function or a null pointer.
  template <class M>
  requires(!std::is_same_v<std::remove_cvref_t<M>, Module> && std::is_invocable_r_v<Value, M&, Builder&, Value>) Module(M module) {
    // NOLINT: modules convert
    if constexpr (requires { module.kind; }) kind_ = module.kind;
    call_ = std::move(module);
    static_assert(std::is_invocable_r_v<Value, const M&, Builder&, Value>,
                  "a module's operator() must be const: Value operator()(Builder&, Value) const");
    if (!call_) refuse_empty();
  }

  // Throws Error(usage) naming the module if it returns no Value of the Builder or was moved from. Modules may call each other at most 200
  // deep, which also stops one that calls itself. Each level takes stack, and a thread may have little.
  Value operator()(Builder& b, Value x) const;
  // Stem of the name a Sequential gives it.
  const std::string& kind() const { return kind_; }

 private:
  friend class nn::Sequential;
  [[noreturn]] static void refuse_empty();

  std::function<Value(Builder&, Value)> call_;
  std::string kind_ = "module";
};

namespace nn {

// (N,C,H,W) -> (N,out,H',W'), H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
// parameters: weight (out, C/groups, kernel.h, kernel.w), bias (out)
struct NORMA_API Conv2d {
  static constexpr const char* kind = "conv";
  std::int64_t out = 0;
  Size2 kernel = 1, stride = 1, padding = 0, dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
  Init weight_init{}, bias_init{};
  Value operator()(Builder& b, Value x) const;
};

// The adjoint of a convolution, as a layer: (N,C,H,W) -> (N,out,H',W'),
// H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1, output_padding below stride or dilation
// parameters: weight (C, out/groups, kernel.h, kernel.w), bias (out)
struct NORMA_API ConvTranspose2d {
  static constexpr const char* kind = "convt";
  std::int64_t out = 0;
  Size2 kernel = 1, stride = 1, padding = 0, output_padding = 0, dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
  Init weight_init{}, bias_init{};
  Value operator()(Builder& b, Value x) const;
};

// (N,F) -> (N,out); parameters: weight (out, F), bias (out)
struct NORMA_API Linear {
  static constexpr const char* kind = "fc";
  std::int64_t out = 0;
  bool bias = true;
  Init weight_init{}, bias_init{};
  Value operator()(Builder& b, Value x) const;
};

// BatchNorm1d on (N,C), BatchNorm2d on (N,C,H,W) (Ioffe and Szegedy 2015). Training normalises by the batch's biased variance. It moves the
// running statistics with the unbiased one. Evaluation uses the running statistics; without them it uses the batch's. momentum is the
// weight of the new value; none: cumulative average.
// parameters: weight (C), bias (C) when affine; buffers: running_mean (C), running_var (C), num_batches_tracked ()
struct NORMA_API BatchNorm {
  static constexpr const char* kind = "bn";
  double eps = 1e-5;
  std::optional<double> momentum = 0.1;
  bool affine = true, track_running_stats = true;
  Init weight_init{}, bias_init{};
  double initial_running_var = 1;  // 0 or more
  Value operator()(Builder& b, Value x) const;
};

// Each sample is normalised by its own mean and biased variance over all its elements, in training and evaluation alike: (N,F), or
// (N,C,H,W) with PyTorch's normalized_shape = (C,H,W) (Ba, Kiros and Hinton 2016).
// parameters, of a sample's shape: weight when elementwise_affine, bias when that and bias
struct NORMA_API LayerNorm {
  static constexpr const char* kind = "ln";
  double eps = 1e-5;
  bool elementwise_affine = true, bias = true;
  Init weight_init{}, bias_init{};
  Value operator()(Builder& b, Value x) const;
};

// InstanceNorm2d on (N,C,H,W): normalises each channel of each sample alone (Ulyanov, Vedaldi and Lempitsky 2016). A channel has at least
// two elements. With running statistics, training moves them as BatchNorm does, by the batch's averages of the samples' means and unbiased
// variances. Evaluation then normalises by them. PyTorch counts no batches here, so there is no cumulative average.
// parameters: weight (C), bias (C) when affine; buffers as BatchNorm's
struct NORMA_API InstanceNorm {
  static constexpr const char* kind = "in";
  double eps = 1e-5;
  std::optional<double> momentum = 0.1;
  bool affine = false, track_running_stats = false;
  Init weight_init{}, bias_init{};
  double initial_running_var = 1;  // 0 or more
  Value operator()(Builder& b, Value x) const;
};

// The channels of each sample in `groups` equal, neighbouring groups, each by itself (Wu and He 2018): (N,C) or (N,C,H,W).
// parameters: weight (C), bias (C) when affine
struct NORMA_API GroupNorm {
  static constexpr const char* kind = "gn";
  std::int64_t groups = 0;  // must divide C
  double eps = 1e-5;
  bool affine = true;
  Init weight_init{}, bias_init{};
  Value operator()(Builder& b, Value x) const;
};

// (N,C,H,W) -> (N,C,H',W'); stride defaults to kernel; padding at most half the kernel
struct NORMA_API MaxPool2d {
  static constexpr const char* kind = "pool";
  Size2 kernel = 2;
  std::optional<Size2> stride{};
  Size2 padding = 0, dilation = 1;
  bool ceil_mode = false;
  Value operator()(Builder& b, Value x) const;
};

struct NORMA_API AvgPool2d {
  static constexpr const char* kind = "pool";
  Size2 kernel = 2;
  std::optional<Size2> stride{};
  Size2 padding = 0;
  bool ceil_mode = false, count_include_pad = true;
  Value operator()(Builder& b, Value x) const;
};

// (N,C,H,W) -> (N,C,1,1): the mean of every channel
struct NORMA_API GlobalAvgPool2d {
  static constexpr const char* kind = "pool";
  Value operator()(Builder& b, Value x) const;
};

// Any activation of norma/activation.h, chosen at run time.
struct NORMA_API Activate {
  Activation act = Activation::relu;
  double option = traits(act).standard;  // negative_slope, alpha: as the activation's row says
  const char* kind = name_of(act);
  Value operator()(Builder& b, Value x) const;
};

// max(0, x)
struct NORMA_API ReLU {
  static constexpr const char* kind = "relu";
  Value operator()(Builder& b, Value x) const { return Activate{Activation::relu}(b, x); }
};

// 1 / (1 + exp(-x))
struct NORMA_API Sigmoid {
  static constexpr const char* kind = "sigmoid";
  Value operator()(Builder& b, Value x) const { return Activate{Activation::sigmoid}(b, x); }
};

struct NORMA_API Tanh {
  static constexpr const char* kind = "tanh";
  Value operator()(Builder& b, Value x) const { return Activate{Activation::tanh}(b, x); }
};

// x Phi(x), with the share Phi(x) of the standard normal distribution below x (Hendrycks and Gimpel 2016). Approximate::tanh:
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), PyTorch's approximate="tanh".
struct NORMA_API GELU {
  static constexpr const char* kind = "gelu";
  enum class Approximate : std::uint8_t { none, tanh };
  Approximate approximate = Approximate::none;
  Value operator()(Builder& b, Value x) const {
    return Activate{approximate == Approximate::tanh ? Activation::gelu_tanh : Activation::gelu}(b, x);
  }
};

// x sigmoid(x), also called swish (Elfwing, Uchibe and Doya 2017)
struct NORMA_API SiLU {
  static constexpr const char* kind = "silu";
  Value operator()(Builder& b, Value x) const { return Activate{Activation::silu}(b, x); }
};

// x where x > 0, else negative_slope x
struct NORMA_API LeakyReLU {
  static constexpr const char* kind = "leaky_relu";
  double negative_slope = 0.01;
  Value operator()(Builder& b, Value x) const { return Activate{Activation::leaky_relu, negative_slope}(b, x); }
};

// x where x > 0, else alpha (exp(x) - 1) (Clevert, Unterthiner and Hochreiter 2015)
struct NORMA_API ELU {
  static constexpr const char* kind = "elu";
  double alpha = 1;
  Value operator()(Builder& b, Value x) const { return Activate{Activation::elu, alpha}(b, x); }
};

// Training: each element is 0 with probability p, else divided by 1-p. Evaluation: the identity.
struct NORMA_API Dropout {
  static constexpr const char* kind = "dropout";
  double p = 0.5;
  Value operator()(Builder& b, Value x) const;
};

// (N,C,H,W) -> (N, C*H*W); (N,F) stays
struct NORMA_API Flatten {
  static constexpr const char* kind = "flatten";
  Value operator()(Builder& b, Value x) const;
};

// An operation of one's own. Its functions run on the CPU, on one thread, and see floats in NCHW order, without padding; on a GPU values
// travel there and back. What they throw leaves the step undone. check_gradients (norma/gradient_check.h) tests them.
// Several threads call them at the same time where several predict with one Predictor. All that they refer to must outlive whatever
// runs the net.
struct NORMA_API Operation {
  struct Parameter {
    std::string name;  // "slope"; of the operation "act": "act.slope"
    Shape shape{};
    Init init = Init::constant(0);
  };
  struct ForwardValues {
    std::vector<std::span<const float>> inputs, parameters;
    std::span<float> output;  // 0 before
  };
  struct BackwardValues {
    std::vector<std::span<const float>> inputs, parameters;
    std::span<const float> output, output_gradient;
    std::vector<std::span<float>> input_gradients, parameter_gradients;  // to be filled, 0 before; one that nobody needs is empty
  };

  std::string kind = "operation";                       // stem of the name a Sequential gives it
  std::function<void(const ForwardValues&)> forward{};  // the same in training and evaluation
  std::function<void(const BackwardValues&)> backward{};
  std::function<Shape(const std::vector<Shape>&)> shape{};  // of the output, from those of the inputs, batch included; none: the first's
  std::vector<Parameter> parameters{};                      // inputs and parameters: 6 at most
  std::int64_t inputs = 1;
  Value operator()(Builder& b, Value x) const;
  Value operator()(Builder& b, const std::vector<Value>& x) const;
};

// Children one after another. Their names are part of the parameters' and must differ. A Sequential in braces by itself, Sequential{other},
// is a copy; append, or a name, makes it a child.
class NORMA_API Sequential {
 public:
  static constexpr const char* kind = "sequential";

  struct Child {
    template <class M>
    requires std::is_constructible_v<Module, M> Child(M m) : module(std::move(m)) {}  // NOLINT: modules convert
    Child(std::string n, Module m) : name(std::move(n)), module(std::move(m)) {}
    std::string name;  // empty: by kind and number
    Module module;
  };

  Sequential() = default;
  Sequential(std::initializer_list<Child> children);
  Sequential& append(Child child) {
    children_.push_back(std::move(child));
    return *this;
  }
  Value operator()(Builder& b, Value x) const;

 private:
  std::vector<Child> children_;
};

// x + body(x), the shapes equal; with a projection, projection(x) + body(x)
struct NORMA_API Residual {
  static constexpr const char* kind = "residual";
  Module body;
  std::optional<Module> projection{};
  Value operator()(Builder& b, Value x) const;
};

}  // namespace nn

// ---- nodes: what a module becomes in a graph. A layer stands for itself, where nothing can be folded into it.

struct NORMA_API InputNode {};
struct NORMA_API FlattenNode {};
struct NORMA_API AddNode {};
struct NORMA_API ActivationNode {
  Activation act = Activation::relu;
  double option = traits(act).standard;
};
// A BatchNorm; fuse folds in what follows it: an addition, whose other term becomes a second input, the activation, the max pooling.
struct NORMA_API BatchNormNode {
  nn::BatchNorm options{};
  bool residual = false;
  Activation act = Activation::none;
  std::optional<nn::MaxPool2d> pool{};
};
using NodeOp = std::variant<InputNode, nn::Conv2d, nn::ConvTranspose2d, nn::Linear, BatchNormNode, nn::LayerNorm, nn::InstanceNorm,
                            nn::GroupNorm, nn::MaxPool2d, nn::AvgPool2d, ActivationNode, nn::Dropout, FlattenNode, AddNode, nn::Operation>;

}  // namespace norma
