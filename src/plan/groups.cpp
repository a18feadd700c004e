// Groups of parameters: which pattern fits which name, and what then holds.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/name_pattern.h"
#include "src/plan/lower.h"

namespace norma {
namespace {

std::string named(const ParameterGroup& g) { return begin_of_error(g) + "group \"" + printable(g.pattern) + '"'; }

}  // namespace

bool fits(const ParameterGroup& g, std::string_view name) { return match_pattern(g.pattern, name).has_value(); }

std::string begin_of_error(const ParameterGroup& g) { return g.origin.empty() ? "" : g.origin + ": "; }

ParameterRule rule_of(std::span<const ParameterGroup> groups, std::string_view name) {
  ParameterRule rule;
  for (const ParameterGroup& g : groups) {
    if (!fits(g, name)) continue;
    rule.rate = g.rate.value_or(rule.rate);
    if (g.weight_decay) rule.weight_decay = g.weight_decay;
    rule.frozen_statistics = g.frozen_statistics.value_or(rule.frozen_statistics);
  }
  return rule;
}

void validate(std::span<const ParameterGroup> groups, std::span<const ParameterInfo> parameters, const Optimizer& optimizer) {
  std::vector<std::string> names;
  for (const ParameterInfo& p : parameters) names.push_back(p.name);
  for (const ParameterGroup& g : groups) {
    const std::string of = named(g);
    if (std::ranges::none_of(names, [&](const std::string& name) { return fits(g, name); }))
      throw Error(ErrorKind::usage, of + " fits no parameter" + near_pattern(g.pattern, names));
    const auto check = [&](const char* what, const std::optional<double>& v) {
      if (v && (!(*v >= 0) || !fits_float(*v)))
        throw Error(ErrorKind::usage, of + ": " + what + " must be 0 or a float above it, got " + std::to_string(*v));
    };
    check("rate", g.rate), check("weight_decay", g.weight_decay);
    if (g.rate && !fits_float(*g.rate * learning_rate(optimizer)))
      throw Error(ErrorKind::usage, of + ": rate " + std::to_string(*g.rate) + " times the learning rate is no float");
  }
}

std::vector<double> rate_factors(std::span<const ParameterGroup> groups, std::span<const ParameterInfo> parameters) {
  std::vector<double> factors;
  for (const ParameterInfo& p : parameters) {
    const double rate = rule_of(groups, p.name).rate;
    if (!p.buffer && rate != 1 && rate != 0 && std::ranges::find(factors, rate) == factors.end()) factors.push_back(rate);
  }
  return factors;
}

std::string rates_value(std::size_t k) { return std::string(name_of(DataSlot::rates)) + "/" + std::to_string(k); }

}  // namespace norma
