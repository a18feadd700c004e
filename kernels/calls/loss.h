// Calls: losses.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// With p = softmax(logits), q = (1-smoothing)*onehot + smoothing/C: sample loss = -sum_c q log p; samples whose label is
// ignore_index count nothing. loss = sum / counted (mean; 0/0 = NaN as in PyTorch) or sum. correct: the first largest logit.
// dlogits (when given) = (p - q) * (mean: 1/counted, sum: 1), 0 for ignored samples and padding lanes. Summed in sample order in double.
struct SoftmaxCrossEntropy {
  static constexpr const char* name = "softmax_cross_entropy";
  ValueId loss{}, dlogits{}, logits{}, labels{};  // LossResult; (N,C,1,1) in lanes; i32 (N)
  ValueId partial{};                              // f64 (N): the samples' losses
  Dims dims{};
  Reduction reduction = Reduction::mean;
  double smoothing = 0;
  std::int32_t ignore_index = -100;

  constexpr std::array<Operand, 5> operands() const {
    return {{{loss, Access::write, "loss"},
             {dlogits, Access::write, "dlogits"},
             {partial, Access::write, "partial"},
             {logits, Access::read, "logits"},
             {labels, Access::read, "labels"}}};
  }
  constexpr Cost cost() const { return {(dlogits ? 2.0 : 1.0) * dims.count() * f32_bytes + dims.n * 4.0, 8.0 * dims.count()}; }
};

// loss = sum (x - target)^2 / (mean: number of elements, sum: 1); dx (when given) = 2 (x - target) / the same, 0 in padding lanes.
// loss_sum is the sum over samples of each sample's own loss (its mean, or its sum). correct: samples whose first largest x stands where
// their first largest target does, if there is more than one feature to choose from. partial: f64 (N).
struct MeanSquaredError {
  static constexpr const char* name = "mean_squared_error";
  ValueId loss{}, dx{}, x{}, target{}, partial{};
  Dims dims{};
  Reduction reduction = Reduction::mean;

  constexpr std::array<Operand, 5> operands() const {
    return {{{loss, Access::write, "loss"},
             {dx, Access::write, "dx"},
             {partial, Access::write, "partial"},
             {x, Access::read, "x"},
             {target, Access::read, "target"}}};
  }
  constexpr Cost cost() const { return {(dx ? 3.0 : 2.0) * dims.count() * f32_bytes, 4.0 * dims.count()}; }
};

}  // namespace norma::kernels
