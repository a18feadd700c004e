#include "src/lower.h"

#include <algorithm>

#include "norma/error.h"
#include "src/infer.h"

namespace norma {
namespace {

using namespace kernels;

// A convolution's weight gradient is cut into parts of this many groups of samples, for more parallel work than its weights give;
// at most so many parts, and partial sums of at most so many floats. LeNet's at batch 256: 4 parts as fast as 1, 16 slower.
constexpr std::int64_t groups_per_weight_chunk = 4, max_weight_chunks = 16, max_partial_elements = std::int64_t{1} << 21;

class Lowering {
 public:
  Lowering(const Graph& graph, const LowerOptions& options)
      : graph_(graph), options_(options), value_(graph.nodes.size()), gradient_(graph.nodes.size()), saved_(graph.nodes.size()) {
    if (graph.outputs.size() != 1)
      throw Error(ErrorKind::usage, "a net has one output, this one has " + std::to_string(graph.outputs.size()));
    plan_.mode = options.mode;
  }

  Plan run() {
    find_live_nodes();
    add_persistent_values();
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (live_[i]) forward(i);
    name("y", output());
    ValueId loss;
    if (options_.loss) loss = lower_loss();
    if (options_.backward) {
      if (!options_.loss) set_gradient(output_index(), activation("dy", dims(output_index()), node_shape(output_index())));
      for (std::size_t i = graph_.nodes.size(); i-- > 0;)
        if (live_[i] && needs_gradient_[i] && gradient_[i]) backward(i);
      name_input_gradients();
    }
    update(loss);
    assign(plan_, options_.assign);
    return std::move(plan_);
  }

 private:
  struct Saved {  // what a node's forward keeps for its backward
    ValueId argmax, mean, var, rstd;
    DType index_type = DType::u8;
    std::int64_t dropout = 0;  // which of the net's dropouts: keys its mask, and is the same with fuse on and off
  };
  struct Parameter {
    ValueId value, gradient;
  };

  // ------------------------------------------------------------------------------------------ the value table

  ValueId add_value(PlanValue v) {
    const ValueId id{static_cast<std::int32_t>(plan_.values.size())};
    plan_.names.emplace(v.name, id);
    plan_.values.push_back(std::move(v));
    return id;
  }
  void name(const std::string& text, ValueId id) { plan_.names.emplace(text, id); }

  ValueId activation(const std::string& text, const Dims& d, const Shape& shape, DType type = DType::f32) {
    return add_value(
        {.name = text, .dtype = type, .shape = shape, .dims = d, .bytes = static_cast<std::size_t>(d.stored()) * size_of(type)});
  }
  ValueId flat(const std::string& text, std::int64_t elements, DType type, Region region = Region::activations) {
    return add_value({.name = text,
                      .dtype = type,
                      .shape = Shape{elements},
                      .region = region,
                      .bytes = static_cast<std::size_t>(elements) * size_of(type)});
  }
  ValueId data(const std::string& text, DType type, const Shape& shape) {
    return add_value({.name = "data/" + text, .dtype = type, .shape = shape, .region = Region::data});
  }
  ValueId whole(const std::string& text, Region region, std::size_t bytes) {
    return add_value({.name = text,
                      .dtype = DType::f32,
                      .shape = Shape{static_cast<std::int64_t>(bytes / 4)},
                      .region = region,
                      .bytes = bytes,
                      .whole = true});
  }

  void find_live_nodes() {
    live_.assign(graph_.nodes.size(), false);
    needs_gradient_.assign(graph_.nodes.size(), false);
    live_[output_index()] = true;
    for (std::size_t i = graph_.nodes.size(); i-- > 0;)
      if (live_[i])
        for (Value v : graph_.nodes[i].inputs) live_[index(v)] = true;
    std::vector<bool> trained(graph_.nodes.size(), false);
    for (const ParameterInfo& p : graph_.parameters())
      if (!p.buffer) trained[static_cast<std::size_t>(p.node)] = true;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& n = graph_.nodes[i];
      needs_gradient_[i] = trained[i] || (std::holds_alternative<InputNode>(n.op) && options_.input_gradients);
      for (Value v : n.inputs) needs_gradient_[i] = needs_gradient_[i] || needs_gradient_[index(v)];
    }
  }

  // The same table order in every Plan of a net, so that all of them agree where a parameter is.
  void add_persistent_values() {
    state_ = add_value(
        {.name = "state", .dtype = DType::bytes, .shape = Shape{sizeof(StepState)}, .region = Region::state, .bytes = sizeof(StepState)});
    std::size_t bytes = 0;
    for (const ParameterInfo& p : graph_.parameters()) {
      const std::size_t size = static_cast<std::size_t>(p.shape.elements()) * size_of(p.dtype);
      Parameter& parameter = parameters_[p.name];
      if (parameter.value) throw Error(ErrorKind::usage, "two parameters are called " + p.name);
      parameter.value = add_value(
          {.name = p.name, .dtype = p.dtype, .shape = p.shape, .region = p.buffer ? Region::buffers : Region::parameters, .bytes = size});
      if (p.buffer) continue;
      bytes += ceil_div(size, alignment) * alignment;
      if (options_.backward)
        parameter.gradient =
            add_value({.name = p.name + ".grad", .dtype = DType::f32, .shape = p.shape, .region = Region::gradients, .bytes = size});
    }
    all_parameters_ = bytes;
  }

  static std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }
  static std::size_t index(Value v) { return static_cast<std::size_t>(v.id); }
  std::size_t output_index() const { return index(graph_.outputs[0]); }
  ValueId output() const { return value_[output_index()]; }
  const Shape& node_shape(std::size_t i) const { return graph_.nodes[i].shape; }
  Dims dims(std::size_t i) const { return dims_of(node_shape(i), options_.lanes); }
  const Node& node(std::size_t i) const { return graph_.nodes[i]; }
  std::size_t input(std::size_t i, std::size_t k = 0) const { return index(node(i).inputs[k]); }
  ValueId x(std::size_t i, std::size_t k = 0) const { return value_[input(i, k)]; }
  bool training() const { return options_.mode == Mode::train; }

  std::string parameter_name(std::size_t i, const char* what) const {
    std::string text = node(i).path;
    std::replace(text.begin(), text.end(), '/', '.');
    return text + "." + what;
  }
  Parameter parameter(std::size_t i, const char* what) const {
    const auto it = parameters_.find(parameter_name(i, what));
    return it == parameters_.end() ? Parameter{} : it->second;
  }

  void emit(std::size_t i, Call call) { plan_.calls.push_back({std::move(call), node(i).path}); }
  void emit(const char* path, Call call) { plan_.calls.push_back({std::move(call), path}); }

  ConvShape conv_shape(std::size_t i, const nn::Conv2d& c) const { return {dims(input(i)), dims(i), window_of(c), c.groups}; }
  template <class Pool>
  PoolShape pool_shape(std::size_t i, const Pool& p) const {
    return {dims(input(i)), dims(i), window_of(p)};
  }

  // ------------------------------------------------------------------------------------------ forward

  void forward(std::size_t i) {
    std::visit([&](const auto& op) { forward(i, op); }, node(i).op);
    name(node(i).path, value_[i]);
    name(node(i).output_path, value_[i]);
  }

  ValueId make_output(std::size_t i) { return value_[i] = activation(node(i).output_path, dims(i), node_shape(i)); }

  void forward(std::size_t i, const InputNode&) {
    const ValueId y = make_output(i);
    if (!options_.data) return;
    const InputData& d = *options_.data;
    const Shape stored = d.sample.prepend(node_shape(i)[0]), wanted = transformed(d.sample, d.resize).prepend(node_shape(i)[0]);
    if (!(wanted == node_shape(i)))
      throw Error(ErrorKind::usage, "the net's input is " + to_string(node_shape(i)) + " but the data give " + to_string(wanted));
    Gather g{.y = y, .state = state_, .dims = dims_of(stored, options_.lanes), .source_type = d.type};
    g.source = data("samples", d.type, d.sample);
    g.order = data("order", DType::i32, {});
    g.scale = data("scale", DType::f32, {g.dims.c});
    g.offset = data("offset", DType::f32, {g.dims.c});
    if (options_.loss && std::holds_alternative<MeanSquared>(*options_.loss)) {
      g.target_dims = dims(output_index());
      g.targets = data("targets", DType::f32, {g.target_dims.features()});
      g.targets_out = targets_ = activation("targets", g.target_dims, node_shape(output_index()));
    }
    g.labels = data("labels", DType::i32, {});
    g.labels_out = labels_ = flat("labels", g.dims.n, DType::i32);
    if (d.resize) {
      g.y = activation("samples", g.dims, stored);
      emit("data", g);
      emit("data", Resize{.y = y, .x = g.y, .y_dims = dims(i), .x_dims = g.dims});
    } else {
      emit("data", g);
    }
  }

  void forward(std::size_t i, const nn::Conv2d& c) {
    emit(
        i,
        Conv2dForward{
            .y = make_output(i), .x = x(i), .w = parameter(i, "weight").value, .b = parameter(i, "bias").value, .shape = conv_shape(i, c)});
  }

  void forward(std::size_t i, const nn::Linear&) {
    emit(i, LinearForward{.y = make_output(i),
                          .x = x(i),
                          .w = parameter(i, "weight").value,
                          .b = parameter(i, "bias").value,
                          .x_dims = dims(input(i)),
                          .y_dims = dims(i)});
  }

  void forward(std::size_t i, const BatchNormNode& n) {
    const Dims d = dims(i);
    const std::string& path = node(i).path;
    Saved& s = saved_[i];
    const bool batch_statistics = training() || !n.options.track_running_stats;
    if (batch_statistics) {
      if (training() && d.n * d.plane() == 1)
        throw Error(ErrorKind::usage, "[" + path + "] expects more than one value per channel when training, got input " +
                                          to_string(node_shape(i)) +
                                          "; a batch needs at least two samples: change the batch size or drop the last batch (drop_last)");
      s.mean = flat(path + ".mean", d.c, DType::f32);
      s.var = flat(path + ".var", d.c, DType::f32);
      s.rstd = flat(path + ".rstd", d.c, DType::f32);
      BatchNormStatistics call{.mean = s.mean, .var = s.var, .rstd = s.rstd, .x = x(i), .dims = d, .eps = n.options.eps};
      call.partial = flat(path + ".statistics", call.partial_bytes(), DType::bytes);
      emit(i, call);
      if (training() && n.options.track_running_stats) updates_.push_back(i);
    } else {
      s.mean = parameter(i, "running_mean").value;
      s.rstd = flat(path + ".rstd", d.c, DType::f32);
      emit(i, BatchNormRstd{.rstd = s.rstd, .var = parameter(i, "running_var").value, .channels = d.c, .eps = n.options.eps});
    }
    emit(i, BatchNormApply{.y = make_output(i),
                           .x = x(i),
                           .mean = s.mean,
                           .rstd = s.rstd,
                           .gamma = parameter(i, "weight").value,
                           .beta = parameter(i, "bias").value,
                           .dims = d,
                           .act = n.act});
  }

  void forward(std::size_t i, const nn::MaxPool2d& p) {
    MaxPoolForward call{.y = make_output(i), .x = x(i), .shape = pool_shape(i, p)};
    Saved& s = saved_[i];
    s.index_type = call.index_type = call.shape.window.area() <= 256 ? DType::u8 : DType::i32;
    if (options_.backward && needs_gradient_[input(i)])
      s.argmax = call.argmax = activation(node(i).path + ".argmax", call.shape.y, node_shape(i), call.index_type);
    emit(i, call);
  }

  void forward(std::size_t i, const nn::AvgPool2d& p) {
    emit(i, AvgPoolForward{.y = make_output(i), .x = x(i), .shape = pool_shape(i, p), .include_pad = p.count_include_pad});
  }

  void forward(std::size_t i, const ActivationNode& a) {
    emit(i, ActivationForward{.y = make_output(i), .x = x(i), .dims = dims(i), .act = a.act});
  }

  void forward(std::size_t i, const nn::Dropout& d) {
    if (!training()) {
      value_[i] = x(i);  // the identity
      return;
    }
    saved_[i].dropout = dropouts_++;
    emit(i, Dropout{.y = make_output(i), .x = x(i), .state = state_, .dims = dims(i), .p = d.p, .layer = saved_[i].dropout});
  }

  void forward(std::size_t i, const FlattenNode&) { value_[i] = x(i); }  // [N/L][C][H][W][L] is [N/L][CHW][L]

  void forward(std::size_t i, const AddNode&) { emit(i, Add{.y = make_output(i), .a = x(i, 0), .b = x(i, 1), .dims = dims(i)}); }

  // ------------------------------------------------------------------------------------------ loss

  ValueId lower_loss() {
    const std::size_t out = output_index();
    const Dims d = dims(out);
    if (node_shape(out).rank() != 2)
      throw Error(ErrorKind::usage,
                  "the loss expects the net's output to be (N, C), got " + to_string(node_shape(out)) + "; put a Flatten at the end");
    const ValueId loss = add_value(
        {.name = "loss", .dtype = DType::bytes, .shape = Shape{sizeof(LossResult)}, .region = Region::state, .bytes = sizeof(LossResult)});
    const ValueId partial = flat("loss.partial", d.n * 8, DType::bytes);
    ValueId gradient;
    if (options_.backward) set_gradient(out, gradient = activation("dy", d, node_shape(out)));
    if (const auto* ce = std::get_if<CrossEntropy>(&*options_.loss)) {
      if (!labels_) labels_ = flat("labels", d.n, DType::i32);
      emit("loss", SoftmaxCrossEntropy{.loss = loss,
                                       .dlogits = gradient,
                                       .logits = output(),
                                       .labels = labels_,
                                       .partial = partial,
                                       .dims = d,
                                       .reduction = ce->reduction,
                                       .smoothing = ce->label_smoothing,
                                       .ignore_index = ce->ignore_index});
    } else {
      if (!targets_) targets_ = activation("targets", d, node_shape(out));
      emit("loss", MeanSquaredError{.loss = loss,
                                    .dx = gradient,
                                    .x = output(),
                                    .target = targets_,
                                    .partial = partial,
                                    .dims = d,
                                    .reduction = std::get<MeanSquared>(*options_.loss).reduction});
    }
    return loss;
  }

  // ------------------------------------------------------------------------------------------ backward

  void set_gradient(std::size_t i, ValueId g) {
    gradient_[i] = g;
    name(node(i).output_path + ".grad", g);
  }

  // g is one of the contributions to node i's gradient; contributions are added in the order they are found.
  void accumulate(std::size_t i, ValueId g) {
    if (!gradient_[i]) {
      set_gradient(i, g);
      return;
    }
    const std::string text = node(i).output_path + ".grad";
    plan_.names.erase(text);
    const ValueId sum = activation(text, dims(i), node_shape(i));
    emit(i, Add{.y = sum, .a = gradient_[i], .b = g, .dims = dims(i)});
    gradient_[i] = sum;
  }

  ValueId make_gradient(std::size_t of, std::size_t by) {
    std::string text = node(of).output_path + ".grad";
    if (gradient_[of]) text += "." + node(by).path;
    return activation(text, dims(of), node_shape(of));
  }

  void backward(std::size_t i) {
    std::visit([&](const auto& op) { backward(i, op); }, node(i).op);
  }

  void backward(std::size_t, const InputNode&) {}

  void backward(std::size_t i, const nn::Conv2d& c) {
    const ValueId dy = gradient_[i];
    Conv2dBackwardWeight weight{
        .dw = parameter(i, "weight").gradient, .db = parameter(i, "bias").gradient, .dy = dy, .x = x(i), .shape = conv_shape(i, c)};
    const std::int64_t parts =
        std::min(weight.shape.x.groups() / groups_per_weight_chunk, max_partial_elements / (weight.shape.weights() + c.out));
    weight.chunks = std::clamp<std::int64_t>(parts, 1, max_weight_chunks);
    weight.partial = flat(node(i).path + ".weight.partial", weight.partial_elements(), DType::f32);
    emit(i, weight);
    if (!needs_gradient_[input(i)]) return;
    const ValueId dx = make_gradient(input(i), i);
    emit(i, Conv2dBackwardInput{.dx = dx, .dy = dy, .w = parameter(i, "weight").value, .shape = weight.shape});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const nn::Linear&) {
    const ValueId dy = gradient_[i];
    emit(i, LinearBackwardWeight{.dw = parameter(i, "weight").gradient,
                                 .db = parameter(i, "bias").gradient,
                                 .dy = dy,
                                 .x = x(i),
                                 .x_dims = dims(input(i)),
                                 .y_dims = dims(i)});
    if (!needs_gradient_[input(i)]) return;
    const ValueId dx = make_gradient(input(i), i);
    emit(i, LinearBackwardInput{.dx = dx, .dy = dy, .w = parameter(i, "weight").value, .x_dims = dims(input(i)), .y_dims = dims(i)});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const BatchNormNode& n) {
    const Dims d = dims(i);
    const Saved& s = saved_[i];
    const bool batch_statistics = training() || !n.options.track_running_stats;
    const ValueId y = n.act == Activation::none ? ValueId{} : value_[i];
    ValueId dgamma = parameter(i, "weight").gradient, dbeta = parameter(i, "bias").gradient;
    if (!dgamma && batch_statistics) {  // not affine: the sums are still needed for dx
      dgamma = flat(node(i).path + ".dgamma", d.c, DType::f32);
      dbeta = flat(node(i).path + ".dbeta", d.c, DType::f32);
    }
    if (dgamma) {
      BatchNormBackwardReduce call{
          .dgamma = dgamma, .dbeta = dbeta, .dy = gradient_[i], .y = y, .x = x(i), .mean = s.mean, .rstd = s.rstd, .dims = d, .act = n.act};
      call.partial = flat(node(i).path + ".backward", call.partial_bytes(), DType::bytes);
      emit(i, call);
    }
    if (!needs_gradient_[input(i)]) return;
    const ValueId dx = make_gradient(input(i), i);
    emit(i, BatchNormBackwardApply{.dx = dx,
                                   .dy = gradient_[i],
                                   .y = y,
                                   .x = x(i),
                                   .mean = s.mean,
                                   .rstd = s.rstd,
                                   .gamma = parameter(i, "weight").value,
                                   .dgamma = dgamma,
                                   .dbeta = dbeta,
                                   .dims = d,
                                   .act = n.act,
                                   .batch_statistics = batch_statistics});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const nn::MaxPool2d& p) {
    if (!needs_gradient_[input(i)]) return;
    const ValueId dx = make_gradient(input(i), i);
    emit(i, MaxPoolBackward{
                .dx = dx, .dy = gradient_[i], .argmax = saved_[i].argmax, .shape = pool_shape(i, p), .index_type = saved_[i].index_type});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const nn::AvgPool2d& p) {
    const ValueId dx = make_gradient(input(i), i);
    emit(i, AvgPoolBackward{.dx = dx, .dy = gradient_[i], .shape = pool_shape(i, p), .include_pad = p.count_include_pad});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const ActivationNode& a) {
    const ValueId dx = make_gradient(input(i), i);
    emit(i, ActivationBackward{.dx = dx, .dy = gradient_[i], .y = value_[i], .dims = dims(i), .act = a.act});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const nn::Dropout& d) {
    if (!training()) {
      accumulate(input(i), gradient_[i]);
      return;
    }
    const ValueId dx = make_gradient(input(i), i);
    emit(i, Dropout{.y = dx, .x = gradient_[i], .state = state_, .dims = dims(i), .p = d.p, .layer = saved_[i].dropout});
    accumulate(input(i), dx);
  }

  void backward(std::size_t i, const FlattenNode&) { accumulate(input(i), gradient_[i]); }

  void backward(std::size_t i, const AddNode&) {
    for (std::size_t k = 0; k < 2; ++k)
      if (needs_gradient_[input(i, k)]) accumulate(input(i, k), gradient_[i]);
  }

  void name_input_gradients() {
    if (!options_.input_gradients) return;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!std::holds_alternative<InputNode>(node(i).op)) continue;
      if (!gradient_[i]) {  // the output does not depend on it
        gradient_[i] = activation("d" + node(i).path, dims(i), node_shape(i));
        emit(i, Fill{.y = gradient_[i], .n = dims(i).stored()});
      }
      name("d" + node(i).path, gradient_[i]);
    }
  }

  // ------------------------------------------------------------------------------------------ the step

  // Everything that outlives the step comes last, after the check that the step was finite.
  void update(ValueId loss) {
    const std::int64_t n = static_cast<std::int64_t>(all_parameters_ / 4);
    ValueId gradients;
    if (options_.optimizer) {
      gradients = whole("gradients", Region::gradients, all_parameters_);
      emit("optimizer", CheckFinite{.state = state_, .loss = loss, .gradients = gradients, .n = n});
    }
    for (std::size_t i : updates_) {
      const auto& bn = std::get<BatchNormNode>(node(i).op).options;
      const Dims d = dims(i);
      emit(i, BatchNormRunningUpdate{.running_mean = parameter(i, "running_mean").value,
                                     .running_var = parameter(i, "running_var").value,
                                     .tracked = parameter(i, "num_batches_tracked").value,
                                     .mean = saved_[i].mean,
                                     .var = saved_[i].var,
                                     .state = state_,
                                     .channels = d.c,
                                     .count = d.n * d.plane(),
                                     .momentum = bn.momentum.value_or(0),
                                     .cumulative = !bn.momentum});
    }
    if (options_.optimizer) {
      const ValueId w = whole("parameters", Region::parameters, all_parameters_);
      const ValueId rates = data("rates", DType::f32, {});
      if (const auto* o = std::get_if<norma::Sgd>(&*options_.optimizer)) {
        kernels::Sgd call{.w = w, .gradients = gradients, .state = state_, .rates = rates, .n = n};
        call.momentum = o->momentum;
        call.dampening = o->dampening;
        call.weight_decay = o->weight_decay;
        call.nesterov = o->nesterov;
        if (o->momentum != 0) call.velocity = flat("optimizer/velocity", n, DType::f32, Region::optimizer);
        emit("optimizer", call);
      } else {
        const auto& a = std::get<norma::Adam>(*options_.optimizer);
        kernels::Adam call{.w = w, .gradients = gradients, .state = state_, .rates = rates, .n = n};
        call.m = flat("optimizer/m", n, DType::f32, Region::optimizer);
        call.v = flat("optimizer/v", n, DType::f32, Region::optimizer);
        call.beta1 = a.beta1;
        call.beta2 = a.beta2;
        call.eps = a.eps;
        call.weight_decay = a.weight_decay;
        call.decoupled = a.decoupled;
        emit("optimizer", call);
      }
    }
    if (loss)
      emit("loss", Advance{.state = state_, .loss = loss, .samples = dims(output_index()).n, .training = options_.optimizer.has_value()});
  }

  const Graph& graph_;
  const LowerOptions& options_;
  Plan plan_;
  std::vector<bool> live_, needs_gradient_;
  std::vector<ValueId> value_, gradient_;  // per node
  std::vector<Saved> saved_;
  std::map<std::string, Parameter> parameters_;
  std::vector<std::size_t> updates_;  // batch norms whose running statistics move
  ValueId state_, labels_, targets_;
  std::int64_t dropouts_ = 0;
  std::size_t all_parameters_ = 0;  // bytes of the parameters' region, which the gradients' region mirrors
};

}  // namespace

Shape transformed(const Shape& sample, const std::optional<Size2>& resize) {
  if (!resize) return sample;
  if (sample.rank() != 3) throw Error(ErrorKind::usage, "resize needs images (C, H, W), got samples " + to_string(sample));
  if (resize->h <= 0 || resize->w <= 0)
    throw Error(ErrorKind::usage, "resize must be positive, got " + std::to_string(resize->h) + "x" + std::to_string(resize->w));
  return {sample[0], resize->h, resize->w};
}

Plan lower(const Graph& graph, const LowerOptions& options) { return Lowering{graph, options}.run(); }

}  // namespace norma
