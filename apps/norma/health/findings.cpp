// Turns figures into sentences. Each rule states its condition.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/norma/health/health.h"
#include "apps/norma/system/choices.h"
#include "apps/norma/system/figures.h"

namespace norma::app {
namespace {

// The two modes' losses of the same samples differ by more than 0.05 and a quarter of the smaller one, or are NaN.
bool large_gap(const EpochHealth& h) {
  return !(std::abs(h.evaluation_loss - h.train_loss) <= 0.05 + 0.25 * std::min(h.evaluation_loss, h.train_loss));
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }
std::string counted(std::size_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

// "(3, 5 and 7 more)"
std::string channel_list(const std::vector<std::int64_t>& channels) {
  constexpr std::size_t shown = 6;
  std::string list;
  for (std::size_t i = 0; i < std::min(shown, channels.size()); ++i) list += (list.empty() ? "" : ", ") + std::to_string(channels[i]);
  return channels.size() > shown ? fmt::format("({} and {} more)", list, channels.size() - shown) : "(" + list + ")";
}

// ---- why evaluation and training differ

// Share of its initial value that a running statistic still has, after its updates. A cumulative average keeps nothing of it.
double initial_share(const NormHealth& n) {
  if (*n.updates == 0) return 1;
  return n.momentum ? std::pow(1 - *n.momentum, static_cast<double>(*n.updates)) : 0;
}

// More than a twentieth of what they hold is what they began with.
bool young(const NormHealth& n) { return n.updates && initial_share(n) > 0.05; }

std::vector<std::string> young_statistics(const EpochHealth& h) {
  std::map<std::string, std::vector<std::string>> by_state;  // most layers of a net are in the same
  for (const NormHealth& n : h.norms)
    if (young(n))
      by_state[fmt::format("have seen {}{}: they still hold {} of their initial values",
                           counted(static_cast<std::size_t>(*n.updates), "update"),
                           n.momentum ? fmt::format(" at momentum {}", *n.momentum) : "", percent(initial_share(n)))]
          .push_back(n.layer);
  std::vector<std::string> all;
  for (const auto& [state, layers] : by_state) all.push_back(fmt::format("running statistics of {} {}", join(layers), state));
  return all;
}

// The mean of N samples is off by sqrt(2/pi)/sqrt(N) deviations on average, if they are all that counts; three times that is no accident.
double drift_by_chance(std::int64_t samples) { return 0.1 + 3 * 0.8 / std::sqrt(static_cast<double>(samples)); }

bool lags(const NormHealth& n, std::int64_t samples) {
  return n.mean_drift && !young(n) && (*n.mean_drift > drift_by_chance(samples) || *n.variance_ratio > 1.5 || *n.variance_ratio < 1 / 1.5);
}

std::string lag(const NormHealth& n) {
  const std::string memory =
      n.momentum ? fmt::format("at momentum {} they are an average over about {:.0f} batches, while the weights move", *n.momentum,
                               1 / *n.momentum)
                 : fmt::format("a cumulative average weighs all {} updates alike, also those of weights long gone", *n.updates);
  return fmt::format(
      "running statistics of {} are not those of its input now: the probe's mean is off by {:.2f} standard deviations, its variance is "
      "{:.2f} times the running one; {}",
      n.layer, *n.mean_drift, *n.variance_ratio, memory);
}

std::vector<std::string> causes(const EpochHealth& h, const HealthContext& context) {
  std::vector<std::string> all;
  const bool evaluation_worse = h.evaluation_loss > h.train_loss;
  if (evaluation_worse) {
    all = young_statistics(h);
    for (const NormHealth& n : h.norms)
      if (lags(n, h.samples)) all.push_back(lag(n));
    for (const NormHealth& n : h.norms)
      if (n.evaluation_variance_ratio && !young(n) && (*n.evaluation_variance_ratio > 1.25 || *n.evaluation_variance_ratio < 0.8))
        all.push_back(fmt::format(
            "dropout comes before {}: in evaluation, without it, the variance of its input is {:.2f} times the running one, which saw it",
            n.layer, *n.evaluation_variance_ratio));
  }
  if (context.batch < 16 && !h.norms.empty())
    all.push_back(fmt::format(
        "batches of {}: batch statistics are noisy, a channel's mean by up to {:.2f} standard deviations (1/sqrt({}))",
        counted(static_cast<std::size_t>(context.batch), "sample"), 1 / std::sqrt(static_cast<double>(context.batch)), context.batch));
  if (!evaluation_worse)
    for (const DropoutLayer& d : context.dropouts)
      all.push_back(fmt::format("dropout: in training {} sets {} of its input to 0", d.layer, percent(d.p)));
  if (all.empty()) all.push_back("the cause is none of these: running statistics that are young or lag behind, small batches, dropout");
  return all;
}

// ---- single layers

void dead_or_switched_off(const NormHealth& n, std::int64_t samples, std::vector<std::string>& all) {
  const auto of_channels = [&](std::size_t k) { return fmt::format("{} of {} channels", k, n.channels); };
  if (!n.dead.empty())
    all.push_back(fmt::format("{}: {} {} dead {}: {} is 0 for all {} samples of the probe", n.layer, of_channels(n.dead.size()),
                              n.dead.size() == 1 ? "is" : "are", channel_list(n.dead), n.activation, samples));
  if (!n.switched_off.empty())
    all.push_back(fmt::format("{}: {} {} a gamma below {} {}: its input hardly matters", n.layer, of_channels(n.switched_off.size()),
                              n.switched_off.size() == 1 ? "has" : "have", small_gamma, channel_list(n.switched_off)));
}

std::string what_is_saturated(const ActivationTraits& t) {
  if (t.can_die()) return "0";
  if (t.saturated_low == -t.saturated_high) return fmt::format("beyond {}", t.saturated_high);
  return fmt::format("below {} or above {}", t.saturated_low, t.saturated_high);
}

// ReLU is made to give zeros: half of them is what it does to a centred input.
double much_saturated(const ActivationTraits& t) { return t.can_die() ? 0.9 : 0.5; }

}  // namespace

std::vector<std::string> findings(const EpochHealth& h, const HealthContext& context) {
  std::vector<std::string> all;
  if (large_gap(h)) {
    all.push_back(fmt::format("the loss of the same {} samples is {} in training mode and {} in evaluation mode (accuracy {} and {})",
                              h.samples, format_number(h.train_loss), format_number(h.evaluation_loss), percent(h.train_accuracy),
                              percent(h.evaluation_accuracy)));
    for (std::string& cause : causes(h, context)) all.push_back(std::move(cause));
  }
  for (const NormHealth& n : h.norms) {
    dead_or_switched_off(n, h.samples, all);
    if (n.before.not_finite > 0) all.push_back(fmt::format("{}: {} values of its input are not finite", n.layer, n.before.not_finite));
  }
  for (const ActivationHealth& a : h.activations) {
    if (const ActivationTraits& t = traits(a.kind); a.saturated > much_saturated(t))
      all.push_back(fmt::format("{}: {} of its outputs are {}", a.layer, percent(a.saturated), what_is_saturated(t)));
    const bool of_norm = std::any_of(h.norms.begin(), h.norms.end(), [&](const NormHealth& n) { return n.activation == a.layer; });
    if (!a.dead.empty() && !of_norm)
      all.push_back(fmt::format("{}: {} of its channels {} 0 for all {} samples of the probe {}", a.layer, a.dead.size(),
                                a.dead.size() == 1 ? "is" : "are", h.samples, channel_list(a.dead)));
  }
  return all;
}

}  // namespace norma::app
