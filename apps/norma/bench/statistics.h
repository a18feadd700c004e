// Medians and quartiles of what was measured.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace norma::app {

// Order statistics of a sample, in the sample's unit; all 0 where it is empty.
struct Summary {
  double median = 0, least = 0, lower = 0, upper = 0;  // lower, upper: quartiles
  std::int64_t count = 0;

  double spread() const { return median > 0 ? (upper - lower) / median : 0; }  // distance of the quartiles, in medians
};
Summary summarise(std::vector<double> values);
double geometric_mean(std::span<const double> values);

nlohmann::ordered_json to_json(const Summary& s);

}  // namespace norma::app
