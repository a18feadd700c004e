// Weights as whole numbers of eight bits.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace norma {

struct QuantisedWeights {
  std::vector<std::int8_t> values;
  std::vector<float> scales;  // one an output channel: a weight is value * scale
  std::vector<float> floats() const;

  std::vector<std::int32_t> channel;  // of each value
};

// Weights laid (groups, outer, channels, inner): channel c of group g is output channel g * channels + c. (1, 1, out, rest) of a Conv2d or
// a Linear, (groups, C / groups, out / groups, kernel) of a ConvTranspose2d.
struct WeightLayout {
  std::int64_t groups = 1, outer = 1, channels = 1, inner = 1;
};

// The nearest of -127..127 times the scale, which is the channel's largest absolute weight over 127. A channel of zeros, or whose scale no
// normal float holds, becomes 0.
QuantisedWeights quantise(std::span<const float> weights, const WeightLayout& layout);

}  // namespace norma
