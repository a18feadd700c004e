// Rules of the norms, with what fusion has folded into a batch norm. Of each its Calls forward, then its adjoint.
#include "norma/error.h"
#include "norma/text.h"
#include "src/plan/lowering.h"

namespace norma {

using namespace kernels;

// A step that ends with a check of the gradients' region checks this variance too, if it moves the running one.
ValueId Lowering::batch_variances(std::size_t i, std::int64_t channels, bool tracked) {
  const bool checked = options_.optimizer && tracked;
  constexpr auto step = static_cast<std::int64_t>(alignment);
  if (checked) variances_ += (channels * 4 + step - 1) / step * step;
  return flat(node(i).path + ".var", channels, DType::f32, checked ? Region::gradients : Region::activations);
}

// Whether it normalises by the batch's statistics.
bool Lowering::by_batch(std::size_t i, const BatchNormNode& n) const {
  return !n.options.track_running_stats || (training() && !frozen_statistics(i));
}

void Lowering::forward(std::size_t i, const BatchNormNode& n) {
  const Dims d = dims(input(i));
  const std::string& path = node(i).path;
  Saved& s = saved_[i];
  const bool batch_statistics = by_batch(i, n);
  if (batch_statistics) {
    if (d.n * d.plane() == 1)
      throw Error(ErrorKind::usage,
                  "[" + printable(path) + "] expects more than one value per channel " +
                      (training() ? "when training, got input " : "without running statistics, got input ") + to_string(node_shape(i)) +
                      (training() ? "; a batch needs at least two samples: change the batch size or drop the last batch (drop_last)"
                                  : "; at least two samples are needed at a time, in the last batch of a set too"));
    s.mean = flat(path + ".mean", d.c, DType::f32);
    s.var = batch_variances(i, d.c, training() && n.options.track_running_stats);
    s.rstd = flat(path + ".rstd", d.c, DType::f32);
    BatchNormStatistics call{.mean = s.mean, .var = s.var, .rstd = s.rstd, .x = x(i), .dims = d, .eps = n.options.eps};
    call.partial = partial_sums(path + ".statistics", d.packs(), call.partial_bytes());
    emit(i, call);
    if (training() && n.options.track_running_stats && options_.move_running_statistics)
      updates_.push_back({i, s.mean, s.var, d.n * d.plane(), n.options.momentum});
  } else {
    s.mean = parameter(i, "running_mean").value;
    s.rstd = flat(path + ".rstd", d.c, DType::f32);
    emit(i, BatchNormRstd{.rstd = s.rstd, .var = parameter(i, "running_var").value, .channels = d.c, .eps = n.options.eps});
  }
  if (n.pool) {
    BatchNormMaxPool call{.y = make_output(i),
                          .x = x(i),
                          .mean = s.mean,
                          .rstd = s.rstd,
                          .gamma = parameter(i, "weight").value,
                          .beta = parameter(i, "bias").value,
                          .shape = pool_shape(i, *n.pool),
                          .act = n.act};
    if (options_.backward && needs_gradient_[i]) {
      s.argmax = call.argmax = activation(path + ".argmax", dims(i), node_shape(i), DType::u8);
      s.largest = call.largest = activation(path + ".largest", dims(i), node_shape(i));
    }
    emit(i, call);
    return;
  }
  emit(i, BatchNormApply{.y = make_output(i),
                         .x = x(i),
                         .mean = s.mean,
                         .rstd = s.rstd,
                         .gamma = parameter(i, "weight").value,
                         .beta = parameter(i, "bias").value,
                         .r = n.residual ? x(i, 1) : ValueId{},
                         .dims = d,
                         .act = n.act});
}

void Lowering::backward(std::size_t i, const BatchNormNode& n) {
  const Dims d = dims(input(i));
  const Saved& s = saved_[i];
  const bool batch_statistics = by_batch(i, n), gives_dx = needs_gradient_[input(i)];
  Activation act = n.act;
  ValueId dy = gradient_[i], y = act == Activation::none ? ValueId{} : value_[i];
  // g = dy * act'(y) is r's gradient. Once made, it stands for dy, without an activation.
  const bool gives_dr = n.residual && needs_gradient_[input(i, 1)], makes_g = gives_dr && y;
  const ValueId g = makes_g ? make_gradient(input(i, 1), i) : dy;
  ValueId dgamma = parameter(i, "weight").gradient, dbeta = parameter(i, "bias").gradient;
  if (dgamma || dbeta || (batch_statistics && gives_dx)) {  // not affine, or frozen: the sums are still needed for dx
    if (!dgamma) dgamma = flat(node(i).path + ".dgamma", d.c, DType::f32);
    if (!dbeta) dbeta = flat(node(i).path + ".dbeta", d.c, DType::f32);
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

template <class Norm>
void Lowering::group_norm(std::size_t i, const Norm& n) {
  const std::string& path = node(i).path;
  GroupNormForward call{.y = make_output(i),
                        .x = x(i),
                        .gamma = parameter(i, "weight").value,
                        .beta = parameter(i, "bias").value,
                        .shape = norm_shape_of(n, dims(input(i))),
                        .eps = n.eps};
  const Dims of = call.shape.statistics();
  const auto statistic = [&](const char* text) { return activation(path + text, of, {of.n, of.c}); };
  Saved& s = saved_[i];
  bool tracked = false;
  if constexpr (requires { n.track_running_stats; }) tracked = training() && n.track_running_stats;
  s.mean = call.mean = statistic(tracked ? ".sample_mean" : ".mean");
  s.rstd = call.rstd = statistic(".rstd");
  if (tracked) call.var = statistic(".sample_var");
  emit(i, call);
  if constexpr (requires { n.momentum; }) {
    if (!tracked) return;
    InstanceNormAverage average{.mean = flat(path + ".mean", of.c, DType::f32),
                                .var = batch_variances(i, of.c, true),
                                .sample_mean = call.mean,
                                .sample_var = call.var,
                                .dims = of};
    average.partial = partial_sums(path + ".average", of.packs(), average.partial_bytes());
    emit(i, average);
    if (options_.move_running_statistics) updates_.push_back({i, average.mean, average.var, dims(input(i)).plane(), n.momentum});
  }
}

void Lowering::group_norm_backward(std::size_t i, const NormShape& shape) {
  const Saved& s = saved_[i];
  const ValueId dx = needs_gradient_[input(i)] ? make_gradient(input(i), i) : ValueId{};
  if (const ValueId dgamma = gradient_of(i, "weight")) {
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

void Lowering::forward(std::size_t i, const nn::LayerNorm& n) { group_norm(i, n); }

void Lowering::forward(std::size_t i, const nn::InstanceNorm& n) {
  if (n.track_running_stats && (!training() || frozen_statistics(i))) return forward(i, in_evaluation(n));
  if (dims(input(i)).plane() == 1) throw Error(ErrorKind::usage, "[" + printable(node(i).path) + "] " + single_elements(node_shape(i)));
  group_norm(i, n);
}

void Lowering::forward(std::size_t i, const nn::GroupNorm& n) { group_norm(i, n); }

void Lowering::backward(std::size_t i, const nn::LayerNorm& n) { group_norm_backward(i, norm_shape_of(n, dims(input(i)))); }
void Lowering::backward(std::size_t i, const nn::GroupNorm& n) { group_norm_backward(i, norm_shape_of(n, dims(input(i)))); }
void Lowering::backward(std::size_t i, const nn::InstanceNorm& n) {
  if (n.track_running_stats && (!training() || frozen_statistics(i))) backward(i, in_evaluation(n));
  else group_norm_backward(i, norm_shape_of(n, dims(input(i))));
}

}  // namespace norma
