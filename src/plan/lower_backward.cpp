// Adjoint rules: the Calls that turn the gradient of a node's output into those of its inputs and parameters.
#include <algorithm>

#include "src/plan/lowering.h"

namespace norma {

using namespace kernels;

namespace {

// A convolution's weight gradient is made pack by pack if all partial sums together are at most max_floats_by_pack (4 MB). Otherwise it is
// made in chunks of packs_per_weight_chunk packs, for more parallel work than its weights give. There are at most max_weight_chunks chunks
// and max_partial_elements floats, twice max_floats_by_pack.
constexpr std::int64_t max_floats_by_pack = std::int64_t{1} << 20;
constexpr std::int64_t packs_per_weight_chunk = 4, max_weight_chunks = 16, max_partial_elements = 2 * max_floats_by_pack;

}  // namespace

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

void Lowering::backward(std::size_t, const InputNode&) {}

void Lowering::backward(std::size_t i, const nn::Conv2d& c) {
  const ValueId dy = gradient_[i];
  Conv2dBackwardWeight weight{.dw = parameter(i, "weight").gradient,
                              .db = parameter(i, "bias").gradient,
                              .dy = dy,
                              .x = x(i),
                              .shape = conv_shape(i, c),
                              .precision = options_.precision};
  const std::int64_t sums = weight.shape.weights() + c.out, packs = weight.shape.x.packs();
  const std::int64_t parts = std::min(packs / packs_per_weight_chunk, max_partial_elements / sums);
  weight.chunks = packs <= max_floats_by_pack / sums ? packs : std::clamp<std::int64_t>(parts, 1, max_weight_chunks);
  weight.partial = partial_sums(node(i).path + ".weight.partial", weight.chunks, weight.partial_elements() * 4);
  emit(i, weight);
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i,
       Conv2dBackwardInput{.dx = dx, .dy = dy, .w = parameter(i, "weight").value, .shape = weight.shape, .precision = options_.precision});
  accumulate(input(i), dx);
}

void Lowering::backward(std::size_t i, const nn::Linear&) {
  const ValueId dy = gradient_[i];
  emit(i, LinearBackwardWeight{.dw = parameter(i, "weight").gradient,
                               .db = parameter(i, "bias").gradient,
                               .dy = dy,
                               .x = x(i),
                               .x_dims = dims(input(i)),
                               .y_dims = dims(i),
                               .precision = options_.precision});
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i, LinearBackwardInput{.dx = dx,
                              .dy = dy,
                              .w = parameter(i, "weight").value,
                              .x_dims = dims(input(i)),
                              .y_dims = dims(i),
                              .precision = options_.precision});
  accumulate(input(i), dx);
}

void Lowering::backward(std::size_t i, const BatchNormNode& n) {
  const Dims d = dims(input(i));
  const Saved& s = saved_[i];
  const bool batch_statistics = training() || !n.options.track_running_stats, gives_dx = needs_gradient_[input(i)];
  Activation act = n.act;
  ValueId dy = gradient_[i], y = act == Activation::none ? ValueId{} : value_[i];
  // g = dy * act'(y) is r's gradient. Once made, it stands for dy, without an activation.
  const bool gives_dr = n.residual && needs_gradient_[input(i, 1)], makes_g = gives_dr && y;
  const ValueId g = makes_g ? make_gradient(input(i, 1), i) : dy;
  ValueId dgamma = parameter(i, "weight").gradient, dbeta = parameter(i, "bias").gradient;
  if (!dgamma && batch_statistics && gives_dx) {  // not affine: the sums are still needed for dx
    dgamma = flat(node(i).path + ".dgamma", d.c, DType::f32);
    dbeta = flat(node(i).path + ".dbeta", d.c, DType::f32);
  }
  if (dgamma) {  // of a fused pooling only the elements that won have a gradient
    BatchNormBackwardReduce call{.dgamma = dgamma,
                                 .dbeta = dbeta,
                                 .dr = makes_g ? g : ValueId{},
                                 .dy = dy,
                                 .y = y,
                                 .x = n.pool ? s.largest : x(i),
                                 .mean = s.mean,
                                 .rstd = s.rstd,
                                 .dims = n.pool ? dims(i) : d,
                                 .act = act};
    call.partial = partial_sums(node(i).path + ".backward", d.packs(), call.partial_bytes());
    emit(i, call);
  } else if (makes_g) {
    emit(i, ActivationBackward{.dx = g, .dy = dy, .saved = y, .dims = d, .act = act});
  }
  if (makes_g) dy = g, y = {}, act = Activation::none;
  if (gives_dr) accumulate(input(i, 1), g);
  if (!gives_dx) return;
  const auto apply = [&](auto call) {
    call.dx = make_gradient(input(i), i);
    call.dy = dy, call.y = y, call.x = x(i), call.mean = s.mean, call.rstd = s.rstd;
    call.gamma = parameter(i, "weight").value, call.dgamma = dgamma, call.dbeta = dbeta;
    call.count = d.n * d.plane(), call.act = act, call.batch_statistics = batch_statistics;
    emit(i, call);
    accumulate(input(i), call.dx);
  };
  if (n.pool) apply(BatchNormMaxPoolBackwardApply{.argmax = s.argmax, .shape = pool_shape(i, *n.pool)});
  else apply(BatchNormBackwardApply{.dims = d});
}

void Lowering::group_norm_backward(std::size_t i, const NormShape& shape) {
  const Saved& s = saved_[i];
  const ValueId dx = needs_gradient_[input(i)] ? make_gradient(input(i), i) : ValueId{}, dgamma = parameter(i, "weight").gradient;
  if (dgamma) {
    GroupNormBackward call{.dx = dx,
                           .dgamma = dgamma,
                           .dbeta = parameter(i, "bias").gradient,
                           .dy = gradient_[i],
                           .x = x(i),
                           .mean = s.mean,
                           .rstd = s.rstd,
                           .gamma = parameter(i, "weight").value,
                           .shape = shape};
    call.partial = partial_sums(node(i).path + ".backward", shape.x.packs(), call.partial_bytes());
    emit(i, call);
  } else {
    emit(i, GroupNormBackwardInput{.dx = dx, .dy = gradient_[i], .x = x(i), .mean = s.mean, .rstd = s.rstd, .shape = shape});
  }
  if (dx) accumulate(input(i), dx);
}

void Lowering::backward(std::size_t i, const nn::LayerNorm& n) { group_norm_backward(i, norm_shape_of(n, dims(input(i)))); }
void Lowering::backward(std::size_t i, const nn::GroupNorm& n) { group_norm_backward(i, norm_shape_of(n, dims(input(i)))); }
void Lowering::backward(std::size_t i, const nn::InstanceNorm& n) {
  if (n.track_running_stats && !training()) backward(i, in_evaluation(n));
  else group_norm_backward(i, norm_shape_of(n, dims(input(i))));
}

void Lowering::backward(std::size_t i, const nn::MaxPool2d& p) {
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i, MaxPoolBackward{
              .dx = dx, .dy = gradient_[i], .argmax = saved_[i].argmax, .shape = pool_shape(i, p), .index_type = saved_[i].index_type});
  accumulate(input(i), dx);
}

void Lowering::backward(std::size_t i, const nn::AvgPool2d& p) {
  const ValueId dx = make_gradient(input(i), i);
  emit(i, AvgPoolBackward{.dx = dx, .dy = gradient_[i], .shape = pool_shape(i, p), .include_pad = p.count_include_pad});
  accumulate(input(i), dx);
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

void Lowering::backward(std::size_t i, const nn::Dropout& d) {
  if (!training()) {
    accumulate(input(i), gradient_[i]);
    return;
  }
  const ValueId dx = make_gradient(input(i), i);
  emit(i, Dropout{.y = dx, .x = gradient_[i], .state = state_, .dims = dims(i), .p = d.p, .layer = saved_[i].dropout});
  accumulate(input(i), dx);
}

void Lowering::backward(std::size_t i, const FlattenNode&) { accumulate(input(i), gradient_[i]); }

void Lowering::backward(std::size_t i, const AddNode&) {
  for (std::size_t k = 0; k < 2; ++k)
    if (needs_gradient_[input(i, k)]) accumulate(input(i, k), gradient_[i]);
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

}  // namespace norma
