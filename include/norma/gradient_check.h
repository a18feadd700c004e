// Checks gradients that somebody wrote by hand against differences of the function itself.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <string>

#include "norma/export.h"
#include "norma/loss.h"
#include "norma/module.h"
#include "norma/shape.h"

namespace norma {

struct NORMA_API GradientCheckOptions {
  std::uint64_t seed = 0;      // of the values: normal numbers
  std::int64_t elements = 64;  // of each value, drawn; 0: all
  double step = 1.0 / 64;      // between the values that are compared
  double tolerance = 0.01;     // of a gradient, or of the root mean square of its value's if that is larger
};

// The worst of the gradients that were compared.
struct NORMA_API GradientCheck {
  std::int64_t compared = 0, wrong = 0;
  std::string value;         // "dx", "op.slope.grad"; of a loss "outputs"
  std::int64_t element = 0;  // of it, in NCHW order
  double gradient = 0, difference = 0, error = 0;
  bool ok() const { return wrong == 0; }
};
// "2 of 128 gradients are wrong; at worst dx[3] is 0.5 and differences give 0.25"
NORMA_API std::string to_string(const GradientCheck& c);

// Checks a module's gradients by its input and parameters, in training mode on x of this shape (batch included), for a random upstream
// gradient. Differences are of the fourth order, over 4 steps. A function with a kink there, like ReLU's, may be called wrong in some
// elements. Throws Error(usage) as ModuleRunner, for options that are no positive numbers, and for a module with dropout.
NORMA_API GradientCheck check_gradients(const Module& module, const Shape& x, const GradientCheckOptions& options = {});

// Checks the gradient of a loss by outputs of this shape (batch included), for random targets or labels. Throws Error(usage) for a shape
// that no loss is of.
NORMA_API GradientCheck check_gradient(const CustomLoss& loss, const Shape& outputs, const GradientCheckOptions& options = {});

}  // namespace norma
