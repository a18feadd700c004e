// Groups of parameters: which pattern fits which name, and what then holds.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/text.h"
#include "src/plan/lower.h"

namespace norma {
namespace {

std::string named(const ParameterGroup& g) { return begin_of_error(g) + "group \"" + printable(g.pattern) + '"'; }

}  // namespace

// '*' stands for any text.
bool fits(const ParameterGroup& g, std::string_view name) {
  const std::string_view pattern = g.pattern;
  std::size_t star = std::string_view::npos, retry = 0, p = 0, n = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') star = p++, retry = n;
    else if (p < pattern.size() && pattern[p] == name[n]) ++p, ++n;
    else if (star != std::string_view::npos) p = star + 1, n = ++retry;
    else return false;
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

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
  std::vector<std::string> names, layers;  // layers: "conv1.*"
  for (const ParameterInfo& p : parameters) {
    names.push_back(p.name);
    layers.push_back(p.name.substr(0, p.name.rfind('.')) + ".*");
  }
  for (const ParameterGroup& g : groups) {
    const std::string of = named(g);
    if (std::ranges::none_of(names, [&](const std::string& name) { return fits(g, name); })) {
      const std::string near = did_you_mean(g.pattern, g.pattern.ends_with(".*") ? layers : names);
      throw Error(ErrorKind::usage, of + " fits no parameter" + (near.empty() ? "; each '*' stands for any text" : near));
    }
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
