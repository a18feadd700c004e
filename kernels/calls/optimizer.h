// Calls: the end of a step.
#pragma once
#include "kernels/calls/operand.h"

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

// PyTorch's SGD on n flat floats; does nothing if state.status. g = grad + weight_decay*w;
// velocity (when momentum != 0) = step == 0 ? g : momentum*velocity + (1-dampening)*g;
// d = nesterov ? g + momentum*velocity : velocity;  w -= rates[state.batch] * d
struct Sgd {
  static constexpr const char* name = "sgd";
  ValueId w{}, velocity{}, gradients{}, state{}, rates{};
  std::int64_t n = 0;
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;

  constexpr std::array<Operand, 5> operands() const {
    return {{{w, Access::update, "w"},
             {velocity, Access::update, "velocity"},
             {gradients, Access::read, "gradients"},
             {state, Access::read, "state"},
             {rates, Access::read, "rates"}}};
  }
  constexpr Cost cost() const { return {(velocity ? 5.0 : 3.0) * n * f32_bytes, (velocity ? 4.0 : 2.0) * n}; }
};

// PyTorch's Adam (decoupled: AdamW) on n flat floats; does nothing if state.status. t = state.step + 1;
// decoupled: w -= lr*weight_decay*w, else g = grad + weight_decay*w; m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g*g;
// w -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
struct Adam {
  static constexpr const char* name = "adam";
  ValueId w{}, m{}, v{}, gradients{}, state{}, rates{};
  std::int64_t n = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;

  constexpr std::array<Operand, 6> operands() const {
    return {{{w, Access::update, "w"},
             {m, Access::update, "m"},
             {v, Access::update, "v"},
             {gradients, Access::read, "gradients"},
             {state, Access::read, "state"},
             {rates, Access::read, "rates"}}};
  }
  constexpr Cost cost() const { return {7.0 * n * f32_bytes, 12.0 * n}; }
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
