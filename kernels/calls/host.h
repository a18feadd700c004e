// Calls: functions of the host's, which the user of the library wrote. They see whole tensors in NCHW order, without padding.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// A tensor as such a function sees it.
struct HostTensor {
  float* values = nullptr;
  std::int64_t elements = 0;
};

// outputs = function(inputs), in the host's memory; an output is 0 before. An absent operand has no elements. A value that has no lanes
// is given as (1,C,1,1) in one lane.
struct HostFunction {
  static constexpr const char* name = "host_function";
  static constexpr bool on_host = true;
  static constexpr std::size_t most = 8;  // operands of a kind
  using Tensors = std::array<HostTensor, most>;

  std::array<ValueId, most> outputs{}, inputs{};
  std::array<Dims, most> output_dims{}, input_dims{};
  void (*function)(const void* context, const Tensors& outputs, const Tensors& inputs) = nullptr;
  const void* context = nullptr;  // the Plan keeps it

  constexpr std::array<Operand, 2 * most> operands() const {
    std::array<Operand, 2 * most> all{};
    for (std::size_t i = 0; i < most; ++i) {
      all[i] = {outputs[i], Access::write, "output", static_cast<int>(i)};
      all[most + i] = {inputs[i], Access::read, "input", static_cast<int>(i)};
    }
    return all;
  }
  constexpr Cost cost() const {
    Cost c;
    for (std::size_t i = 0; i < most; ++i)
      c.bytes += ((outputs[i] ? output_dims[i].count() : 0) + (inputs[i] ? input_dims[i].count() : 0)) * f32_bytes;
    return c;
  }
};

// loss.loss = function(x, target, labels, dx), of which dx (when given) is the gradient by x, 0 before and in padding lanes. One of target
// and labels is given. loss_sum = N loss, counted = N. correct: samples whose first largest x stands at their label, else 0.
struct HostLoss {
  static constexpr const char* name = "host_loss";
  static constexpr bool on_host = true;

  ValueId loss{}, dx{}, x{}, target{}, labels{};  // LossResult; (N,C,H,W) in lanes three times; i32 (N)
  Dims dims{};
  double (*function)(const void* context, std::int64_t samples, const HostTensor& x, const HostTensor& target, const std::int32_t* labels,
                     const HostTensor& dx) = nullptr;
  const void* context = nullptr;  // the Plan keeps it

  constexpr std::array<Operand, 5> operands() const {
    return {{{loss, Access::write, "loss"},
             {dx, Access::write, "dx"},
             {x, Access::read, "x"},
             {target, Access::read, "target"},
             {labels, Access::read, "labels"}}};
  }
  constexpr Cost cost() const {
    return {(1.0 + (dx ? 1 : 0) + (target ? 1 : 0)) * dims.count() * f32_bytes + (labels ? dims.n * 4.0 : 0.0), 0};
  }
};

// Static: files for several instruction sets have these, and none may take another's.

// Counts what HostLoss calls correct; x is in NCHW order.
static inline std::int64_t count_correct(const Dims& dims, const float* x, const std::int32_t* labels) {
  std::int64_t correct = 0;
  for (std::int64_t n = 0; n < dims.n; ++n) {
    const float* const of = x + n * dims.features();
    std::int64_t top = 0;
    for (std::int64_t f = 1; f < dims.features(); ++f)
      if (of[f] > of[top]) top = f;
    correct += top == labels[n];
  }
  return correct;
}

// Stored elements to NCHW order, and back with 0 in padding lanes.
static inline void to_nchw(const Dims& dims, const float* stored, float* nchw) {
  const std::int64_t features = dims.features(), lanes = dims.lanes;
  for (std::int64_t n = 0; n < dims.n; ++n)
    for (std::int64_t f = 0; f < features; ++f) nchw[n * features + f] = stored[(n / lanes * features + f) * lanes + n % lanes];
}
static inline void from_nchw(const Dims& dims, const float* nchw, float* stored) {
  const std::int64_t features = dims.features(), lanes = dims.lanes;
  for (std::int64_t n = 0; n < dims.packs() * lanes; ++n)
    for (std::int64_t f = 0; f < features; ++f)
      stored[(n / lanes * features + f) * lanes + n % lanes] = n < dims.n ? nchw[n * features + f] : 0.0f;
}

}  // namespace norma::kernels
