// Finds the samples of the set that a batch holds. The order of a shuffled epoch is looked up, not stored. Every device finds each of its
// samples alone, from (seed, epoch, size of the set), and all find the same.
//
// The order is a permutation of 0..n-1: "VariablePhilox" of Mitchell, Stokes, Frank and Holmes, "Bandwidth-optimal random shuffling for
// GPUs" (ACM Transactions on Parallel Computing 9, 2022). It is a Feistel network of 24 rounds over the bits of n-1, but 6 at least. With 4
// bits some orders of few samples come twice as often as others. A result beyond n-1 is put in again until one is not.
#pragma once
#include <array>
#include <cstdint>

#include "kernels/memory.h"
#include "kernels/philox.h"

namespace norma::kernels {

class BatchOrder {
 public:
  constexpr BatchOrder(const StepState& s, bool shuffle) : position_(s.position), population_(s.population), shuffle_(shuffle) {
    if (!shuffle) return;
    int bits = 6;
    while (bits < 31 && (s.population - 1) >> bits != 0) ++bits;
    low_bits_ = bits / 2, high_bits_ = bits - low_bits_;
    for (std::uint32_t i = 0; i < keys_.size(); ++i)
      keys_[i] = philox(s.seed, {i, 0, static_cast<std::uint32_t>(s.epoch), static_cast<std::uint32_t>(Stream::shuffle)});
  }

  // The index in the set of the batch's sample i; also of samples after the batch, to the end of the epoch.
  constexpr std::int64_t operator[](std::int64_t i) const {
    std::int64_t at = position_ + i;
    if (!shuffle_) return at;
    do at = permuted(static_cast<std::uint32_t>(at));
    while (at >= population_);
    return at;
  }

 private:
  // (left, right) -> (F(left) ^ key ^ right, left * M and what right had more): a bijection, as M is odd.
  constexpr std::uint32_t permuted(std::uint32_t at) const {
    const std::uint32_t left_mask = (1u << low_bits_) - 1, right_mask = (1u << high_bits_) - 1;
    std::uint32_t left = at >> high_bits_, right = at & right_mask;
    for (const Philox4& words : keys_)
      for (int k = 0; k < 8; ++k) {  // a round needs 15 bits of key at most: two to a word
        const std::uint32_t key = words[static_cast<std::size_t>(k / 2)] >> (k % 2 * 16);
        const std::uint64_t product = std::uint64_t{0xD2B74407B1CE6E93} * left;
        const std::uint32_t low = static_cast<std::uint32_t>(product) << (high_bits_ - low_bits_) | right >> low_bits_;
        left = (static_cast<std::uint32_t>(product >> 32) ^ key ^ right) & left_mask;
        right = low & right_mask;
      }
    return left << high_bits_ | right;
  }

  std::int64_t position_, population_;
  bool shuffle_;
  int low_bits_ = 0, high_bits_ = 0;
  std::array<Philox4, 3> keys_{};
};

}  // namespace norma::kernels
