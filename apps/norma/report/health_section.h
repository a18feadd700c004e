// The report's section on batch norms and activations, from health.jsonl.
#pragma once
#include <span>
#include <string>

#include "apps/norma/draw/svg.h"
#include "apps/norma/health/health.h"

namespace norma::app {

// Empty without epochs, and of a net that has neither. epochs: ascending.
std::string health_section(std::span<const EpochHealth> epochs);

// Histograms of one value by epoch: a column each, bins upwards. A bin is the darker, the larger its share of the column. At most 40 epochs
// are shown, evenly spaced, the last among them.
struct HistogramsByEpoch {
  std::string title;
  std::vector<std::int64_t> epochs;
  std::vector<Histogram> histograms;  // one an epoch; none of them empty
};
Panel panel(const HistogramsByEpoch& h);

}  // namespace norma::app
