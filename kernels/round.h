// Rounds to the precisions that factors of products can have, to nearest, as tensor cores' own conversions do it. Of two equally near, tf32
// takes the one away from 0, bf16 the even one. Beyond the largest number lies infinity; NaN stays NaN.
#pragma once
#include <bit>
#include <cstdint>

#include "norma/types.h"

namespace norma::kernels {

constexpr float round_to_tf32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t to_nearest = (bits & 0x7F800000u) == 0x7F800000u ? bits : bits + 0x1000u;
  return std::bit_cast<float>((x != x ? bits | 0x00400000u : to_nearest) & 0xFFFFE000u);
}

constexpr float round_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t to_nearest = bits + 0x7FFFu + (bits >> 16 & 1u);  // infinity stays
  return std::bit_cast<float>((x != x ? bits | 0x00400000u : to_nearest) & 0xFFFF0000u);
}

constexpr float round_to(float x, Precision p) {
  return p == Precision::tf32 ? round_to_tf32(x) : p == Precision::bf16 ? round_to_bf16(x) : x;
}

}  // namespace norma::kernels
