#include "apps/norma/compare/measures.h"

#include <fmt/format.h>

#include <vector>

#include "apps/norma/system/choices.h"

namespace norma::app {

Measure measure_called(std::string_view name, std::string_view where) {
  std::vector<std::string> known;
  for (const MeasureInfo& m : measures) known.emplace_back(m.name);
  return measures[choose(where, name, known)].measure;
}

std::string shown(Measure m, double value) {
  if (!std::isfinite(value)) return "-";
  const std::string text = info(m).percent ? fmt::format("{:.2f}", 100 * value) : fmt::format("{:.4f}", value);
  const bool is_zero = text.find_first_not_of("-0.") == std::string::npos;  // not -0.0000
  return text.substr(is_zero && text[0] == '-' ? 1 : 0) + (info(m).percent ? " %" : "");
}

}  // namespace norma::app
