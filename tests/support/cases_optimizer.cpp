// Cases: the end of a step.
#include <limits>

#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();

CallCase check_finite(std::int64_t n, std::int64_t at, double bad, double loss, bool with_loss, bool with_gradients, std::int64_t status,
                      int lanes) {
  CallCase c(lanes);
  CheckFinite call{.n = n};
  call.state = c.add_state();
  c.state.status = status;
  if (with_loss) call.loss = c.add_loss();
  c.loss.loss = loss;
  if (with_gradients) call.values = c.flat("gradients", n, [=](std::int64_t e, Random& r) { return e == at ? bad : r.normal(0, 1e20); });
  return c.call(call);
}

// Gradients of normal numbers, of which every 100th is 30 times as large.
CallCase clip_gradients(std::int64_t n, double max_value, double max_norm, std::int64_t status, int lanes) {
  CallCase c(lanes);
  ClipGradients call{.n = n, .max_value = static_cast<float>(max_value), .max_norm = max_norm};
  call.gradients = c.flat("gradients", n, [](std::int64_t e, Random& r) { return (e % 100 == 99 ? 30 : 1) * r.normal(); });
  call.partial = c.scratch("partial", call.chunks() * 8);
  call.state = c.add_state();
  c.state.status = status;
  return c.call(call);
}

// Kept values are ordinary numbers, kept squares positive ones. At the optimizer's first step, which is `from`, both are 0.
CallCase update(const Optimizer& optimizer, std::int64_t n, std::int64_t step, std::int64_t status, int lanes, std::int64_t from = 0) {
  CallCase c(lanes);
  Update call{.n = n, .optimizer = optimizer};
  call.w = c.flat("w", n, normal());
  const auto kept = kept_values(optimizer);
  for (std::size_t i = 0; i < kept.size(); ++i)
    if (kept[i].name)
      call.kept[i] = c.flat(kept[i].name, n, step == from ? constant(0) : kept[i].never_negative ? uniform(0.01, 0.1) : normal(0, 0.1));
  // Every 5th gradient is 0: an adaptive optimizer's first step then divides by eps alone.
  call.gradients = c.flat("gradients", n, [](std::int64_t e, Random& r) { return e % 5 == 4 ? 0 : r.normal(); });
  call.state = c.add_state();
  call.rates = c.flat("rates", 3, uniform(0.0005, 0.1));
  c.state.step = step;
  c.state.optimizer_from = from;
  c.state.status = status;
  return c.call(call);
}

CallCase advance(std::int64_t samples, bool training, bool with_loss, std::int64_t status, int lanes) {
  CallCase c(lanes);
  Advance call{.samples = samples, .training = training};
  call.state = c.add_state();
  c.state = {.seed = 9,
             .step = 100,
             .position = 512,
             .batch = 2,
             .status = status,
             .samples = 512,
             .correct = 400,
             .counted = 510,
             .loss_sum = 0.7};
  if (with_loss) call.loss = c.add_loss();
  c.loss = {.loss = 0.25, .loss_sum = 0.25 * static_cast<double>(samples), .correct = 30, .counted = 36};
  return c.call(call);
}

// All of a step's end: running statistics, an optimizer's update, the counters.
CallCase end_of_step(CallCase c, std::int64_t layers, bool with_loss) {
  const Update update_call = std::get<Update>(c.plan.calls[0].call);
  BatchNormRunningUpdate running{.used = layers, .state = update_call.state};
  for (std::int64_t l = 0; l < layers; ++l) {
    const std::string number = std::to_string(l);
    BatchNormRunningUpdate::Layer& of = running.layers[static_cast<std::size_t>(l)];
    of = {.channels = 6 + 300 * l, .count = 100, .cumulative = l == 1};
    of.running_mean = c.flat("running_mean" + number, of.channels, normal());
    of.running_var = c.flat("running_var" + number, of.channels, uniform(0.1, 4));
    of.tracked = c.flat("tracked" + number, 1, constant(static_cast<double>(4 + l)), DType::i64);
    of.mean = c.flat("mean" + number, of.channels, normal());
    of.var = c.flat("var" + number, of.channels, uniform(0.1, 4));
  }
  Advance advance{.state = update_call.state, .samples = 37};
  if (with_loss) advance.loss = c.add_loss();
  c.loss = {.loss = 0.25, .loss_sum = 0.25 * 37, .correct = 30, .counted = 36};
  c.plan.calls.clear();
  return c.call(EndOfStep{{running, update_call, advance}});
}

void add_check_finite_cases(std::vector<Case>& table) {
  const auto check = [&](const char* name, std::int64_t n, std::int64_t at, double bad, double loss = 1, bool with_loss = true,
                         bool with_gradients = true, std::int64_t status = 0) {
    table.push_back({std::string("check_finite_") + name,
                     [=](int lanes) { return check_finite(n, at, bad, loss, with_loss, with_gradients, status, lanes); }});
  };
  check("finite", 20011, -1, 0);
  check("largest_floats", 33, 7, 3.4e38);
  check("nan_first", 20011, 0, nan);
  check("nan_last", 20011, 20010, nan);
  check("inf_in_the_middle", 20011, 9000, inf);
  check("minus_inf", 17, 16, -inf);
  check("nan_loss", 17, -1, 0, nan);
  check("inf_loss_alone", 0, -1, 0, inf, true, false);
  check("gradients_alone", 100, 50, nan, 0, false);
  check("stays_stopped", 17, -1, 0, 1, true, true, 1);
}

void add_clip_cases(std::vector<Case>& table) {
  const auto add = [&](const char* name, std::int64_t n, double max_value, double max_norm, std::int64_t status = 0) {
    table.push_back(
        {std::string("clip_gradients_") + name, [=](int lanes) { return clip_gradients(n, max_value, max_norm, status, lanes); }});
  };
  add("by_norm", 20011, inf, 2.5);
  add("by_norm_a_chunk", 8192, inf, 1);
  add("by_norm_few", 3, inf, 0.1);
  add("within_the_norm", 1000, inf, 1e6);
  add("by_value", 20011, 1.25, inf);
  add("by_both", 44426, 2, 10);
  add("stopped", 33, 0.5, 1, 1);
}

}  // namespace

void add_optimizer_cases(std::vector<Case>& table) {
  add_check_finite_cases(table);
  add_clip_cases(table);
  const auto add = [&](const std::string& name, std::int64_t n, const Optimizer& optimizer, std::int64_t step = 3, std::int64_t status = 0,
                       std::int64_t from = 0) {
    table.push_back({"update_" + name, [=](int lanes) { return update(optimizer, n, step, status, lanes, from); }});
  };
  for (const std::int64_t n : {1, 15, 4096, 44426}) {
    add("sgd_n" + std::to_string(n), n, Sgd{});
    add("adam_n" + std::to_string(n), n, Adam{});
    add("rmsprop_n" + std::to_string(n), n, RMSprop{});
  }
  add("sgd_decay", 17, Sgd{.weight_decay = 0.01});
  add("sgd_momentum_first_step", 33, Sgd{.momentum = 0.9, .dampening = 0.5}, 0);
  add("sgd_momentum", 8193, Sgd{.momentum = 0.9});
  add("sgd_dampening", 33, Sgd{.momentum = 0.9, .dampening = 0.3, .weight_decay = 0.01});
  add("sgd_nesterov", 33, Sgd{.momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
  add("sgd_nesterov_first_step", 16, Sgd{.momentum = 0.9, .nesterov = true}, 0);
  add("sgd_stopped", 33, Sgd{.momentum = 0.9, .weight_decay = 0.01}, 3, 1);
  add("adam_first_step", 33, Adam{}, 0);
  add("adam_late_step", 33, Adam{}, 20000);
  add("adam_decay", 33, Adam{.weight_decay = 0.01});
  add("adamw", 33, adamw());
  add("adamw_first_step", 17, adamw(1e-3, 0.1), 0);
  add("adam_other_betas", 17, Adam{.beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3}, 5);
  add("adam_stopped", 33, adamw(), 3, 1);
  add("sgd_momentum_reset", 33, Sgd{.momentum = 0.9, .dampening = 0.5}, 7, 0, 7);
  add("sgd_momentum_after_reset", 33, Sgd{.momentum = 0.9, .dampening = 0.5}, 8, 0, 7);
  add("adam_reset", 33, Adam{}, 20000, 0, 20000);
  add("adam_after_reset", 33, Adam{}, 20003, 0, 20000);
  add("rmsprop_first_step", 33, RMSprop{}, 0);
  add("rmsprop_decay", 33, RMSprop{.weight_decay = 0.01});
  add("rmsprop_momentum", 8193, RMSprop{.momentum = 0.9});
  add("rmsprop_centered", 33, RMSprop{.alpha = 0.9, .eps = 1e-3, .centered = true});
  add("rmsprop_all", 1000, RMSprop{.alpha = 0.8, .weight_decay = 0.1, .momentum = 1.5, .centered = true}, 5);
  add("rmsprop_stopped", 33, RMSprop{.momentum = 0.9, .centered = true}, 3, 1);

  const auto add_end = [&](const std::string& name, std::int64_t n, const Optimizer& optimizer, std::int64_t layers,
                           std::int64_t status = 0) {
    table.push_back({"batch_norm_running_update_update_advance_" + name + "_layers" + std::to_string(layers),
                     [=](int lanes) { return end_of_step(update(optimizer, n, 3, status, lanes), layers, layers > 0); }});
  };
  for (const std::int64_t layers : {0, 2}) {
    add_end("sgd", 44426, Sgd{}, layers);
    add_end("sgd_momentum", 37, Sgd{.momentum = 0.9}, layers);
    add_end("sgd_stopped", 33, Sgd{.momentum = 0.9, .weight_decay = 0.01}, layers, 1);
  }
  add_end("sgd", 4096, Sgd{}, 1);
  add_end("adam", 4096, Adam{}, 1);
  add_end("rmsprop", 4096, RMSprop{}, 1);
  add_end("adam", 4097, Adam{}, 3);
  add_end("rmsprop", 4097, RMSprop{.momentum = 0.9, .centered = true}, 2);
  table.push_back({"advance_training", [](int lanes) { return advance(37, true, true, 0, lanes); }});
  table.push_back({"advance_evaluation", [](int lanes) { return advance(256, false, true, 0, lanes); }});
  table.push_back({"advance_without_loss", [](int lanes) { return advance(16, false, false, 0, lanes); }});
  table.push_back({"advance_stopped", [](int lanes) { return advance(16, true, true, 1, lanes); }});
}

}  // namespace norma::test
