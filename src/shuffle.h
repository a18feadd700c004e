// The order of samples in an epoch.
#pragma once
#include <cstdint>
#include <vector>

namespace norma {

// 0 .. n-1.
std::vector<std::int32_t> unshuffled(std::int64_t n);
// Fisher and Yates's shuffle with draws from Philox: depends on (n, seed, epoch) alone.
std::vector<std::int32_t> shuffled(std::int64_t n, std::uint64_t seed, std::int64_t epoch);

}  // namespace norma
