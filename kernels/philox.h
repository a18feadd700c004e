// Philox4x32-10 is the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11). The same (key,
// counter) gives the same four words on every device. Random numbers of nets, training and data sets come from here. Only make_circles
// draws from std::mt19937, as scikit-learn does.
#pragma once
#include <array>
#include <cstdint>

namespace norma::kernels {

using Philox4 = std::array<std::uint32_t, 4>;

constexpr Philox4 philox(std::uint64_t key, Philox4 c) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0], p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1), static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1,
         static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

// In [0, 1), 24 bits: exact in float.
constexpr float uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Use of a counter, by its last words, so that no two uses draw the same numbers.
enum class Stream : std::uint32_t { initialise = 1, shuffle = 2, dropout = 3, generate = 4 };

// Dropout's draw for element e of a layer at a step.
constexpr float dropout_uniform(std::uint64_t seed, std::int64_t step, std::int64_t layer, std::int64_t e) {
  const std::uint64_t block = static_cast<std::uint64_t>(e) / 4;
  const Philox4 r =
      philox(seed, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32) ^ (static_cast<std::uint32_t>(layer) << 8),
                    static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(Stream::dropout)});
  return uniform(r[static_cast<std::size_t>(e % 4)]);
}

}  // namespace norma::kernels
