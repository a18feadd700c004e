// lower: the order of a Plan's Calls, its value table, the loss and the update.
#include "src/plan/lower.h"

#include <algorithm>
#include <array>

#include "norma/error.h"
#include "norma/loss.h"
#include "norma/text.h"
#include "src/plan/lowering.h"

namespace norma {

using namespace kernels;

Lowering::Lowering(const Graph& graph, const LowerOptions& options)
    : graph_(graph), options_(options), value_(graph.nodes.size()), gradient_(graph.nodes.size()), saved_(graph.nodes.size()) {
  if (graph.outputs.empty() || (options.loss && graph.outputs.size() != 1))
    throw Error(ErrorKind::usage, "a net has one output, this one has " + std::to_string(graph.outputs.size()));
  plan_.mode = options.mode;
  plan_.lanes = options.lanes;
  plan_.samples = graph.nodes.at(0).shape[0];
}

Plan Lowering::run() {
  find_live_nodes();
  add_persistent_values();
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
    if (live_[i]) forward(i);
  const bool several = graph_.outputs.size() > 1;
  const auto numbered = [&](const char* text, std::size_t k) { return several ? text + std::to_string(k) : std::string(text); };
  for (std::size_t k = 0; k < graph_.outputs.size(); ++k) name(numbered("y", k), value_[output_index(k)]);
  ValueId loss;
  if (options_.loss) loss = lower_loss();
  plan_.backward_from = plan_.calls.size();
  if (options_.backward) {
    if (!options_.loss)
      for (std::size_t k = 0; k < graph_.outputs.size(); ++k) {
        const std::size_t out = output_index(k);
        accumulate(out, activation(numbered("dy", k), dims(out), node_shape(out)));
      }
    for (std::size_t i = graph_.nodes.size(); i-- > 0;)
      if (live_[i] && needs_gradient_[i] && gradient_[i]) backward(i);
    name_input_gradients();
  }
  update(loss);
  if (options_.join) join(plan_);
  schedule(plan_, options_.by_pack);
  assign(plan_, options_.assign);
  return std::move(plan_);
}

void Lowering::name(const std::string& text, ValueId id) {
  const auto [known, is_new] = plan_.names.emplace(text, id);
  if (!is_new && !(known->second == id))
    throw Error(ErrorKind::usage,
                "\"" + printable(text) + "\" is the name of two values of this net's step: give the module, or input, another name");
}

void Lowering::find_live_nodes() {
  live_.assign(graph_.nodes.size(), false);
  needs_gradient_.assign(graph_.nodes.size(), false);
  for (std::size_t k = 0; k < graph_.outputs.size(); ++k) live_[output_index(k)] = true;
  for (std::size_t i = graph_.nodes.size(); i-- > 0;)
    if (live_[i])
      for (Value v : graph_.nodes[i].inputs) live_[index(v)] = true;
  trained_.assign(graph_.nodes.size(), false);
  for (const ParameterInfo& p : graph_.parameters())
    if (!p.buffer && !rule_of(options_.groups, p.name).frozen()) trained_[static_cast<std::size_t>(p.node)] = true;
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& n = graph_.nodes[i];
    needs_gradient_[i] = trained_[i] || (std::holds_alternative<InputNode>(n.op) && options_.input_gradients);
    for (Value v : n.inputs) needs_gradient_[i] = needs_gradient_[i] || needs_gradient_[index(v)];
  }
}

void Lowering::add_persistent_values() {
  state_ = add_value(
      {.name = "state", .dtype = DType::bytes, .shape = Shape{sizeof(StepState)}, .region = Region::state, .bytes = sizeof(StepState)});
  std::size_t bytes = 0;
  for (const ParameterInfo& p : graph_.parameters()) {
    const std::size_t size = static_cast<std::size_t>(p.shape.elements()) * size_of(p.dtype);
    Parameter& parameter = parameters_[p.name];
    if (parameter.value) throw Error(ErrorKind::usage, "two parameters are called \"" + printable(p.name) + "\"");
    parameter.value = add_value(
        {.name = p.name, .dtype = p.dtype, .shape = p.shape, .region = p.buffer ? Region::buffers : Region::parameters, .bytes = size});
    if (p.buffer) continue;
    bytes += (size + alignment - 1) / alignment * alignment;
    if (!options_.backward) continue;
    // Frozen, too: the regions of parameters and gradients mirror each other.
    const ValueId gradient =
        add_value({.name = p.name + ".grad", .dtype = DType::f32, .shape = p.shape, .region = Region::gradients, .bytes = size});
    if (!rule_of(options_.groups, p.name).frozen()) parameter.gradient = gradient;
  }
  all_parameters_ = bytes;
}

// ---- nodes and their gradients; the rules of each kind of node are in lower_products.cpp, lower_norms.cpp and lower_others.cpp

void Lowering::forward(std::size_t i) {
  std::visit([&](const auto& op) { forward(i, op); }, node(i).op);
  if (node(i).path == node(i).output_path) name(node(i).path, value_[i]);  // else fuse made it part of a later node
  name(node(i).output_path, value_[i]);
}

ValueId Lowering::make_output(std::size_t i) { return value_[i] = activation(node(i).output_path, dims(i), node_shape(i)); }

void Lowering::set_gradient(std::size_t i, ValueId g) {
  gradient_[i] = g;
  name(node(i).output_path + ".grad", g);
}

// g is one of the contributions to node i's gradient; contributions are added in the order they are found.
void Lowering::accumulate(std::size_t i, ValueId g) {
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

ValueId Lowering::make_gradient(std::size_t of, std::size_t by) {
  std::string text = node(of).output_path + ".grad";
  if (gradient_[of]) text += "." + node(by).path;
  return activation(text, dims(of), node_shape(of));
}

void Lowering::backward(std::size_t i) {
  std::visit([&](const auto& op) { backward(i, op); }, node(i).op);
}

void Lowering::name_input_gradients() {
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

// ---- loss and update

void check_output(const Graph& graph, const Loss& loss) {
  if (!takes_targets(loss)) check_output(graph);
}

bool takes_targets(const Loss& loss) {
  const auto* custom = std::get_if<CustomLoss>(&loss);
  return std::holds_alternative<MeanSquared>(loss) || (custom && custom->against == CustomLoss::Against::targets);
}

void check_output(const Graph& graph) {
  if (const Shape& y = graph[graph.outputs.at(0)].shape; y.rank() != 2)
    throw Error(ErrorKind::usage, "the loss expects the net's output to be (N, C), got " + to_string(y) + "; put a Flatten at the end");
}

namespace {

std::size_t size(const HostTensor& t) { return static_cast<std::size_t>(t.elements); }

double run_custom_loss(const void* context, std::int64_t samples, const HostTensor& x, const HostTensor& target, const std::int32_t* labels,
                       const HostTensor& dx) {
  const auto& function = *static_cast<const CustomLoss::Function*>(context);
  return function({.samples = samples,
                   .outputs = {x.values, size(x)},
                   .targets = {target.values, size(target)},
                   .labels = {labels, labels ? static_cast<std::size_t>(samples) : 0}},
                  {dx.values, size(dx)});
}

}  // namespace

ValueId Lowering::lower_loss() {
  const std::size_t out = output_index();
  const Dims d = dims(out);
  check_output(graph_, *options_.loss);
  const ValueId loss = add_value(
      {.name = "loss", .dtype = DType::bytes, .shape = Shape{sizeof(LossResult)}, .region = Region::state, .bytes = sizeof(LossResult)});
  const auto* custom = std::get_if<CustomLoss>(&*options_.loss);
  const ValueId partial = custom ? ValueId{} : flat("loss.partial", d.n * 8, DType::bytes);
  ValueId gradient;
  if (options_.backward) set_gradient(out, gradient = activation("dy", d, node_shape(out)));
  const bool against_targets = takes_targets(*options_.loss);
  if (against_targets && !targets_) targets_ = activation("targets", d, node_shape(out));
  if (!against_targets && !labels_) labels_ = per_sample("labels", d.n, DType::i32);
  if (custom) {
    plan_.kept.push_back(custom->function);
    emit("loss", HostLoss{.loss = loss,
                          .dx = gradient,
                          .x = output(),
                          .target = against_targets ? targets_ : ValueId{},
                          .labels = against_targets ? ValueId{} : labels_,
                          .dims = d,
                          .function = run_custom_loss,
                          .context = custom->function.get()});
  } else if (const auto* ce = std::get_if<CrossEntropy>(&*options_.loss)) {
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

// Everything that outlives the step comes last, after the check that the step was finite.
void Lowering::update(ValueId loss) {
  const std::int64_t n = static_cast<std::int64_t>(all_parameters_ / 4);
  ValueId gradients;
  if (options_.optimizer) {
    // With the variances behind them (forward of a batch norm): an infinite one gives finite activations and gradients, and would stay in
    // the running statistics.
    const std::int64_t all = n + variances_ / 4;
    gradients = whole("gradients", Region::gradients, static_cast<std::size_t>(all) * 4);
    emit("optimizer", CheckFinite{.state = state_, .loss = loss, .values = gradients, .n = all});
  }
  for (std::size_t first = 0; first < updates_.size(); first += BatchNormRunningUpdate::most) {
    BatchNormRunningUpdate call{.state = state_};
    for (std::size_t u = first; u < updates_.size() && call.used < BatchNormRunningUpdate::most; ++u) {
      const RunningUpdate& of = updates_[u];
      call.layers[static_cast<std::size_t>(call.used++)] = {.running_mean = parameter(of.node, "running_mean").value,
                                                            .running_var = parameter(of.node, "running_var").value,
                                                            .tracked = parameter(of.node, "num_batches_tracked").value,
                                                            .mean = of.mean,
                                                            .var = of.var,
                                                            .channels = dims(input(of.node)).c,
                                                            .count = of.count,
                                                            .momentum = of.momentum.value_or(0),
                                                            .cumulative = !of.momentum};
    }
    emit("batch_norm", call);
  }
  if (options_.optimizer && (options_.clip.value || options_.clip.norm)) clip(gradients);
  if (options_.optimizer) update_parameters(gradients);
  if (loss)
    emit("loss", Advance{.state = state_, .loss = loss, .samples = dims(output_index()).n, .training = options_.optimizer.has_value()});
}

void Lowering::clip(ValueId gradients) {
  ClipGradients call{.gradients = gradients, .state = state_, .n = static_cast<std::int64_t>(all_parameters_ / 4)};
  if (options_.clip.value) call.max_value = static_cast<float>(*options_.clip.value);
  if (options_.clip.norm) call.max_norm = *options_.clip.norm;
  call.partial = flat("gradients.squares", call.chunks() * 8, DType::bytes);
  emit("optimizer", call);
}

// One Call, or with groups one for each run of parameters that are trained alike.
void Lowering::update_parameters(ValueId gradients) {
  const std::int64_t n = static_cast<std::int64_t>(all_parameters_ / 4);
  Update call{.w = whole("parameters", Region::parameters, all_parameters_),
              .gradients = gradients,
              .state = state_,
              .rates = data(DataSlot::rates, DType::f32, {}),
              .n = n,
              .optimizer = *options_.optimizer};
  const auto kept = kept_values(call.optimizer);
  for (std::size_t i = 0; i < kept.size(); ++i)
    if (kept[i].name) call.kept[i] = flat(optimizer_value(kept[i]), n, DType::f32, Region::optimizer);
  if (options_.groups.empty()) {
    emit("optimizer", call);
    return;
  }
  const std::vector<ParameterInfo> parameters = graph_.parameters();
  const std::vector<double> factors = rate_factors(options_.groups, parameters);
  std::vector<ValueId> rates;
  for (std::size_t k = 0; k < factors.size(); ++k)
    rates.push_back(add_value({.name = rates_value(k), .dtype = DType::f32, .shape = {}, .region = Region::data}));
  struct Run {
    ParameterRule rule;
    std::size_t begin, end;  // bytes of the region
  };
  std::vector<Run> runs;
  std::size_t at = 0;
  for (const ParameterInfo& p : parameters) {
    if (p.buffer) continue;
    const ParameterRule rule = rule_of(options_.groups, p.name);
    const std::size_t begin = at;
    at += (static_cast<std::size_t>(p.shape.elements()) * size_of(p.dtype) + alignment - 1) / alignment * alignment;
    if (!runs.empty() && runs.back().rule.rate == rule.rate && runs.back().rule.weight_decay == rule.weight_decay) runs.back().end = at;
    else runs.push_back({rule, begin, at});
  }
  for (const Run& run : runs) {
    if (run.rule.frozen()) continue;
    const std::size_t bytes = run.end - run.begin;
    const auto part = [&](const char* text, Region region, std::size_t before) {
      const ValueId id = whole(text + ("/" + std::to_string(&run - runs.data())), region, bytes);
      plan_.values.back().offset = before + run.begin;
      return id;
    };
    Update of = call;
    of.n = static_cast<std::int64_t>(bytes / 4);
    of.w = part("parameters", Region::parameters, 0);
    of.gradients = part("gradients", Region::gradients, 0);
    std::size_t before = 0;  // each kept value is as large as all parameters
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (!kept[i].name) continue;
      of.kept[i] = part(optimizer_value(kept[i]).c_str(), Region::optimizer, before);
      before += all_parameters_;
    }
    if (const auto k = std::ranges::find(factors, run.rule.rate); k != factors.end())
      of.rates = rates[static_cast<std::size_t>(k - factors.begin())];
    if (run.rule.weight_decay) std::visit([&](auto& o) { o.weight_decay = *run.rule.weight_decay; }, of.optimizer);
    emit("optimizer", of);
  }
}

bool Lowering::frozen_statistics(std::size_t i) const {
  return std::ranges::any_of(std::array{"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}, [&](const char* what) {
    return parameter(i, what).value && rule_of(options_.groups, parameter_name(i, what)).frozen_statistics;
  });
}

ValueId Lowering::gradient_of(std::size_t i, const char* what) {
  const Parameter p = parameter(i, what);
  if (p.gradient || !p.value) return p.gradient;
  return flat(parameter_name(i, what) + ".unused", plan_[p.value].shape.elements(), DType::f32);
}

Shape transformed(const Shape& sample, const std::optional<Size2>& resize) {
  if (!resize) return sample;
  if (sample.rank() != 3) throw Error(ErrorKind::usage, "resize needs images (C, H, W), got samples " + to_string(sample));
  if (resize->h <= 0 || resize->w <= 0)
    throw Error(ErrorKind::usage, "resize must be positive, got " + std::to_string(resize->h) + "x" + std::to_string(resize->w));
  return {sample[0], resize->h, resize->w};
}

std::string optimizer_value(const kernels::Kept& kept) { return std::string("optimizer/") + kept.name; }

Plan lower(const Graph& graph, const LowerOptions& options) {
  const auto check = [](const char* field, const char* type, auto value, auto last) {
    if (value > last) throw Error(ErrorKind::usage, std::string(field) + " " + std::to_string(static_cast<int>(value)) + " is no " + type);
  };
  check("mode", "Mode", options.mode, Mode::eval);
  check("precision", "Precision", options.precision, Precision::bf16);
  if (options.loss)
    std::visit(
        [&](const auto& l) {
          if constexpr (requires { l.reduction; }) check("reduction", "Reduction", l.reduction, Reduction::sum);
        },
        *options.loss);
  return Lowering{graph, options}.run();
}

}  // namespace norma
