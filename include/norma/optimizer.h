// Optimizers and learning-rate schedules: plain descriptions, PyTorch's options, defaults and arithmetic.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "norma/export.h"

namespace norma {

struct NORMA_API Sgd {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;  // needs momentum and no dampening

  constexpr const char* name() const { return "SGD"; }
};

// decoupled: AdamW (Loshchilov and Hutter 2019), whose default weight_decay in PyTorch is 0.01
struct NORMA_API Adam {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;

  constexpr const char* name() const { return decoupled ? "AdamW" : "Adam"; }
};

constexpr Adam adamw(double lr = 1e-3, double weight_decay = 0.01) { return {.lr = lr, .weight_decay = weight_decay, .decoupled = true}; }

// Hinton's RMSprop with PyTorch's options. centered: the gradient is divided by its standard deviation, not by its root mean square. Where
// rounding leaves a variance below 0, it is 0; PyTorch gives NaN there.
struct NORMA_API RMSprop {
  double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;

  constexpr const char* name() const { return "RMSprop"; }
};

using Optimizer = std::variant<Sgd, Adam, RMSprop>;

// PyTorch's name of its class. Two optimizers of one name keep the same values between steps.
NORMA_API const char* name_of(const Optimizer& o);
NORMA_API double learning_rate(const Optimizer& o);
// Throws Error(usage) naming the option that is out of range.
NORMA_API void validate(const Optimizer& o);

// Parameters that are trained in another way than the rest. The last of several groups that say something of one counts.
struct NORMA_API ParameterGroup {
  std::string pattern;                   // of names, such as "conv1.weight"; each '*' stands for any text: "features.*", "*.bias"
  std::optional<double> rate{};          // factor of the learning rate. 0 freezes: no update, and no backward where nothing needs it
  std::optional<double> weight_decay{};  // in place of the optimizer's
  // Batch norms with such a parameter or buffer normalise by their running statistics in training too, and do not move them. So do
  // instance norms that have running statistics. None: as the groups before say, else false.
  std::optional<bool> frozen_statistics{};
  std::string origin{};  // errors about the group begin with it: a file and line, or nothing
};

// Clips the gradients of all parameters together, before the update reads them. First each to -value .. value, as PyTorch's
// clip_grad_value_; then all by one factor to an L2 norm of `norm`, as clip_grad_norm_.
struct NORMA_API Clip {
  std::optional<double> norm{}, value{};  // none: not
};
// Throws Error(usage) for a bound that is not above 0 or no float.
NORMA_API void validate(const Clip& c);

// True where the group's pattern fits the name.
NORMA_API bool fits(const ParameterGroup& g, std::string_view name);

// The groups' joint word about a parameter or buffer.
struct NORMA_API ParameterRule {
  double rate = 1;
  std::optional<double> weight_decay{};
  bool frozen_statistics = false;

  bool frozen() const { return rate == 0; }
};
NORMA_API ParameterRule rule_of(std::span<const ParameterGroup> groups, std::string_view name);

// The learning rate of every step, as a factor of the optimizer's lr. warm-up (linear from warmup_start) comes first and
// takes its steps from the same total.
struct NORMA_API Schedule {
  enum class Kind : std::uint8_t {
    constant,
    step,       // times gamma every step_epochs epochs (StepLR)
    cosine,     // from 1 to final_factor over the run, per step (CosineAnnealingLR)
    one_cycle,  // OneCycleLR, cosine: lr is the peak; from 1/div_factor up over pct_start, down to 1/(div_factor*final_div_factor)
  };
  Kind kind = Kind::constant;
  std::int64_t step_epochs = 30;
  double gamma = 0.1;
  double final_factor = 0;
  double pct_start = 0.3, div_factor = 25, final_div_factor = 1e4;
  double warmup_epochs = 0, warmup_start = 0;

  // Returns the factor at optimizer step `step` (from 0) of `total`, with `per_epoch` steps an epoch. Throws Error(usage) for a step
  // outside 0..total-1 and for options that validate() refuses.
  double factor(std::int64_t step, std::int64_t per_epoch, std::int64_t total) const;
};

NORMA_API void validate(const Schedule& s);

}  // namespace norma
