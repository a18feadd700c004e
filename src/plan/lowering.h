// State of one lowering. lower.cpp has order, value table, loss and update. lower_products.cpp, lower_norms.cpp and lower_others.cpp have
// the rules of each kind of node.
#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/net/layers.h"
#include "src/plan/lower.h"

namespace norma {

class Lowering {
 public:
  Lowering(const Graph& graph, const LowerOptions& options);
  Plan run();

 private:
  struct Saved {  // values that a node's forward keeps for its backward
    ValueId argmax, largest, mean, var, rstd;
    DType index_type = DType::u8;
    std::int64_t dropout = 0;  // number among the net's dropouts: keys its mask; one number with fuse on and off
  };
  struct Parameter {
    ValueId value, gradient;
  };
  struct RunningUpdate {  // of a node's running statistics, by a batch's
    std::size_t node = 0;
    ValueId mean, var;
    std::int64_t count = 0;  // elements that a variance is of
    std::optional<double> momentum{};
  };

  // ------------------------------------------------------------------------------------------ the value table

  ValueId add_value(PlanValue v) {
    const ValueId id{static_cast<std::int32_t>(plan_.values.size())};
    name(v.name, id);
    plan_.values.push_back(std::move(v));
    return id;
  }
  // Throws Error(usage) where the name stands for another value: a module is called as something of the step itself.
  void name(const std::string& text, ValueId id);

  ValueId activation(const std::string& text, const Dims& d, const Shape& shape, DType type = DType::f32) {
    return add_value({.name = text,
                      .dtype = type,
                      .shape = shape,
                      .dims = d,
                      .bytes = static_cast<std::size_t>(d.stored()) * size_of(type),
                      .pack_bytes = static_cast<std::size_t>(d.features() * d.lanes) * size_of(type)});
  }
  ValueId flat(const std::string& text, std::int64_t elements, DType type, Region region = Region::activations) {
    return add_value({.name = text,
                      .dtype = type,
                      .shape = Shape{elements},
                      .region = region,
                      .bytes = static_cast<std::size_t>(elements) * size_of(type)});
  }
  // A flat value with one element for every sample.
  ValueId per_sample(const std::string& text, std::int64_t samples, DType type) {
    const ValueId id = flat(text, samples, type);
    plan_.values.back().pack_bytes = static_cast<std::size_t>(options_.lanes) * size_of(type);
    return id;
  }
  // Partial sums of every pack of samples.
  ValueId partial_sums(const std::string& text, std::int64_t packs, std::int64_t bytes) {
    const ValueId id = flat(text, bytes, DType::bytes);
    plan_.values.back().pack_bytes = static_cast<std::size_t>(bytes / packs);
    return id;
  }
  ValueId data(DataSlot slot, DType type, const Shape& shape) {
    return add_value({.name = name_of(slot), .dtype = type, .shape = shape, .region = Region::data});
  }
  ValueId whole(const std::string& text, Region region, std::size_t bytes) {
    return add_value({.name = text,
                      .dtype = DType::f32,
                      .shape = Shape{static_cast<std::int64_t>(bytes / 4)},
                      .region = region,
                      .bytes = bytes,
                      .whole = true});
  }

  void find_live_nodes();

  // Adds them in one table order for every Plan of a net, so that all Plans agree on a parameter's place.
  void add_persistent_values();

  static std::size_t index(Value v) { return static_cast<std::size_t>(v.id); }
  std::size_t output_index(std::size_t k = 0) const { return index(graph_.outputs[k]); }
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
  // Whether none of a node's parameters is trained; whether its running statistics stay as they are.
  bool frozen(std::size_t i) const { return !trained_[i]; }
  bool frozen_statistics(std::size_t i) const;
  // The gradient of a node's parameter. One that is frozen has memory that nothing reads, for Calls that make it with others.
  ValueId gradient_of(std::size_t i, const char* what);
  Parameter parameter(std::size_t i, const char* what) const {
    const auto it = parameters_.find(parameter_name(i, what));
    return it == parameters_.end() ? Parameter{} : it->second;
  }

  void emit(std::size_t i, Call call) { plan_.calls.push_back({std::move(call), node(i).path}); }
  void emit(const char* path, Call call) { plan_.calls.push_back({std::move(call), path}); }

  template <class Pool>
  kernels::PoolShape pool_shape(std::size_t i, const Pool& p) const {
    return {dims(input(i)), dims(i), window_of(p)};
  }
  // ------------------------------------------------------------------------------------------ forward

  void forward(std::size_t i);
  ValueId make_output(std::size_t i);
  void forward(std::size_t i, const InputNode&);
  void forward(std::size_t i, const nn::Conv2d& c);
  void forward(std::size_t i, const nn::ConvTranspose2d& c);
  void forward(std::size_t i, const nn::Linear&);
  void forward(std::size_t i, const BatchNormNode& n);
  void forward(std::size_t i, const nn::LayerNorm& n);
  void forward(std::size_t i, const nn::InstanceNorm& n);
  void forward(std::size_t i, const nn::GroupNorm& n);
  template <class Norm>
  void group_norm(std::size_t i, const Norm& n);
  // Evaluation treats an instance norm with running statistics as this batch norm.
  static BatchNormNode in_evaluation(const nn::InstanceNorm& n) { return {.options = {.eps = n.eps, .affine = n.affine}}; }
  bool by_batch(std::size_t i, const BatchNormNode& n) const;
  // A batch's variances, (C).
  ValueId batch_variances(std::size_t i, std::int64_t channels, bool tracked);
  void forward(std::size_t i, const nn::MaxPool2d& p);
  void forward(std::size_t i, const nn::AvgPool2d& p);
  void forward(std::size_t i, const ActivationNode& a);
  void forward(std::size_t i, const nn::Dropout& d);
  void forward(std::size_t i, const FlattenNode&);
  void forward(std::size_t i, const AddNode&);
  void forward(std::size_t i, const nn::Operation& o);
  kernels::HostFunction host_function(std::size_t i, const nn::Operation& o);

  // ------------------------------------------------------------------------------------------ backward

  void set_gradient(std::size_t i, ValueId g);
  // g is one of the contributions to node i's gradient; contributions are added in the order they are found.
  void accumulate(std::size_t i, ValueId g);
  ValueId make_gradient(std::size_t of, std::size_t by);
  void weight_gradient(std::size_t i, const char* what, kernels::Conv2dBackwardWeight call);
  void backward(std::size_t i);
  void backward(std::size_t, const InputNode&);
  void backward(std::size_t i, const nn::Conv2d& c);
  void backward(std::size_t i, const nn::ConvTranspose2d& c);
  void backward(std::size_t i, const nn::Linear&);
  void backward(std::size_t i, const BatchNormNode& n);
  void backward(std::size_t i, const nn::LayerNorm& n);
  void backward(std::size_t i, const nn::InstanceNorm& n);
  void backward(std::size_t i, const nn::GroupNorm& n);
  void group_norm_backward(std::size_t i, const kernels::NormShape& shape);
  void backward(std::size_t i, const nn::MaxPool2d& p);
  void backward(std::size_t i, const nn::AvgPool2d& p);
  void backward(std::size_t i, const ActivationNode& a);
  void backward(std::size_t i, const nn::Dropout& d);
  void backward(std::size_t i, const FlattenNode&);
  void backward(std::size_t i, const AddNode&);
  void backward(std::size_t i, const nn::Operation& o);
  void name_input_gradients();

  // ------------------------------------------------------------------------------------------ loss and update

  ValueId lower_loss();
  // Everything that outlives the step comes last, after the check that the step was finite.
  void update(ValueId loss);
  void clip(ValueId gradients);
  void update_parameters(ValueId gradients);

  const Graph& graph_;
  const LowerOptions& options_;
  Plan plan_;
  std::vector<bool> live_, trained_, needs_gradient_;
  std::vector<ValueId> value_, gradient_;  // per node
  std::vector<Saved> saved_;
  std::map<std::string, Parameter> parameters_;
  std::vector<RunningUpdate> updates_;
  ValueId state_, labels_, targets_;
  std::int64_t dropouts_ = 0;
  std::size_t all_parameters_ = 0;  // bytes of the parameters' region, which the gradients' region mirrors
  std::int64_t variances_ = 0;      // bytes behind them in the gradients' region
};

}  // namespace norma
