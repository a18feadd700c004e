#include "src/shuffle.h"

#include <numeric>
#include <utility>

#include "kernels/philox.h"

namespace norma {

std::vector<std::int32_t> unshuffled(std::int64_t n) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<std::int32_t> shuffled(std::int64_t n, std::uint64_t seed, std::int64_t epoch) {
  std::vector<std::int32_t> order = unshuffled(n);
  for (std::uint64_t i = static_cast<std::uint64_t>(n); i-- > 1;) {
    const kernels::Philox4 r =
        kernels::philox(seed, {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), static_cast<std::uint32_t>(epoch),
                               static_cast<std::uint32_t>(kernels::Stream::shuffle)});
    // floor(u * (i + 1)) with 64 random bits as u in [0, 1): uniform in 0..i but for a bias below i / 2^64. i < 2^31.
    const std::uint64_t high = r[0] * (i + 1), low = r[1] * (i + 1);
    const std::uint64_t j = (high + (low >> 32)) >> 32;
    std::swap(order[i], order[j]);
  }
  return order;
}

}  // namespace norma
