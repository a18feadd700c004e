// The net, data and checks that the tests of Trainer share.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "norma/norma.h"

namespace norma::test {

// Noise with a bright bar whose place is the label: (2,9,8), three classes. Not square, so that no two sizes are mixed up.
inline Dataset bars(std::int64_t n, std::uint32_t seed = 1) {
  Dataset d;
  d.name = "bars";
  d.sample = {2, 9, 8};
  d.classes = {"left", "middle", "right"};
  for (std::int64_t i = 0; i < n; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const std::int32_t label = static_cast<std::int32_t>((seed >> 16) % 3);
    d.labels.push_back(label);
    for (int e = 0; e < 144; ++e) {
      seed = seed * 1664525u + 1013904223u;
      const bool bar = e % 8 / 2 == label + (e >= 72 ? 1 : 0);
      d.bytes.push_back(static_cast<std::uint8_t>((seed >> 25) + (bar ? 60 : 0)));
    }
  }
  return d;
}

inline Dataset slice(const Dataset& d, std::int64_t first, std::int64_t count) {
  Dataset part = d;
  const std::int64_t size = d.sample.elements();
  part.bytes.assign(d.bytes.begin() + first * size, d.bytes.begin() + (first + count) * size);
  part.labels.assign(d.labels.begin() + first, d.labels.begin() + first + count);
  return part;
}

// Every kind of state a run has: statistics, dropout's counters, two kinds of parameters.
inline const nn::Sequential net{nn::Conv2d{.out = 5, .kernel = 3},
                                nn::BatchNorm{},
                                nn::ReLU{},
                                nn::MaxPool2d{},
                                nn::Flatten{},
                                nn::Linear{.out = 12},
                                nn::BatchNorm{},
                                nn::Sigmoid{},
                                nn::Dropout{.p = 0.2},
                                nn::Linear{.out = 3}};

inline TrainerOptions options() {
  return {.input = {2, 9, 8}, .batch = 40, .optimizer = Adam{.lr = 0.01}, .transform = {.mean = {0.3, 0.4}, .stddev = {0.5}}, .seed = 11};
}

inline std::string bytes_of(const Checkpoint& c) {
  std::string all;
  for (const StoredTensor& t : c.tensors) {
    all += t.name;
    all.append(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
  }
  return all;
}

}  // namespace norma::test
