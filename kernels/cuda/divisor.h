// Division by a number known before a kernel starts, without dividing (Granlund and Montgomery, "Division by invariant integers using
// multiplication", PLDI 1994).
#pragma once
#include <cstdint>

namespace norma::kernels::cuda {

struct Divisor {
  std::uint32_t d = 1, multiplier = 1, shift = 0;

  constexpr Divisor() = default;
  constexpr explicit Divisor(std::int64_t divisor) : d(static_cast<std::uint32_t>(divisor)) {  // 1 .. 2^31
    while ((std::uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - d) << 32) / d + 1);
  }

  struct Result {
    std::uint32_t quotient, remainder;
  };
  constexpr std::uint32_t quotient(std::uint32_t n) const {
    return static_cast<std::uint32_t>((((std::uint64_t{n} * multiplier) >> 32) + n) >> shift);
  }
  constexpr Result divide(std::uint32_t n) const {
    const std::uint32_t q = quotient(n);
    return {q, n - q * d};
  }
};

// For numbers below 2^62.
struct LargeDivisor {
  __extension__ using Wide = unsigned __int128;
  std::uint64_t d = 1, multiplier = 1;
  std::uint32_t shift = 0;

  constexpr LargeDivisor() = default;
  constexpr explicit LargeDivisor(std::int64_t divisor) : d(static_cast<std::uint64_t>(divisor)) {  // 1 .. 2^62
    while ((std::uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<std::uint64_t>(((Wide{(std::uint64_t{1} << shift) - d} << 64) / d) + 1);
  }

  struct Result {
    std::int64_t quotient, remainder;
  };
  constexpr Result divide(std::int64_t number) const {
    const std::uint64_t n = static_cast<std::uint64_t>(number);
    const std::uint64_t q = (static_cast<std::uint64_t>((Wide{n} * multiplier) >> 64) + n) >> shift;
    return {static_cast<std::int64_t>(q), static_cast<std::int64_t>(n - q * d)};
  }
};

}  // namespace norma::kernels::cuda
