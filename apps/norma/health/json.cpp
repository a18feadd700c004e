// EpochHealth to and from JSON.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/norma/files/json_lines.h"
#include "apps/norma/health/health.h"
#include "norma/error.h"

namespace norma::app {
namespace {

using json = nlohmann::ordered_json;

// JSON has no NaN and no infinity.
json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }
double number(const json& j) { return j.is_null() ? std::numeric_limits<double>::quiet_NaN() : j.get<double>(); }

json numbers(const std::vector<double>& all) {
  json list = json::array();
  for (const double v : all) list.push_back(number(v));
  return list;
}
std::vector<double> numbers(const json& list) {
  std::vector<double> all;
  for (const json& v : list) all.push_back(number(v));
  return all;
}

template <class T>
json optional(const std::optional<T>& v) {
  if (!v) return nullptr;
  if constexpr (std::is_floating_point_v<T>) return number(*v);
  else return *v;
}
template <class T>
std::optional<T> optional(const json& j) {
  if (j.is_null()) return {};
  return j.get<T>();
}

json spread(const std::optional<ChannelSpread>& s) {
  return s ? json{number(s->least), number(s->mean), number(s->largest)} : json(nullptr);
}
std::optional<ChannelSpread> spread(const json& j) {
  if (j.is_null()) return {};
  return ChannelSpread{number(j.at(0)), number(j.at(1)), number(j.at(2))};
}

json to_json(const Histogram& h) {
  return {{"width", h.width}, {"first", h.first}, {"counts", h.counts}, {"zeros", h.zeros}, {"not_finite", h.not_finite}};
}
Histogram histogram_from(const json& j) {
  Histogram h{.width = j.at("width").get<double>(),
              .first = j.at("first").get<std::int64_t>(),
              .counts = j.at("counts").get<std::vector<std::int64_t>>(),
              .zeros = j.at("zeros").get<std::int64_t>(),
              .not_finite = j.at("not_finite").get<std::int64_t>()};
  if (int exponent = 0; !h.counts.empty() && !(h.width > 0 && std::frexp(h.width, &exponent) == 0.5))
    throw Error(ErrorKind::data, "width: expected a power of two");
  return h;
}

json to_json(const NormHealth& n) {
  return {{"layer", n.layer},
          {"input", n.input},
          {"activation", n.activation},
          {"channels", n.channels},
          {"updates", optional(n.updates)},
          {"momentum", optional(n.momentum)},
          {"mean_drift", optional(n.mean_drift)},
          {"variance_ratio", optional(n.variance_ratio)},
          {"evaluation_variance_ratio", optional(n.evaluation_variance_ratio)},
          {"gamma", spread(n.gamma)},
          {"beta", spread(n.beta)},
          {"switched_off", n.switched_off},
          {"dead", n.dead},
          {"before", to_json(n.before)},
          {"after", to_json(n.after)},
          {"gradient_before", to_json(n.gradient_before)},
          {"gradient_after", to_json(n.gradient_after)}};
}
NormHealth norm_from(const json& j) {
  return {.layer = j.at("layer").get<std::string>(),
          .input = j.at("input").get<std::string>(),
          .activation = j.at("activation").get<std::string>(),
          .channels = j.at("channels").get<std::int64_t>(),
          .updates = optional<std::int64_t>(j.at("updates")),
          .momentum = optional<double>(j.at("momentum")),
          .mean_drift = optional<double>(j.at("mean_drift")),
          .variance_ratio = optional<double>(j.at("variance_ratio")),
          .evaluation_variance_ratio = optional<double>(j.at("evaluation_variance_ratio")),
          .gamma = spread(j.at("gamma")),
          .beta = spread(j.at("beta")),
          .switched_off = j.at("switched_off").get<std::vector<std::int64_t>>(),
          .dead = j.at("dead").get<std::vector<std::int64_t>>(),
          .before = histogram_from(j.at("before")),
          .after = histogram_from(j.at("after")),
          .gradient_before = histogram_from(j.at("gradient_before")),
          .gradient_after = histogram_from(j.at("gradient_after"))};
}

json to_json(const ActivationHealth& a) {
  return {{"layer", a.layer},          {"kind", name_of(a.kind)}, {"saturated", number(a.saturated)}, {"dead", a.dead},
          {"input", to_json(a.input)}, {"mean", numbers(a.mean)}, {"deviation", numbers(a.deviation)}};
}
ActivationHealth activation_from(const json& j) {
  const std::string name = j.at("kind").get<std::string>();
  for (const ActivationTraits& t : activation_table)
    if (t.act != Activation::none && name == t.name)
      return {.layer = j.at("layer").get<std::string>(),
              .kind = t.act,
              .saturated = number(j.at("saturated")),
              .input = histogram_from(j.at("input")),
              .dead = j.at("dead").get<std::vector<std::int64_t>>(),
              .mean = numbers(j.at("mean")),
              .deviation = numbers(j.at("deviation"))};
  throw Error(ErrorKind::data, "kind: \"" + name + "\" is no activation");
}

}  // namespace

json to_json(const EpochHealth& h) {
  json norms = json::array(), activations = json::array();
  for (const NormHealth& n : h.norms) norms.push_back(to_json(n));
  for (const ActivationHealth& a : h.activations) activations.push_back(to_json(a));
  return {{"epoch", h.epoch},
          {"samples", h.samples},
          {"train_loss", number(h.train_loss)},
          {"train_accuracy", number(h.train_accuracy)},
          {"evaluation_loss", number(h.evaluation_loss)},
          {"evaluation_accuracy", number(h.evaluation_accuracy)},
          {"findings", h.findings},
          {"norms", std::move(norms)},
          {"activations", std::move(activations)}};
}

EpochHealth health_from_json(const json& j) try {
  EpochHealth h{.epoch = j.at("epoch").get<std::int64_t>(),
                .samples = j.at("samples").get<std::int64_t>(),
                .train_loss = number(j.at("train_loss")),
                .train_accuracy = number(j.at("train_accuracy")),
                .evaluation_loss = number(j.at("evaluation_loss")),
                .evaluation_accuracy = number(j.at("evaluation_accuracy")),
                .norms = {},
                .activations = {},
                .findings = j.at("findings").get<std::vector<std::string>>()};
  if (h.epoch < 1) throw Error(ErrorKind::data, "epoch: expected a whole number from 1");
  for (const json& n : j.at("norms")) h.norms.push_back(norm_from(n));
  for (const json& a : j.at("activations")) h.activations.push_back(activation_from(a));
  return h;
} catch (const json::exception& e) {
  throw Error(ErrorKind::data, std::string("not a line of health.jsonl: ") + e.what());
}

std::vector<EpochHealth> read_health(const std::filesystem::path& file) {
  std::vector<EpochHealth> all;
  for_each_json_line(file, [&](const json& j) { all.push_back(health_from_json(j)); });
  return all;
}

}  // namespace norma::app
