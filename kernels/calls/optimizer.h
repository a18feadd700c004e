// Calls: the end of a step.
#pragma once
#include <limits>
#include <utility>
#include <variant>

#include "kernels/calls/operand.h"
#include "kernels/chunks.h"
#include "norma/optimizer.h"

namespace norma::kernels {

// state.status = 1 if loss.loss or any of the n values is not finite
struct CheckFinite {
  static constexpr const char* name = "check_finite";
  ValueId state{}, loss{}, values{};  // loss, values may be absent
  std::int64_t n = 0;

  constexpr std::array<Operand, 3> operands() const {
    return {{{state, Access::update, "state"}, {loss, Access::read, "loss"}, {values, Access::read, "values"}}};
  }
  constexpr Cost cost() const { return {n * f32_bytes, 0}; }
};

// Gradients clipped as PyTorch's clip_grad_value_ does, then as clip_grad_norm_. Infinity: not at all. NaN stays.
// g = min(max(g, -max_value), max_value); g *= min(1, max_norm / (norm + 1e-6)), where norm^2 is the sum of all g*g.
// partial: f64, that sum for each flat_chunk elements. Sums are in double; the chunks' are added in index order. Nothing if state.status.
struct ClipGradients {
  static constexpr const char* name = "clip_gradients";
  ValueId gradients{}, partial{}, state{};
  std::int64_t n = 0;
  float max_value = std::numeric_limits<float>::infinity();
  double max_norm = std::numeric_limits<double>::infinity();

  constexpr bool by_norm() const { return max_norm < std::numeric_limits<double>::infinity(); }
  constexpr std::int64_t chunks() const { return (n + flat_chunk - 1) / flat_chunk; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{gradients, Access::update, "gradients"}, {partial, Access::write, "partial"}, {state, Access::read, "state"}}};
  }
  constexpr Cost cost() const { return {2.0 * n * f32_bytes, (by_norm() ? 5.0 : 2.0) * n}; }
};

// A float that an optimizer keeps of every parameter from step to step, under PyTorch's name. Without a name it keeps none.
struct Kept {
  const char* name = nullptr;
  bool never_negative = false;
};
inline constexpr std::size_t most_kept = 3;
static_assert(most_kept == 3, "Update::operands() lists them");

// Update's arithmetic, what it keeps, and its floating-point operations for a parameter. g is the parameter's gradient, lr is
// rates[state.batch], t = state.step - state.optimizer_from + 1.
//
// SGD: g += weight_decay*w; with momentum: buffer = t == 1 ? g : momentum*buffer + (1-dampening)*g;
// d = nesterov ? g + momentum*buffer : buffer; w -= lr*d
constexpr std::array<Kept, most_kept> kept_by(const Sgd& o) { return {{{o.momentum != 0 ? "momentum_buffer" : nullptr}}}; }
constexpr double operations(const Sgd& o) { return o.momentum != 0 ? 4 : 2; }

// Adam: decoupled: w -= lr*weight_decay*w, else g += weight_decay*w; avg = beta1*avg + (1-beta1)*g; sq = beta2*sq + (1-beta2)*g*g;
// w -= lr/(1-beta1^t) * avg / (sqrt(sq)/sqrt(1-beta2^t) + eps)
constexpr std::array<Kept, most_kept> kept_by(const Adam&) { return {{{"exp_avg"}, {"exp_avg_sq", true}}}; }
constexpr double operations(const Adam&) { return 12; }

// RMSprop: g += weight_decay*w; sq = alpha*sq + (1-alpha)*g*g; centered: avg = alpha*avg + (1-alpha)*g, var = max(0, sq - avg*avg), else
// var = sq; d = g / (sqrt(var) + eps); with momentum: d = buffer = momentum*buffer + d; w -= lr*d
constexpr std::array<Kept, most_kept> kept_by(const RMSprop& o) {
  return {{{"square_avg", true}, {o.centered ? "grad_avg" : nullptr}, {o.momentum != 0 ? "momentum_buffer" : nullptr}}};
}
constexpr double operations(const RMSprop& o) { return 10 + (o.centered ? 5 : 0) + (o.momentum != 0 ? 2 : 0); }

// f(optimizer's options), of the type that the variant holds. Not std::visit: its exception class has inline functions, which the linker
// could take from a file for a newer processor.
template <class F, std::size_t... i>
constexpr void with_options(const Optimizer& o, F f, std::index_sequence<i...>) {
  ((o.index() == i ? f(*std::get_if<i>(&o)) : void()), ...);
}
template <class F>
constexpr void with_options(const Optimizer& o, F f) {
  with_options(o, f, std::make_index_sequence<std::variant_size_v<Optimizer>>{});
}
constexpr std::array<Kept, most_kept> kept_values(const Optimizer& o) {
  std::array<Kept, most_kept> kept{};
  with_options(o, [&](const auto& options) { kept = kept_by(options); });
  return kept;
}

// One step of the optimizer on n flat floats; does nothing if state.status.
struct Update {
  static constexpr const char* name = "update";
  ValueId w{};
  std::array<ValueId, most_kept> kept{};  // as kept_values has them
  ValueId gradients{}, state{}, rates{};
  std::int64_t n = 0;
  Optimizer optimizer{};

  constexpr std::array<Operand, 4 + most_kept> operands() const {
    const std::array<Kept, most_kept> names = kept_values(optimizer);
    const auto operand = [&](std::size_t i) {
      return names[i].name ? Operand{kept[i], Access::update, names[i].name} : Operand{{}, Access::update, "-"};
    };
    return {{{w, Access::update, "w"},
             operand(0),
             operand(1),
             operand(2),
             {gradients, Access::read, "gradients"},
             {state, Access::read, "state"},
             {rates, Access::read, "rates"}}};
  }
  constexpr Cost cost() const {
    double floats = 3, flops = 0;  // a parameter's
    for (const Kept& k : kept_values(optimizer)) floats += k.name ? 2 : 0;
    with_options(optimizer, [&](const auto& options) { flops = operations(options); });
    return {floats * n * f32_bytes, flops * n};
  }
};

// The last Call of a step. If state.status is 0: position += samples, batch += 1, step += training, and the loss is added to the
// state's sums (samples, correct, counted, loss_sum).
struct Advance {
  static constexpr const char* name = "advance";
  ValueId state{}, loss{};
  std::int64_t samples = 0;
  bool training = true;

  constexpr std::array<Operand, 2> operands() const { return {{{state, Access::update, "state"}, {loss, Access::read, "loss"}}}; }
  constexpr Cost cost() const { return {static_cast<double>(sizeof(StepState) + sizeof(LossResult)), 5}; }
};

}  // namespace norma::kernels
