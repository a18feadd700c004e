#include "apps/norma/bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace norma::app {
namespace {

// Quantile of sorted values, interpolated linearly between neighbours.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Summary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.5), values.front(), quantile(values, 0.25), quantile(values, 0.75), static_cast<std::int64_t>(values.size())};
}

double geometric_mean(std::span<const double> values) {
  double sum = 0;
  for (const double v : values) sum += std::log(v);
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

nlohmann::ordered_json to_json(const Summary& s) {
  return {{"median", s.median}, {"least", s.least}, {"lower_quartile", s.lower}, {"upper_quartile", s.upper}, {"count", s.count}};
}

}  // namespace norma::app
