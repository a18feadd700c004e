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

struct Descent {
  std::string name;
  std::int64_t n;
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  std::int64_t step = 3, status = 0;
};

CallCase sgd(const Descent& p, int lanes) {
  CallCase c(lanes);
  Sgd call{.n = p.n, .momentum = p.momentum, .dampening = p.dampening, .weight_decay = p.weight_decay, .nesterov = p.nesterov};
  call.w = c.flat("w", p.n, normal());
  if (p.momentum != 0) call.velocity = c.flat("velocity", p.n, normal());
  call.gradients = c.flat("gradients", p.n, normal());
  call.state = c.add_state();
  call.rates = c.flat("rates", 3, uniform(0.01, 0.1));
  c.state.step = p.step;
  c.state.status = p.status;
  return c.call(call);
}

struct Adaptive {
  std::string name;
  std::int64_t n, step = 3;
  double weight_decay = 0;
  bool decoupled = false;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::int64_t status = 0;
};

CallCase adam(const Adaptive& p, int lanes) {
  CallCase c(lanes);
  Adam call{.n = p.n, .beta1 = p.beta1, .beta2 = p.beta2, .eps = p.eps, .weight_decay = p.weight_decay, .decoupled = p.decoupled};
  call.w = c.flat("w", p.n, normal());
  call.m = c.flat("m", p.n, p.step == 0 ? constant(0) : normal(0, 0.1));
  call.v = c.flat("v", p.n, p.step == 0 ? constant(0) : uniform(0, 0.1));
  // Every 5th gradient is 0: with a fresh v that divides by eps alone.
  call.gradients = c.flat("gradients", p.n, [](std::int64_t e, Random& r) { return e % 5 == 4 ? 0 : r.normal(); });
  call.state = c.add_state();
  call.rates = c.flat("rates", 3, uniform(0.0005, 0.002));
  c.state.step = p.step;
  c.state.status = p.status;
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
template <class Optimizer>
CallCase end_of_step(CallCase c, std::int64_t layers, bool with_loss) {
  const Optimizer optimizer = std::get<Optimizer>(c.plan.calls[0].call);
  BatchNormRunningUpdate running{.used = layers, .state = optimizer.state};
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
  Advance advance{.state = optimizer.state, .samples = 37};
  if (with_loss) advance.loss = c.add_loss();
  c.loss = {.loss = 0.25, .loss_sum = 0.25 * 37, .correct = 30, .counted = 36};
  c.plan.calls.clear();
  return c.call(Together<BatchNormRunningUpdate, Optimizer, Advance>{{running, optimizer, advance}});
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

}  // namespace

void add_optimizer_cases(std::vector<Case>& table) {
  add_check_finite_cases(table);
  for (const Descent& p : std::vector<Descent>{{"plain_n1", 1},
                                               {"plain_n15", 15},
                                               {"plain_n44426", 44426},
                                               {"decay", 17, 0, 0, 0.01},
                                               {"momentum_first_step", 33, 0.9, 0.5, 0, false, 0},
                                               {"momentum", 8193, 0.9},
                                               {"dampening", 33, 0.9, 0.3, 0.01},
                                               {"nesterov", 33, 0.9, 0, 0.01, true},
                                               {"nesterov_first_step", 16, 0.9, 0, 0, true, 0},
                                               {"stopped", 33, 0.9, 0, 0.01, false, 3, 1}})
    table.push_back({"sgd_" + p.name, [p](int lanes) { return sgd(p, lanes); }});
  for (const Adaptive& p : std::vector<Adaptive>{{"n1", 1},
                                                 {"n15", 15},
                                                 {"n44426", 44426},
                                                 {"first_step", 33, 0},
                                                 {"late_step", 33, 20000},
                                                 {"decay", 33, 3, 0.01},
                                                 {"decoupled", 33, 3, 0.01, true},
                                                 {"decoupled_first_step", 17, 0, 0.1, true},
                                                 {"other_betas", 17, 5, 0, false, 0.5, 0.9, 1e-3},
                                                 {"stopped", 33, 3, 0.01, true, 0.9, 0.999, 1e-8, 1}})
    table.push_back({"adam_" + p.name, [p](int lanes) { return adam(p, lanes); }});
  const Descent descents[] = {{"plain", 44426}, {"momentum", 37, 0.9}, {"stopped", 33, 0.9, 0, 0.01, false, 3, 1}};
  for (const Descent& p : descents)
    for (const std::int64_t layers : {0, 2})
      table.push_back({"batch_norm_running_update_sgd_advance_" + p.name + "_layers" + std::to_string(layers),
                       [=](int lanes) { return end_of_step<Sgd>(sgd(p, lanes), layers, layers > 0); }});
  table.push_back({"batch_norm_running_update_adam_advance", [](int lanes) {
                     return end_of_step<Adam>(adam({"", 4097}, lanes), 3, true);
                   }});
  table.push_back({"advance_training", [](int lanes) { return advance(37, true, true, 0, lanes); }});
  table.push_back({"advance_evaluation", [](int lanes) { return advance(256, false, true, 0, lanes); }});
  table.push_back({"advance_without_loss", [](int lanes) { return advance(16, false, false, 0, lanes); }});
  table.push_back({"advance_stopped", [](int lanes) { return advance(16, true, true, 1, lanes); }});
}

}  // namespace norma::test
