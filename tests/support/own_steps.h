// Batches, losses and a set without labels, for tests of steps of one's own.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "norma/norma.h"

namespace norma::test {

// Samples of a set in another order.
struct Picked {
  std::vector<std::uint8_t> bytes;
  std::vector<float> floats, targets;
  std::vector<std::int32_t> labels;
  Batch batch() const { return {bytes, floats, labels, targets}; }
};
inline Picked pick(const Dataset& data, std::span<const std::int32_t> samples) {
  Picked p;
  const auto features = static_cast<std::size_t>(data.sample.elements());
  const std::size_t outputs = data.targets.size() / static_cast<std::size_t>(data.size());
  for (const std::int32_t number : samples) {
    const auto i = static_cast<std::size_t>(number);
    const auto copy = [i](const auto& from, auto& to, std::size_t n) {
      for (std::size_t k = 0; k < n && !from.empty(); ++k) to.push_back(from[i * n + k]);
    };
    copy(data.bytes, p.bytes, features), copy(data.floats, p.floats, features);
    copy(data.labels, p.labels, 1), copy(data.targets, p.targets, outputs);
  }
  return p;
}

// f(batch) for each of an epoch, as fit takes them.
template <class F>
void for_each_batch(const Trainer& t, const Dataset& data, std::int64_t epoch, std::int64_t size, F f) {
  const std::vector<std::int32_t> order = t.sample_order(data.size(), epoch);
  for (std::size_t at = 0; at < order.size(); at += static_cast<std::size_t>(size)) {
    const std::size_t n = std::min(order.size() - at, static_cast<std::size_t>(size));
    f(pick(data, std::span(order).subspan(at, n)).batch());
  }
}

// The softmax cross entropy, as PyTorch's mean.
inline double cross_entropy(const LossInput& in, std::span<float> gradient) {
  const std::size_t n = static_cast<std::size_t>(in.samples), classes = in.outputs.size() / n;
  double loss = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const float* z = &in.outputs[i * classes];
    const float top = *std::max_element(z, z + classes);
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(z[c] - top));
    const auto label = static_cast<std::size_t>(in.labels[i]);
    loss += std::log(sum) - static_cast<double>(z[label] - top);
    for (std::size_t c = 0; c < classes && !gradient.empty(); ++c)
      gradient[i * classes + c] =
          static_cast<float>((std::exp(static_cast<double>(z[c] - top)) / sum - (c == label ? 1 : 0)) / static_cast<double>(n));
  }
  return loss / static_cast<double>(n);
}

inline double huber(const LossInput& in, std::span<float> gradient) {
  double loss = 0;
  const auto n = static_cast<double>(in.outputs.size());
  for (std::size_t i = 0; i < in.outputs.size(); ++i) {
    const double d = static_cast<double>(in.outputs[i]) - static_cast<double>(in.targets[i]);
    loss += std::abs(d) < 1 ? d * d / 2 : std::abs(d) - 0.5;
    if (!gradient.empty()) gradient[i] = static_cast<float>(std::clamp(d, -1.0, 1.0) / n);
  }
  return loss / n;
}

// Points of a line y = 2 a - b + 1 and its negative, with targets of two numbers.
inline Dataset line(std::int64_t n) {
  Dataset d;
  d.name = "line", d.sample = {2};
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = static_cast<float>(i % 7) / 7 - 0.4f, b = static_cast<float>(i % 5) / 5 - 0.3f;
    d.floats.insert(d.floats.end(), {a, b});
    d.targets.insert(d.targets.end(), {2 * a - b + 1, b - 2 * a - 1});
  }
  return d;
}

}  // namespace norma::test
