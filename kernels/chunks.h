// The one map from a problem's size to its parts. It never looks at the number of threads. Partial sums are thus the same, and are combined
// in the same order, for any number of threads.
#pragma once
#include <cstdint>

namespace norma::kernels {

struct Range {
  std::int64_t begin, end;
};

// Part k of `total` items cut into `parts` nearly equal, ordered ranges.
constexpr Range chunk(std::int64_t total, std::int64_t parts, std::int64_t k) { return {total * k / parts, total * (k + 1) / parts}; }

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// A flat pass over n elements is cut into parts of this many.
inline constexpr std::int64_t flat_chunk = 8192;

}  // namespace norma::kernels
