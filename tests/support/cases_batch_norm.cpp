// Cases: batch norm, in training and evaluation.
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Normalised {
  std::string name;
  std::int64_t n, c, h, w;
  double mean = 0, deviation = 1;  // of x
};

std::vector<Normalised> batch_norm_shapes() {
  return {{"lenet1", 37, 6, 24, 24},
          {"lenet2", 17, 16, 8, 8},
          {"lenet_fc", 37, 120, 1, 1},
          {"n1", 1, 3, 5, 4},
          {"n2_1d", 2, 17, 1, 1},
          {"n15", 15, 1, 3, 7},
          {"n16", 16, 3, 7, 3},
          {"n17", 17, 17, 2, 3},
          {"n3_rows_of_49", 3, 2, 7, 7},
          {"n281_1d", 281, 40, 1, 1},
          {"two_values", 2, 1, 1, 1},
          {"offset_data", 17, 3, 6, 5, 50, 0.5},
          {"tiny_data", 17, 3, 6, 5, 0, 1e-4},
          {"large_planes", 3, 2, 60, 59},
          {"n12_odd_planes", 12, 1, 53, 53}};
}

BatchNormStatistics statistics_in(CallCase& c, const Normalised& p) {
  BatchNormStatistics call{.dims = c.dims(p.n, p.c, p.h, p.w)};
  call.mean = c.flat("mean", p.c);
  call.var = c.flat("var", p.c);
  call.rstd = c.flat("rstd", p.c);
  call.partial = c.scratch("partial", call.partial_bytes());
  call.x = c.in("x", call.dims, normal(p.mean, p.deviation));
  return call;
}

CallCase statistics(const Normalised& p, int lanes) {
  CallCase c(lanes);
  return c.call(statistics_in(c, p));
}

// Statistics such as x itself would have.
Generator rstd_of(const Normalised& p) { return uniform(0.8 / p.deviation, 1.2 / p.deviation); }
Generator mean_of(const Normalised& p) { return normal(p.mean, 0.1 * p.deviation); }

CallCase apply(const Normalised& p, Activation act, bool affine, bool residual, int lanes) {
  CallCase c(lanes);
  BatchNormApply call{.dims = c.dims(p.n, p.c, p.h, p.w), .act = act};
  call.y = c.out("y", call.dims);
  call.x = c.in("x", call.dims, normal(p.mean, p.deviation));
  call.mean = c.flat("mean", p.c, mean_of(p));
  call.rstd = c.flat("rstd", p.c, rstd_of(p));
  if (affine) {
    call.gamma = c.flat("gamma", p.c, normal(1, 0.5));
    call.beta = c.flat("beta", p.c, normal());
  }
  if (residual) call.r = c.in("r", call.dims, normal());
  return c.call(call);
}

BatchNormBackwardReduce reduce_in(CallCase& c, const Normalised& p, Activation act, bool residual) {
  BatchNormBackwardReduce call{.dims = c.dims(p.n, p.c, p.h, p.w), .act = act};
  call.dgamma = c.flat("dgamma", p.c);
  call.dbeta = c.flat("dbeta", p.c);
  if (residual) call.dr = c.out_gradient("dr", call.dims);
  call.partial = c.scratch("partial", call.partial_bytes());
  call.dy = c.in_gradient("dy", call.dims);
  if (act != Activation::none) call.y = c.in("y", call.dims, activated(act));
  call.x = c.in("x", call.dims, normal(p.mean, p.deviation));
  call.mean = c.flat("mean", p.c, mean_of(p));
  call.rstd = c.flat("rstd", p.c, rstd_of(p));
  return call;
}

CallCase backward_reduce(const Normalised& p, Activation act, bool residual, int lanes) {
  CallCase c(lanes);
  return c.call(reduce_in(c, p, act, residual));
}

CallCase backward_apply(const Normalised& p, Activation act, bool affine, bool batch_statistics, bool sums, int lanes) {
  CallCase c(lanes);
  BatchNormBackwardApply call{
      .dims = c.dims(p.n, p.c, p.h, p.w), .count = p.n * p.h * p.w, .act = act, .batch_statistics = batch_statistics};
  const double spread = std::sqrt(static_cast<double>(p.n * p.h * p.w));
  call.dx = c.out_gradient("dx", call.dims);
  call.dy = c.in_gradient("dy", call.dims);
  if (act != Activation::none) call.y = c.in("y", call.dims, activated(act));
  call.x = c.in("x", call.dims, normal(p.mean, p.deviation));
  call.mean = c.flat("mean", p.c, mean_of(p));
  call.rstd = c.flat("rstd", p.c, rstd_of(p));
  if (affine) call.gamma = c.flat("gamma", p.c, normal(1, 0.5));
  if (sums) {
    call.dgamma = c.flat("dgamma", p.c, normal(0, spread));
    call.dbeta = c.flat("dbeta", p.c, normal(0, spread));
  }
  return c.call(call);
}

// Statistics and apply in one Call, and the two of the gradient.
CallCase forward(const Normalised& p, Activation act, bool residual, int lanes) {
  CallCase c(lanes);
  const BatchNormStatistics statistics = statistics_in(c, p);
  BatchNormApply apply{.x = statistics.x, .mean = statistics.mean, .rstd = statistics.rstd, .dims = statistics.dims, .act = act};
  apply.y = c.out("y", apply.dims);
  apply.gamma = c.flat("gamma", p.c, normal(1, 0.5));
  apply.beta = c.flat("beta", p.c, normal());
  if (residual) apply.r = c.in("r", apply.dims, normal());
  return c.call(BatchNormForward{{statistics, apply}});
}

CallCase backward(const Normalised& p, Activation act, bool residual, int lanes) {
  CallCase c(lanes);
  const BatchNormBackwardReduce reduce = reduce_in(c, p, act, residual);
  BatchNormBackwardApply apply{.dy = reduce.dy,
                               .y = reduce.y,
                               .x = reduce.x,
                               .mean = reduce.mean,
                               .rstd = reduce.rstd,
                               .dgamma = reduce.dgamma,
                               .dbeta = reduce.dbeta,
                               .dims = reduce.dims,
                               .count = p.n * p.h * p.w,
                               .act = act};
  if (residual) apply.dy = reduce.dr, apply.y = {}, apply.act = Activation::none;
  apply.dx = c.out_gradient("dx", apply.dims);
  apply.gamma = c.flat("gamma", p.c, normal(1, 0.5));
  return c.call(BatchNormBackward{{reduce, apply}});
}

CallCase rstd(std::int64_t channels, double eps, int lanes) {
  CallCase c(lanes);
  BatchNormRstd call{.channels = channels, .eps = eps};
  call.rstd = c.flat("rstd", channels);
  call.var = c.flat("var", channels, [](std::int64_t e, Random& r) { return e == 0 ? 0 : r.uniform(1e-6, 4); });
  return c.call(call);
}

struct Running {
  std::string name;
  std::int64_t channels, count;
  double momentum = 0.1;
  bool cumulative = false, state = true;
  std::int64_t tracked = 0, status = 0, layers = 1;
};

CallCase running_update(const Running& p, int lanes) {
  CallCase c(lanes);
  BatchNormRunningUpdate call{.used = p.layers};
  for (std::int64_t l = 0; l < p.layers; ++l) {  // no two of a size
    BatchNormRunningUpdate::Layer& of = call.layers[static_cast<std::size_t>(l)];
    of = {.channels = p.channels + l, .count = p.count, .momentum = p.momentum, .cumulative = p.cumulative};
    of.running_mean = c.flat("running_mean" + std::to_string(l), of.channels, normal());
    of.running_var = c.flat("running_var" + std::to_string(l), of.channels, uniform(0.1, 4));
    of.tracked = c.flat("tracked" + std::to_string(l), 1, constant(static_cast<double>(p.tracked + l)), DType::i64);
    of.mean = c.flat("mean" + std::to_string(l), of.channels, normal());
    of.var = c.flat("var" + std::to_string(l), of.channels, uniform(0.1, 4));
  }
  if (p.state) call.state = c.add_state();
  c.state.status = p.status;
  return c.call(call);
}

}  // namespace

void add_batch_norm_cases(std::vector<Case>& table) {
  for (const Normalised& p : batch_norm_shapes()) {
    table.push_back({"batch_norm_statistics_" + p.name, [p](int lanes) { return statistics(p, lanes); }});
    for (const ActivationTraits& t : activation_table) {
      if (!t.gradient_from_output) continue;  // it is never folded in
      const Activation act = t.act;
      const std::string name = "_" + std::string(name_of(act)) + "_" + p.name;
      for (bool r : {false, true}) {
        const std::string residual = r ? "_residual" : "";
        table.push_back({"batch_norm_apply" + residual + name, [=](int lanes) { return apply(p, act, true, r, lanes); }});
        table.push_back({"batch_norm_backward_reduce" + residual + name, [=](int lanes) { return backward_reduce(p, act, r, lanes); }});
      }
      table.push_back({"batch_norm_backward_apply" + name, [=](int lanes) { return backward_apply(p, act, true, true, true, lanes); }});
    }
    for (Activation act : {Activation::none, Activation::relu}) {
      const std::string name = "_" + std::string(name_of(act)) + "_" + p.name;
      for (bool r : {false, true}) {
        const std::string residual = r ? "_residual" : "";
        table.push_back({"batch_norm_statistics_batch_norm_apply" + residual + name, [=](int lanes) { return forward(p, act, r, lanes); }});
        table.push_back({"batch_norm_backward_reduce_batch_norm_backward_apply" + residual + name,
                         [=](int lanes) { return backward(p, act, r, lanes); }});
      }
      table.push_back({"batch_norm_apply_not_affine" + name, [=](int lanes) { return apply(p, act, false, false, lanes); }});
      table.push_back({"batch_norm_apply_not_affine_residual" + name, [=](int lanes) { return apply(p, act, false, true, lanes); }});
      table.push_back(
          {"batch_norm_backward_apply_not_affine" + name, [=](int lanes) { return backward_apply(p, act, false, true, true, lanes); }});
      table.push_back(
          {"batch_norm_backward_apply_eval" + name, [=](int lanes) { return backward_apply(p, act, true, false, true, lanes); }});
      table.push_back({"batch_norm_backward_apply_eval_not_affine" + name,
                       [=](int lanes) { return backward_apply(p, act, false, false, false, lanes); }});
    }
  }
  for (const auto& [channels, eps] : {std::pair<std::int64_t, double>{1, 1e-5}, {17, 1e-5}, {40, 1e-3}, {19, 0}})
    table.push_back({"batch_norm_rstd_c" + std::to_string(channels),
                     [channels = channels, eps = eps](int lanes) { return rstd(channels, eps, lanes); }});
  for (const Running& p : std::vector<Running>{{"first", 6, 21312},
                                               {"two_values", 1, 2},
                                               {"momentum_03", 17, 37, 0.3, false, true, 7},
                                               {"momentum_0", 3, 9, 0},
                                               {"momentum_1", 3, 9, 1},
                                               {"cumulative_first", 6, 100, 0.1, true},
                                               {"cumulative_later", 6, 100, 0.1, true, true, 9},
                                               {"no_state", 33, 100, 0.1, false, false, 2},
                                               {"stopped", 6, 100, 0.1, false, true, 5, 1},
                                               {"cumulative_stopped", 6, 100, 0.1, true, true, 5, 1},
                                               {"three_layers", 6, 100, 0.1, false, true, 5, 0, 3},
                                               {"eight_layers", 17, 100, 0.1, true, true, 5, 0, 8}})
    table.push_back({"batch_norm_running_update_" + p.name, [p](int lanes) { return running_update(p, lanes); }});
}

// With one lane, many rows are BatchNorm1d's and, as (N*H*W, C), those of NHWC.
void add_large_batch_norm_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  for (const Normalised& p : std::vector<Normalised>{{"many_rows", many, 33, 1, 1},
                                                     {"many_samples", many, 2, 3, 2},
                                                     {"many_channels_1d", 17, many, 1, 1},
                                                     {"many_channels", 3, many, 3, 2}}) {
    table.push_back({"batch_norm_statistics_" + p.name, [p](int lanes) { return statistics(p, lanes); }});
    for (Activation act : {Activation::none, Activation::relu}) {
      const std::string name = "_" + std::string(name_of(act)) + "_" + p.name;
      for (bool r : {false, true}) {
        const std::string residual = r ? "_residual" : "";
        table.push_back({"batch_norm_apply" + residual + name, [=](int lanes) { return apply(p, act, true, r, lanes); }});
        table.push_back({"batch_norm_backward_reduce" + residual + name, [=](int lanes) { return backward_reduce(p, act, r, lanes); }});
      }
      table.push_back({"batch_norm_backward_apply" + name, [=](int lanes) { return backward_apply(p, act, true, true, true, lanes); }});
    }
  }
  table.push_back({"batch_norm_rstd_many_channels", [](int lanes) { return rstd(many, 1e-5, lanes); }});
  table.push_back({"batch_norm_running_update_many_channels", [](int lanes) { return running_update({"", many, 100}, lanes); }});
}

}  // namespace norma::test
