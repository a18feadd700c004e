// Rules of the nodes without parameters: input, pooling, activation, dropout, flatten, addition. Of each its Calls forward, then its
// adjoint. And operations of the user's own.
#include "norma/error.h"
#include "norma/loss.h"
#include "src/plan/lowering.h"

namespace norma {

using namespace kernels;

void Lowering::forward(std::size_t i, const InputNode&) {
  const ValueId y = make_output(i);
  if (!options_.data) return;
  const InputData& d = *options_.data;
  const Shape stored = d.sample.prepend(node_shape(i)[0]), wanted = transformed(d.sample, d.resize).prepend(node_shape(i)[0]);
  if (!(wanted == node_shape(i)))
    throw Error(ErrorKind::usage, "the net's input is " + to_string(node_shape(i)) + " but the data give " + to_string(wanted));
  Gather g{.y = y, .state = state_, .dims = dims_of(stored, options_.lanes), .source_type = d.type, .shuffle = d.shuffle};
  g.source = data(DataSlot::samples, d.type, d.sample);
  g.scale = data(DataSlot::scale, DType::f32, {g.dims.c});
  g.offset = data(DataSlot::offset, DType::f32, {g.dims.c});
  if (options_.loss && takes_targets(*options_.loss)) {
    g.target_dims = dims(output_index());
    g.targets = data(DataSlot::targets, DType::f32, {g.target_dims.features()});
    g.targets_out = targets_ = activation("targets", g.target_dims, node_shape(output_index()));
  }
  if (d.labels) {
    g.labels = data(DataSlot::labels, DType::i32, {});
    g.labels_out = labels_ = per_sample("labels", g.dims.n, DType::i32);
  }
  if (d.resize) {
    g.y = activation("samples", g.dims, stored);
    emit("data", g);
    emit("data", Resize{.y = y, .x = g.y, .y_dims = dims(i), .x_dims = g.dims});
  } else {
    emit("data", g);
  }
}

void Lowering::backward(std::size_t, const InputNode&) {}

void Lowering::forward(std::size_t i, const nn::MaxPool2d& p) {
  MaxPoolForward call{.y = make_output(i), .x = x(i), .shape = pool_shape(i, p)};
  Saved& s = saved_[i];
  s.index_type = call.index_type = call.shape.window.area() <= 256 ? DType::u8 : DType::i32;
  if (options_.backward && needs_gradient_[input(i)])
    s.argmax = call.argmax = activation(node(i).path + ".argmax", call.shape.y, node_shape(i), call.index_type);
  emit(i, call);
}

void Lowering::backward(std::size_t i, const nn::MaxPool2d& p) {
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i, MaxPoolBackward{
              .dx = dx, .dy = gradient_[i], .argmax = saved_[i].argmax, .shape = pool_shape(i, p), .index_type = saved_[i].index_type});
  accumulate(input(i), dx);
}

void Lowering::forward(std::size_t i, const nn::AvgPool2d& p) {
  emit(i, AvgPoolForward{.y = make_output(i), .x = x(i), .shape = pool_shape(i, p), .include_pad = p.count_include_pad});
}

void Lowering::backward(std::size_t i, const nn::AvgPool2d& p) {
  const ValueId dx = make_gradient(input(i), i);
  emit(i, AvgPoolBackward{.dx = dx, .dy = gradient_[i], .shape = pool_shape(i, p), .include_pad = p.count_include_pad});
  accumulate(input(i), dx);
}

void Lowering::forward(std::size_t i, const ActivationNode& a) {
  emit(i, ActivationForward{.y = make_output(i), .x = x(i), .dims = dims(i), .act = a.act, .option = static_cast<float>(a.option)});
}

void Lowering::backward(std::size_t i, const ActivationNode& a) {
  const ValueId dx = make_gradient(input(i), i);
  emit(i, ActivationBackward{.dx = dx,
                             .dy = gradient_[i],
                             .saved = traits(a.act).gradient_from_output ? value_[i] : x(i),
                             .dims = dims(i),
                             .act = a.act,
                             .option = static_cast<float>(a.option)});
  accumulate(input(i), dx);
}

void Lowering::forward(std::size_t i, const nn::Dropout& d) {
  if (!training()) {
    value_[i] = x(i);  // the identity
    return;
  }
  saved_[i].dropout = dropouts_++;
  emit(i, Dropout{.y = make_output(i), .x = x(i), .state = state_, .dims = dims(i), .p = d.p, .layer = saved_[i].dropout});
}

void Lowering::backward(std::size_t i, const nn::Dropout& d) {
  if (!training()) {
    accumulate(input(i), gradient_[i]);
    return;
  }
  const ValueId dx = make_gradient(input(i), i);
  emit(i, Dropout{.y = dx, .x = gradient_[i], .state = state_, .dims = dims(i), .p = d.p, .layer = saved_[i].dropout});
  accumulate(input(i), dx);
}

void Lowering::forward(std::size_t i, const FlattenNode&) { value_[i] = x(i); }  // [N/L][C][H][W][L] is [N/L][CHW][L]

void Lowering::backward(std::size_t i, const FlattenNode&) { accumulate(input(i), gradient_[i]); }

void Lowering::forward(std::size_t i, const AddNode&) { emit(i, Add{.y = make_output(i), .a = x(i, 0), .b = x(i, 1), .dims = dims(i)}); }

void Lowering::backward(std::size_t i, const AddNode&) {
  for (std::size_t k = 0; k < 2; ++k)
    if (needs_gradient_[input(i, k)]) accumulate(input(i, k), gradient_[i]);
}

namespace {

using Operation = nn::Operation;
using Tensors = HostFunction::Tensors;

std::span<float> values(const HostTensor& t) { return {t.values, static_cast<std::size_t>(t.elements)}; }

template <class T>
std::vector<std::span<T>> values(const Tensors& tensors, std::size_t first, std::size_t count) {
  std::vector<std::span<T>> all;
  for (std::size_t k = first; k < first + count; ++k) all.push_back(values(tensors[k]));
  return all;
}

// An operand of a HostFunction that has no lanes.
Dims as_it_lies(const Shape& shape) { return {.n = 1, .c = shape.elements()}; }

// Forward: y of x..., parameters...
void run_forward(const void* context, const Tensors& out, const Tensors& in) {
  const auto& o = *static_cast<const Operation*>(context);
  const auto inputs = static_cast<std::size_t>(o.inputs);
  o.forward({.inputs = values<const float>(in, 0, inputs),
             .parameters = values<const float>(in, inputs, o.parameters.size()),
             .output = values(out[0])});
}

// Backward: gradients of x..., parameters... of these, y and its gradient.
void run_backward(const void* context, const Tensors& out, const Tensors& in) {
  const auto& o = *static_cast<const Operation*>(context);
  const auto inputs = static_cast<std::size_t>(o.inputs), parameters = o.parameters.size();
  o.backward({.inputs = values<const float>(in, 0, inputs),
              .parameters = values<const float>(in, inputs, parameters),
              .output = values(in[inputs + parameters]),
              .output_gradient = values(in[inputs + parameters + 1]),
              .input_gradients = values<float>(out, 0, inputs),
              .parameter_gradients = values<float>(out, inputs, parameters)});
}

}  // namespace

// A Call of the operation, with x... and parameters... as its inputs.
HostFunction Lowering::host_function(std::size_t i, const nn::Operation& o) {
  const auto held = std::make_shared<const nn::Operation>(o);
  plan_.kept.push_back(held);
  HostFunction call{.context = held.get()};
  std::size_t k = 0;
  for (; k < node(i).inputs.size(); ++k) call.inputs[k] = x(i, k), call.input_dims[k] = dims(input(i, k));
  for (const nn::Operation::Parameter& p : o.parameters) {
    call.inputs[k] = parameter(i, p.name.c_str()).value;
    call.input_dims[k++] = as_it_lies(p.shape);
  }
  return call;
}

void Lowering::forward(std::size_t i, const nn::Operation& o) {
  HostFunction call = host_function(i, o);
  call.function = run_forward;
  call.outputs[0] = make_output(i), call.output_dims[0] = dims(i);
  emit(i, call);
}

void Lowering::backward(std::size_t i, const nn::Operation& o) {
  HostFunction call = host_function(i, o);
  call.function = run_backward;
  const std::size_t inputs = node(i).inputs.size();
  std::size_t k = inputs + o.parameters.size();
  call.inputs[k] = value_[i], call.input_dims[k++] = dims(i);
  call.inputs[k] = gradient_[i], call.input_dims[k] = dims(i);
  for (k = 0; k < inputs; ++k) {
    if (!needs_gradient_[input(i, k)]) continue;
    const std::string text = node(i).path + ".d_input" + std::to_string(k);
    call.outputs[k] = activation(text, dims(input(i, k)), node_shape(input(i, k)));
    call.output_dims[k] = dims(input(i, k));
  }
  for (const nn::Operation::Parameter& p : o.parameters) {
    call.outputs[k] = parameter(i, p.name.c_str()).gradient;
    call.output_dims[k++] = as_it_lies(p.shape);
  }
  emit(i, call);
  for (k = 0; k < inputs; ++k)
    if (call.outputs[k]) accumulate(input(i, k), call.outputs[k]);
}

}  // namespace norma
