// Checks of optimizer options, and the learning rate of every step.
#include "norma/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "norma/error.h"
#include "norma/text.h"
#include "norma/types.h"

namespace norma {
namespace {

void require(bool ok, const char* option, const char* rule, double value) {
  if (ok) return;
  throw Error(ErrorKind::usage, std::string(option) + " must " + rule + ", got " + in_short(value));
}

void fits(const char* option, double v) { require(fits_float(v), option, "be 0 or fit a float, 1.2e-38 to 3.4e38", v); }
void not_negative(const char* option, double v) {
  require(v >= 0 && std::isfinite(v), option, "be a number not below 0", v);
  fits(option, v);
}
void below_one(const char* option, double v) {
  require(v >= 0 && static_cast<float>(v) < 1, option, "lie in 0..1, 1 excluded, as a float, too", v);
  fits(option, v);
}

// From a at 0 to b at 1 along half a cosine.
double cosine(double a, double b, double t) { return b + (a - b) * (1 + std::cos(std::numbers::pi * t)) / 2; }

}  // namespace

bool fits_float(double value) noexcept { return value == 0 || std::isnormal(static_cast<float>(value)); }

const char* name_of(const Optimizer& o) {
  return std::visit([](const auto& x) { return x.name(); }, o);
}

double learning_rate(const Optimizer& o) {
  return std::visit([](const auto& x) { return x.lr; }, o);
}

namespace {

void check(const Sgd& s) {
  not_negative("lr", s.lr);
  not_negative("momentum", s.momentum);
  not_negative("weight_decay", s.weight_decay);
  require(std::isfinite(s.dampening), "dampening", "be finite", s.dampening);
  fits("dampening", s.dampening);
  if (s.nesterov && (s.momentum == 0 || s.dampening != 0))
    throw Error(ErrorKind::usage, "nesterov needs a momentum above 0 and dampening 0");
}

void check(const Adam& a) {
  not_negative("lr", a.lr);
  below_one("beta1", a.beta1);
  below_one("beta2", a.beta2);
  not_negative("eps", a.eps);
  not_negative("weight_decay", a.weight_decay);
}

void check(const RMSprop& r) {
  not_negative("lr", r.lr);
  below_one("alpha", r.alpha);
  not_negative("eps", r.eps);
  not_negative("weight_decay", r.weight_decay);
  not_negative("momentum", r.momentum);
}

}  // namespace

void validate(const Optimizer& o) {
  std::visit([](const auto& x) { check(x); }, o);
}

void validate(const Clip& c) {
  for (const auto& [what, bound] : {std::pair{"clip: norm", c.norm}, std::pair{"clip: value", c.value}})
    if (bound) {
      require(*bound > 0, what, "be above 0", *bound);
      fits(what, *bound);
    }
}

void validate(const Schedule& s) {
  if (s.kind > Schedule::Kind::one_cycle)
    throw Error(ErrorKind::usage, "schedule: kind " + std::to_string(static_cast<int>(s.kind)) + " is no Schedule::Kind");
  require(s.step_epochs > 0, "step_epochs", "be at least 1", static_cast<double>(s.step_epochs));
  not_negative("gamma", s.gamma);
  not_negative("final_factor", s.final_factor);
  require(s.pct_start > 0 && s.pct_start < 1, "pct_start", "lie between 0 and 1", s.pct_start);
  require(s.div_factor > 0, "div_factor", "be above 0", s.div_factor);
  fits("div_factor", s.div_factor);
  require(s.final_div_factor > 0, "final_div_factor", "be above 0", s.final_div_factor);
  fits("final_div_factor", s.final_div_factor);
  not_negative("warmup_epochs", s.warmup_epochs);
  require(s.warmup_start >= 0 && s.warmup_start <= 1, "warmup_start", "lie in 0..1", s.warmup_start);
  fits("warmup_start", s.warmup_start);
}

double Schedule::factor(std::int64_t step, std::int64_t per_epoch, std::int64_t total) const {
  validate(*this);
  if (step < 0 || step >= total || per_epoch < 1)
    throw Error(ErrorKind::usage, "there is no learning rate for step " + std::to_string(step) + " of " + std::to_string(total) + ", " +
                                      std::to_string(per_epoch) + " an epoch");
  const double warmup = warmup_epochs * static_cast<double>(per_epoch);
  const auto at = static_cast<double>(step);
  if (at < warmup) return warmup_start + (1 - warmup_start) * at / warmup;
  switch (kind) {
    case Kind::constant: return 1;
    case Kind::step: return std::pow(gamma, static_cast<double>(step / per_epoch / step_epochs));
    case Kind::cosine: {
      const double length = static_cast<double>(total) - warmup;
      return length <= 0 ? 1 : cosine(1, final_factor, std::min(1.0, (at - warmup) / length));
    }
    case Kind::one_cycle: {  // phases end at step numbers, as in PyTorch
      const double last = std::max(1.0, static_cast<double>(total) - warmup - 1), peak = std::max(0.0, pct_start * (last + 1) - 1),
                   now = at - warmup;
      if (now <= peak) return peak <= 0 ? 1 : cosine(1 / div_factor, 1, now / peak);
      return last <= peak ? 1 : cosine(1, 1 / (div_factor * final_div_factor), std::min(1.0, (now - peak) / (last - peak)));
    }
  }
  return 1;
}

}  // namespace norma
