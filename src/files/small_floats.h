// Floats of 16 bits and fewer, as safetensors files hold them, and their values. All of them are floats exactly.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace norma {

// IEEE's half precision.
inline float of_f16(std::uint16_t h) {
  const std::uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 0x1fu, fraction = h & 0x3ffu;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * static_cast<float>(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13);
}

inline float of_bf16(std::uint16_t h) { return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16); }

// The next three: Open Compute Project, OFP8 (2023) and Microscaling Formats (2023). E4M3 has no infinity.
inline float of_f8_e4m3(std::uint8_t b) {
  const int exponent = b >> 3 & 15, fraction = b & 7;
  if ((b & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude =
      exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9) : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return b & 0x80 ? -magnitude : magnitude;
}

// The upper byte of a half.
inline float of_f8_e5m2(std::uint8_t b) { return of_f16(static_cast<std::uint16_t>(b << 8)); }

// A power of two.
inline float of_f8_e8m0(std::uint8_t b) { return b == 0xff ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, b - 127); }

// E2M1, of the lower four bits.
inline float of_f4(int bits) {
  constexpr float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return bits & 8 ? -values[bits & 7] : values[bits & 7];
}

}  // namespace norma
