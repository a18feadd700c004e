// exp, log, tanh and sigmoid: the CPU's range reduction and polynomials (kernels/cpu/math.h), operation for operation, so that both give
// the same bits. NaN propagates.
#pragma once
#include "device.cuh"

namespace norma::kernels::cuda {

// p * 2^n for a whole n in -126 .. 127
__device__ __forceinline__ float scale2(float p, float n) { return p * __int_as_float((static_cast<int>(n) + 127) << 23); }

// inf above 88.7228, gradual underflow to 0 below -87.3365.
__device__ __forceinline__ float exponential(float x) {
  const float clamped = x > -104.0f ? (x < 89.0f ? x : 89.0f) : -104.0f;
  const float n = rintf(clamped * 1.44269504088896341f);
  float r = fmaf(n, -0.693359375f, clamped);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = fmaf(1.9875691500e-4f, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.0f;
  const float half = rintf(n * 0.5f);
  return x != x ? x : scale2(scale2(p, half), n - half);
}

// -inf at 0, NaN below.
__device__ __forceinline__ float logarithm(float x) {
  if (x != x || x == __int_as_float(0x7F800000)) return x;
  if (x == 0.0f) return __int_as_float(static_cast<int>(0xFF800000u));
  if (x < 0.0f) return __int_as_float(0x7FC00000);
  const bool subnormal = x < 0x1p-126f;
  const int bits = __float_as_int(subnormal ? x * 0x1p24f : x);
  float e = static_cast<float>((bits >> 23) - 127) - (subnormal ? 24.0f : 0.0f);
  float m = __int_as_float((bits & 0x007FFFFF) | 0x3F800000);
  if (m > 1.41421356f) m *= 0.5f, e += 1.0f;
  const float z = m - 1.0f, zz = z * z;
  float p = fmaf(7.0376836292e-2f, z, -1.1514610310e-1f);
  p = fmaf(p, z, 1.1676998740e-1f);
  p = fmaf(p, z, -1.2420140846e-1f);
  p = fmaf(p, z, 1.4249322787e-1f);
  p = fmaf(p, z, -1.6668057665e-1f);
  p = fmaf(p, z, 2.0000714765e-1f);
  p = fmaf(p, z, -2.4999993993e-1f);
  p = fmaf(p, z, 3.3333331174e-1f);
  float y = fmaf(e, -2.12194440e-4f, p * z * zz);
  y = fmaf(-0.5f, zz, y);
  return fmaf(e, 0.693359375f, z + y);
}

__device__ __forceinline__ float sigmoid(float x) {
  const float e = exponential(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

__device__ __forceinline__ float hyperbolic_tangent(float x) {
  const float a = fabsf(x), s = x * x;
  if (a < 0.625f) {
    float p = fmaf(-5.70498872745e-3f, s, 2.06390887954e-2f);
    p = fmaf(p, s, -5.37397155531e-2f);
    p = fmaf(p, s, 1.33314422036e-1f);
    p = fmaf(p, s, -3.33332819422e-1f);
    return fmaf(p * s, x, x);
  }
  const float large = 1.0f - 2.0f / (exponential(a + a) + 1.0f);
  return x != x ? x : x < 0.0f ? -large : large;
}

// v is variance + eps; 0 gives 0 (kernels/cpu/batch_norm.h says why).
__device__ __forceinline__ double reciprocal_std(double v) { return v == 0 ? 0 : 1 / sqrt(v); }

}  // namespace norma::kernels::cuda
