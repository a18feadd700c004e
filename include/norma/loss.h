// Losses: one number that a net's output and its targets give.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <variant>

#include "norma/export.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

// Against integer labels in 0 .. C-1; the net's output is (N,C).
struct NORMA_API CrossEntropy {
  Reduction reduction = Reduction::mean;
  double label_smoothing = 0;
  std::int32_t ignore_index = -100;
};

// Against Dataset::targets, of the output's shape. A set without targets gives one-hot labels; the net's output is then (N,C).
// Its accuracy is the share of samples whose largest output stands where their largest target does.
struct NORMA_API MeanSquared {
  Reduction reduction = Reduction::mean;
};

// A loss of one's own sees a batch in this form, in NCHW order. The spans are good until it returns.
struct NORMA_API LossInput {
  std::int64_t samples = 0;
  std::span<const float> outputs{};        // (N,C) or (N,C,H,W)
  std::span<const float> targets{};        // of the same shape; empty for CustomLoss::Against::labels
  std::span<const std::int32_t> labels{};  // (N); empty for CustomLoss::Against::targets
};

// A loss of one's own. It runs on the CPU between forward and backward; on a GPU the outputs travel there and the gradient back.
//   TrainerOptions{.loss = CustomLoss{huber}}   with   double huber(const LossInput& in, std::span<float> gradient)
// The function returns the loss of the batch, and fills its gradient by each output. The gradient is 0 before, and empty in an evaluation.
// One thread calls it, the one that trains. What it throws leaves the step undone. The loss of an epoch or a set is the mean over its
// batches, weighted by their samples. Accuracy is that of labels, else 0. check_gradient (norma/gradient_check.h) tests it.
// Copies share the function, so several Trainers may call it at the same time. All that it refers to must live as long as they do.
struct NORMA_API CustomLoss {
  using Function = std::function<double(const LossInput& in, std::span<float> gradient)>;
  enum class Against : std::uint8_t { targets, labels };

  // Throws Error(usage) for an empty function.
  explicit CustomLoss(Function f, Against a = Against::targets);

  std::shared_ptr<const Function> function;
  Against against = Against::targets;
};

using Loss = std::variant<CrossEntropy, MeanSquared, CustomLoss>;

}  // namespace norma
