// Text for errors about labels out of range: names the labels there are.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace norma {

// "; the labels are 1 .. 26, none is 0: ..."
std::string label_range(std::span<const std::int32_t> labels);

}  // namespace norma
