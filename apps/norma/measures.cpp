#include "apps/norma/measures.h"

#include <fmt/format.h>

#include <vector>

#include "apps/norma/words.h"

namespace norma::app {

Measure measure_called(std::string_view name, std::string_view where) {
  std::vector<std::string> known;
  for (const MeasureInfo& m : measures) known.emplace_back(m.name);
  return measures[choose(where, name, known)].measure;
}

std::string shown(Measure m, double value) {
  if (!std::isfinite(value)) return "-";
  return info(m).percent ? fmt::format("{:.2f} %", 100 * value) : fmt::format("{:.4f}", value);
}

}  // namespace norma::app
