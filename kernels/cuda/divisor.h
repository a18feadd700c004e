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

}  // namespace norma::kernels::cuda
