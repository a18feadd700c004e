// The weights of Transform::resize.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace norma {

// The triangle filter of each output position along one side, as the Call Resize has it: its first input, and `taps` weights.
struct ResizeFilter {
  std::vector<int> first;
  std::vector<float> weights;
  std::int64_t taps = 0;
};

inline ResizeFilter resize_filter(std::int64_t in, std::int64_t out) {
  ResizeFilter f;
  const double scale = static_cast<double>(in) / static_cast<double>(out), support = std::max(scale, 1.0);
  f.taps = std::min(in, static_cast<std::int64_t>(2 * support) + 1);
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const std::int64_t first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(centre - support + 0.5)), 0, in - f.taps);
    std::vector<double> triangle;
    double sum = 0;
    for (std::int64_t k = 0; k < f.taps; ++k) {
      triangle.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(first + k) + 0.5 - centre) / support));
      sum += triangle.back();
    }
    f.first.push_back(static_cast<int>(first));
    for (const double t : triangle) f.weights.push_back(static_cast<float>(t / sum));
  }
  return f;
}

}  // namespace norma
