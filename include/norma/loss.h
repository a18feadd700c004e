// Losses: one number that a net's output and its targets give.
#pragma once
#include <cstdint>
#include <variant>

#include "norma/types.h"

namespace norma {

// Against integer labels in 0 .. C-1; the net's output is (N,C).
struct CrossEntropy {
  Reduction reduction = Reduction::mean;
  double label_smoothing = 0;
  std::int32_t ignore_index = -100;
};

// Against one-hot labels: the net's output is (N,C).
struct MeanSquared {
  Reduction reduction = Reduction::mean;
};

using Loss = std::variant<CrossEntropy, MeanSquared>;

}  // namespace norma
