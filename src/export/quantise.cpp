#include "src/export/quantise.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace norma {

std::vector<float> QuantisedWeights::floats() const {
  std::vector<float> all(values.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(values[i]) * scales[static_cast<std::size_t>(channel[i])];
  return all;
}

QuantisedWeights quantise(std::span<const float> weights, const WeightLayout& layout) {
  QuantisedWeights q;
  q.scales.assign(static_cast<std::size_t>(layout.groups * layout.channels), 0.0f);
  for (std::int64_t g = 0; g < layout.groups; ++g)
    for (std::int64_t o = 0; o < layout.outer; ++o)
      for (std::int64_t c = 0; c < layout.channels; ++c)
        q.channel.insert(q.channel.end(), static_cast<std::size_t>(layout.inner), static_cast<std::int32_t>(g * layout.channels + c));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    float& scale = q.scales[static_cast<std::size_t>(q.channel[i])];
    scale = std::max(scale, std::abs(weights[i]));
  }
  for (float& scale : q.scales) {
    scale /= 127;
    if (scale < std::numeric_limits<float>::min()) scale = 0;
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float scale = q.scales[static_cast<std::size_t>(q.channel[i])];
    q.values.push_back(scale == 0 ? std::int8_t{0} : static_cast<std::int8_t>(std::clamp(std::round(weights[i] / scale), -127.0f, 127.0f)));
  }
  return q;
}

}  // namespace norma
