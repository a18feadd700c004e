// Random numbers of the generators: a sequence per (seed, purpose, item), from Philox counters, so items can be made in any order.
#pragma once
#include <cstdint>

#include "kernels/philox.h"
#include "src/data/portable_math.h"

namespace norma {

class Draws {
 public:
  // purpose keeps the sequences of one seed apart; item < 2^32 * 2^16, at most 2^16 words are drawn of each.
  Draws(std::uint64_t seed, std::uint32_t purpose, std::uint64_t item) : seed_(seed), purpose_(purpose), item_(item) {}

  std::uint32_t word() {
    if (used_ == 4) {
      block_ = kernels::philox(seed_, {counter_++ | static_cast<std::uint32_t>(item_ >> 32) << 16, static_cast<std::uint32_t>(item_),
                                       purpose_, static_cast<std::uint32_t>(kernels::Stream::generate)});
      used_ = 0;
    }
    return block_[used_++];
  }

  // In [0, 1), 32 bits.
  double uniform() { return word() * 0x1p-32; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // In 0 .. n-1, for n <= 2^32; the bias is below n / 2^64.
  std::uint64_t below(std::uint64_t n) {
    const std::uint64_t high = word() * n, low = word() * n;
    return (high + (low >> 32)) >> 32;
  }
  // Two of N(0, 1).
  std::pair<double, double> normals() {
    const double u1 = (word() + 1.0) * 0x1p-32, u2 = uniform();
    return box_muller(u1, u2);
  }

 private:
  std::uint64_t seed_;
  std::uint32_t purpose_;
  std::uint64_t item_;
  std::uint32_t counter_ = 0;
  unsigned used_ = 4;
  kernels::Philox4 block_{};
};

}  // namespace norma
