// exp, log, tanh and sigmoid of 16 lanes: range reduction and a polynomial (S. Moshier's single-precision Cephes coefficients),
// evaluated with explicit fused multiply-adds, so that every level gives the same bits. NaN propagates.
#pragma once
#include <limits>

#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// inf above 88.7228, gradual underflow to 0 below -87.3365.
NORMA_INLINE V exp(V x) {
  // Beyond these ends the result is inf or 0 by rounding alone. The order of operands turns NaN into the lower end.
  const V clamped = min(max(x, set1(-104.0f)), set1(89.0f));
  const V n = round(clamped * set1(1.44269504088896341f));
  V r = fma(n, set1(-0.693359375f), clamped);  // ln 2 in two parts, the first with few bits: n times it is exact
  r = fma(n, set1(2.12194440e-4f), r);
  V p = fma(set1(1.9875691500e-4f), r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, r * r, r) + set1(1.0f);
  const V half = round(n * set1(0.5f));  // n in -150 .. 128 is out of one scale2's range
  return select(isnan(x), x, scale2(scale2(p, half), n - half));
}

// -inf at 0, NaN below.
NORMA_INLINE V log(V x) {
  const M subnormal = lt(x, set1(std::numeric_limits<float>::min()));
  const V scaled = select(subnormal, x * set1(0x1p24f), x);
  V e = exponent(scaled) - select(subnormal, set1(24.0f), zero());
  V m = mantissa(scaled);
  const M upper = gt(m, set1(1.41421356f));  // m to [sqrt(1/2), sqrt(2)]
  m = select(upper, m * set1(0.5f), m);
  e = select(upper, e + set1(1.0f), e);
  const V z = m - set1(1.0f), zz = z * z;
  V p = fma(set1(7.0376836292e-2f), z, set1(-1.1514610310e-1f));
  p = fma(p, z, set1(1.1676998740e-1f));
  p = fma(p, z, set1(-1.2420140846e-1f));
  p = fma(p, z, set1(1.4249322787e-1f));
  p = fma(p, z, set1(-1.6668057665e-1f));
  p = fma(p, z, set1(2.0000714765e-1f));
  p = fma(p, z, set1(-2.4999993993e-1f));
  p = fma(p, z, set1(3.3333331174e-1f));
  V y = fma(e, set1(-2.12194440e-4f), p * z * zz);
  y = fma(set1(-0.5f), zz, y);
  y = fma(e, set1(0.693359375f), z + y);
  const V inf = set1(std::numeric_limits<float>::infinity());
  y = select(eq(x, inf), inf, y);
  y = select(eq(x, zero()), -inf, y);
  y = select(lt(x, zero()), set1(std::numeric_limits<float>::quiet_NaN()), y);
  return select(isnan(x), x, y);
}

// 1 / (1 + exp(-x)), from the exponential that cannot overflow.
NORMA_INLINE V sigmoid(V x) {
  const V e = exp(-abs(x));
  return select(lt(x, zero()), e, set1(1.0f)) / (set1(1.0f) + e);
}

NORMA_INLINE V tanh(V x) {
  const V a = abs(x), s = x * x;
  V p = fma(set1(-5.70498872745e-3f), s, set1(2.06390887954e-2f));
  p = fma(p, s, set1(-5.37397155531e-2f));
  p = fma(p, s, set1(1.33314422036e-1f));
  p = fma(p, s, set1(-3.33332819422e-1f));
  const V small = fma(p * s, x, x);
  const V large = set1(1.0f) - set1(2.0f) / (exp(a + a) + set1(1.0f));
  const V y = select(lt(a, set1(0.625f)), small, select(lt(x, zero()), -large, large));
  return select(isnan(x), x, y);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
