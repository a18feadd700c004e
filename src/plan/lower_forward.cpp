// Forward rules: the Calls each kind of node becomes.
#include "norma/error.h"
#include "norma/loss.h"
#include "norma/text.h"
#include "src/plan/lowering.h"

namespace norma {

using namespace kernels;

void Lowering::forward(std::size_t i) {
  std::visit([&](const auto& op) { forward(i, op); }, node(i).op);
  if (node(i).path == node(i).output_path) name(node(i).path, value_[i]);  // else fuse made it part of a later node
  name(node(i).output_path, value_[i]);
}

ValueId Lowering::make_output(std::size_t i) { return value_[i] = activation(node(i).output_path, dims(i), node_shape(i)); }

void Lowering::forward(std::size_t i, const InputNode&) {
  const ValueId y = make_output(i);
  if (!options_.data) return;
  const InputData& d = *options_.data;
  const Shape stored = d.sample.prepend(node_shape(i)[0]), wanted = transformed(d.sample, d.resize).prepend(node_shape(i)[0]);
  if (!(wanted == node_shape(i)))
    throw Error(ErrorKind::usage, "the net's input is " + to_string(node_shape(i)) + " but the data give " + to_string(wanted));
  Gather g{.y = y, .state = state_, .dims = dims_of(stored, options_.lanes), .source_type = d.type, .shuffle = d.shuffle};
  g.source = data("samples", d.type, d.sample);
  g.scale = data("scale", DType::f32, {g.dims.c});
  g.offset = data("offset", DType::f32, {g.dims.c});
  if (options_.loss && std::holds_alternative<MeanSquared>(*options_.loss)) {
    g.target_dims = dims(output_index());
    g.targets = data("targets", DType::f32, {g.target_dims.features()});
    g.targets_out = targets_ = activation("targets", g.target_dims, node_shape(output_index()));
  }
  g.labels = data("labels", DType::i32, {});
  g.labels_out = labels_ = per_sample("labels", g.dims.n, DType::i32);
  if (d.resize) {
    g.y = activation("samples", g.dims, stored);
    emit("data", g);
    emit("data", Resize{.y = y, .x = g.y, .y_dims = dims(i), .x_dims = g.dims});
  } else {
    emit("data", g);
  }
}

void Lowering::forward(std::size_t i, const nn::Conv2d& c) {
  emit(i, Conv2dForward{.y = make_output(i),
                        .x = x(i),
                        .w = parameter(i, "weight").value,
                        .b = parameter(i, "bias").value,
                        .shape = conv_shape(i, c),
                        .precision = options_.precision});
}

void Lowering::forward(std::size_t i, const nn::Linear&) {
  emit(i, LinearForward{.y = make_output(i),
                        .x = x(i),
                        .w = parameter(i, "weight").value,
                        .b = parameter(i, "bias").value,
                        .x_dims = dims(input(i)),
                        .y_dims = dims(i),
                        .precision = options_.precision});
}

// A step that ends with a check of the gradients' region checks this variance too, if it moves the running one.
ValueId Lowering::batch_variances(std::size_t i, std::int64_t channels, bool tracked) {
  const bool checked = options_.optimizer && tracked;
  constexpr auto step = static_cast<std::int64_t>(alignment);
  if (checked) variances_ += (channels * 4 + step - 1) / step * step;
  return flat(node(i).path + ".var", channels, DType::f32, checked ? Region::gradients : Region::activations);
}

void Lowering::forward(std::size_t i, const BatchNormNode& n) {
  const Dims d = dims(input(i));
  const std::string& path = node(i).path;
  Saved& s = saved_[i];
  const bool batch_statistics = training() || !n.options.track_running_stats;
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

void Lowering::forward(std::size_t i, const nn::LayerNorm& n) { group_norm(i, n); }

void Lowering::forward(std::size_t i, const nn::InstanceNorm& n) {
  if (n.track_running_stats && !training()) return forward(i, in_evaluation(n));
  if (dims(input(i)).plane() == 1) throw Error(ErrorKind::usage, "[" + printable(node(i).path) + "] " + single_elements(node_shape(i)));
  group_norm(i, n);
}

void Lowering::forward(std::size_t i, const nn::GroupNorm& n) { group_norm(i, n); }

void Lowering::forward(std::size_t i, const nn::MaxPool2d& p) {
  MaxPoolForward call{.y = make_output(i), .x = x(i), .shape = pool_shape(i, p)};
  Saved& s = saved_[i];
  s.index_type = call.index_type = call.shape.window.area() <= 256 ? DType::u8 : DType::i32;
  if (options_.backward && needs_gradient_[input(i)])
    s.argmax = call.argmax = activation(node(i).path + ".argmax", call.shape.y, node_shape(i), call.index_type);
  emit(i, call);
}

void Lowering::forward(std::size_t i, const nn::AvgPool2d& p) {
  emit(i, AvgPoolForward{.y = make_output(i), .x = x(i), .shape = pool_shape(i, p), .include_pad = p.count_include_pad});
}

void Lowering::forward(std::size_t i, const ActivationNode& a) {
  emit(i, ActivationForward{.y = make_output(i), .x = x(i), .dims = dims(i), .act = a.act, .option = static_cast<float>(a.option)});
}

void Lowering::forward(std::size_t i, const nn::Dropout& d) {
  if (!training()) {
    value_[i] = x(i);  // the identity
    return;
  }
  saved_[i].dropout = dropouts_++;
  emit(i, Dropout{.y = make_output(i), .x = x(i), .state = state_, .dims = dims(i), .p = d.p, .layer = saved_[i].dropout});
}

void Lowering::forward(std::size_t i, const FlattenNode&) { value_[i] = x(i); }  // [N/L][C][H][W][L] is [N/L][CHW][L]

void Lowering::forward(std::size_t i, const AddNode&) { emit(i, Add{.y = make_output(i), .a = x(i, 0), .b = x(i, 1), .dims = dims(i)}); }

}  // namespace norma
