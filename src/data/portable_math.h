// log, sine and cosine in double from +, -, *, / alone, so that they give the same bits with every C library and processor
// (built with -ffp-contract=off). libm's differ in the last bit between versions and between its FMA and plain code paths.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

namespace norma {

// Natural logarithm of a positive, normal x; relative error below 1e-15 of the larger terms.
// x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.172.
inline double portable_log(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  if (m > 1.4142135623730951) {
    m /= 2;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double sum = 0;
  for (int k = 21; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
  return exponent * 0.6931471805599453 + 2 * s * sum;
}

// (cos, sin) of 2 pi `turns`, for turns in [0, 1]; absolute error below 4e-16. The reduction to an eighth of a turn is exact.
inline std::pair<double, double> cos_sin_turns(double turns) {
  const int quarter = static_cast<int>(turns * 4 + 0.5);
  const double a = (turns - quarter * 0.25) * 6.283185307179586, z = a * a;  // |a| <= pi/4
  double c = 0, s = 0;
  for (int k = 16; k >= 2; k -= 2) {
    c = (1 - c) * z / (k * (k - 1));
    s = (1 - s) * z / (k * (k + 1));
  }
  c = 1 - c;
  s = (1 - s) * a;
  switch (quarter & 3) {
    case 0: return {c, s};
    case 1: return {-s, c};
    case 2: return {-c, -s};
    default: return {s, -c};
  }
}

// Two independent N(0,1) from u1 in (0,1] and u2 in [0,1) (Box and Muller 1958). std::sqrt is exact to the last bit everywhere (IEEE 754).
inline std::pair<double, double> box_muller(double u1, double u2) {
  const double radius = std::sqrt(-2 * portable_log(u1));
  const auto [c, s] = cos_sin_turns(u2);
  return {radius * c, radius * s};
}

}  // namespace norma
