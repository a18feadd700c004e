#include "src/data/label_range.h"

#include <algorithm>

namespace norma {

std::string label_range(std::span<const std::int32_t> labels) {
  const auto [smallest, largest] = std::minmax_element(labels.begin(), labels.end());
  const std::string range = std::to_string(*smallest) + " .. " + std::to_string(*largest),
                    count = std::to_string(std::int64_t{*largest} + 1);
  if (*smallest <= 0) return "; the labels are " + range;
  return "; the labels are " + range + ", no label is 0: subtract " + std::to_string(*smallest) + " from each, or take " + count +
         " classes (out = " + count + " in the last layer)";
}

}  // namespace norma
