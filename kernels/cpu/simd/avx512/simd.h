// The 16-lane vector of the CPU kernels on AVX-512 (F, BW, DQ, VL): one register.
// simd/avx2 and simd/generic have the same names with the same results; the include path picks one. All use only IEEE operations and
// explicit fused multiply-adds. Every level thus gives the same bits (a NaN's sign and payload excepted).
#pragma once
#include <immintrin.h>

#include <cstdint>

// Some intrinsics are the zero-masked form with all lanes on. It is the same instruction without the plain form's undefined operand, about
// which GCC 12 warns (its bug 105593).

#define NORMA_INLINE [[gnu::always_inline]] inline

namespace norma::kernels::cpu::NORMA_ISA {

inline constexpr __mmask16 all_lanes = 0xffff;

struct V {  // 16 floats
  __m512 v;
};
struct I {  // 16 int32; sums and shifts wrap
  __m512i v;
};
struct M {  // a truth value per lane
  __mmask16 v;
};

// Memory. load and store need 64-byte alignment; loadu and storeu none beyond the element's.
NORMA_INLINE V load(const float* p) { return {_mm512_load_ps(p)}; }
NORMA_INLINE V loadu(const float* p) { return {_mm512_loadu_ps(p)}; }
NORMA_INLINE void store(float* p, V a) { _mm512_store_ps(p, a.v); }
NORMA_INLINE void stream(float* p, V a) { _mm512_stream_ps(p, a.v); }  // as store, past the caches
NORMA_INLINE void end_stream() { _mm_sfence(); }                       // before another thread reads streamed data
NORMA_INLINE void storeu(float* p, V a) { _mm512_storeu_ps(p, a.v); }
NORMA_INLINE V set1(float x) { return {_mm512_set1_ps(x)}; }
NORMA_INLINE V zero() { return {_mm512_setzero_ps()}; }

NORMA_INLINE V operator+(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
NORMA_INLINE V operator-(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
NORMA_INLINE V operator*(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
NORMA_INLINE V operator/(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
NORMA_INLINE V operator-(V a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
NORMA_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }       // a*b + c, rounded once
NORMA_INLINE V min(V a, V b) { return {_mm512_maskz_min_ps(all_lanes, a.v, b.v)}; }  // a < b ? a : b
NORMA_INLINE V max(V a, V b) { return {_mm512_maskz_max_ps(all_lanes, a.v, b.v)}; }  // a > b ? a : b
NORMA_INLINE V sqrt(V a) { return {_mm512_maskz_sqrt_ps(all_lanes, a.v)}; }
NORMA_INLINE V abs(V a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
NORMA_INLINE V round(V a) {
  return {_mm512_maskz_roundscale_ps(all_lanes, a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}  // ties to even

// Masks. Comparisons with a NaN are false.
NORMA_INLINE M gt(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
NORMA_INLINE M ge(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
NORMA_INLINE M lt(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
NORMA_INLINE M eq(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
NORMA_INLINE M isnan(V a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
NORMA_INLINE M first(int n) { return {static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << n) - 1u)}; }  // lanes l < n, n >= 0
NORMA_INLINE M operator&(M a, M b) { return {static_cast<__mmask16>(a.v & b.v)}; }
NORMA_INLINE M operator|(M a, M b) { return {static_cast<__mmask16>(a.v | b.v)}; }
NORMA_INLINE M operator~(M a) { return {static_cast<__mmask16>(~a.v)}; }
NORMA_INLINE unsigned bits(M a) { return a.v; }  // bit l is lane l
NORMA_INLINE bool any(M a) { return a.v != 0; }
NORMA_INLINE V select(M m, V a, V b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }  // m ? a : b
NORMA_INLINE I select(M m, I a, I b) { return {_mm512_mask_blend_epi32(m.v, b.v, a.v)}; }

// Integers.
NORMA_INLINE I set1(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
NORMA_INLINE I load_i32(const std::int32_t* p) { return {_mm512_loadu_si512(p)}; }
NORMA_INLINE I load_u8(const std::uint8_t* p) {
  return {_mm512_maskz_cvtepu8_epi32(all_lanes, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
NORMA_INLINE void store_i32(std::int32_t* p, I a) { _mm512_storeu_si512(p, a.v); }
// Lanes must be in 0 .. 255.
NORMA_INLINE void store_u8(std::uint8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(all_lanes, a.v));
}
NORMA_INLINE I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
NORMA_INLINE I operator-(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
NORMA_INLINE I operator&(I a, I b) { return {_mm512_and_epi32(a.v, b.v)}; }
NORMA_INLINE I operator|(I a, I b) { return {_mm512_or_epi32(a.v, b.v)}; }
template <int n>
NORMA_INLINE I shift_left(I a) {
  return {_mm512_maskz_slli_epi32(all_lanes, a.v, n)};
}
template <int n>
NORMA_INLINE I shift_right(I a) {  // zeros come in
  return {_mm512_maskz_srli_epi32(all_lanes, a.v, n)};
}
NORMA_INLINE M eq(I a, I b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
NORMA_INLINE I bits_of(V a) { return {_mm512_castps_si512(a.v)}; }
NORMA_INLINE V from_bits(I a) { return {_mm512_castsi512_ps(a.v)}; }
NORMA_INLINE I to_int(V a) { return {_mm512_maskz_cvtps_epi32(all_lanes, a.v)}; }  // nearest, ties to even; |a| < 2^31
NORMA_INLINE V to_float(I a) { return {_mm512_maskz_cvtepi32_ps(all_lanes, a.v)}; }

NORMA_INLINE __m256 low_half(V a) { return _mm512_maskz_extractf32x8_ps(0xff, a.v, 0); }
NORMA_INLINE __m256 high_half(V a) { return _mm512_maskz_extractf32x8_ps(0xff, a.v, 1); }

// Sum of the lanes, as a tree of halves: t[i] = a[i] + a[i+8], then + 4, + 2, + 1.
NORMA_INLINE float reduce_add(V a) {
  const __m256 t8 = _mm256_add_ps(low_half(a), high_half(a));
  const __m128 t4 = _mm_add_ps(_mm256_castps256_ps128(t8), _mm256_extractf128_ps(t8, 1));
  const __m128 t2 = _mm_add_ps(t4, _mm_movehl_ps(t4, t4));
  return _mm_cvtss_f32(_mm_add_ss(t2, _mm_movehdup_ps(t2)));
}
// Lane i: reduce_add of the 16 floats at p + 16*i, with its bits; 64-byte aligned.
NORMA_INLINE V reduce_add_rows(const float* p) {
  __m512 t8[8], t4[4], t2[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {  // vectors 4*(i%2*2) + i/2 and the one 4 further: the order in which the last step leaves them
    const float* row = p + 16 * (i % 2 * 8 + i / 2);
    const __m512 a = _mm512_load_ps(row), b = _mm512_load_ps(row + 64);
    t8[i] = _mm512_add_ps(_mm512_maskz_shuffle_f32x4(all_lanes, a, b, 0x44), _mm512_maskz_shuffle_f32x4(all_lanes, a, b, 0xee));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    t4[i] = _mm512_add_ps(_mm512_maskz_shuffle_f32x4(all_lanes, t8[2 * i], t8[2 * i + 1], 0x88),
                          _mm512_maskz_shuffle_f32x4(all_lanes, t8[2 * i], t8[2 * i + 1], 0xdd));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    t2[i] = _mm512_add_ps(_mm512_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0x44), _mm512_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0xee));
  return {_mm512_add_ps(_mm512_shuffle_ps(t2[0], t2[1], 0x88), _mm512_shuffle_ps(t2[0], t2[1], 0xdd))};
}
// to[j*to_row + i] = from[i*from_row + j], i, j < 16; rows are 64-byte aligned.
NORMA_INLINE void transpose(float* to, std::int64_t to_row, const float* from, std::int64_t from_row) {
  __m512 a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_load_ps(from + i * from_row);
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // 4 x 4 within each quarter of four rows
    const __m512 low01 = _mm512_maskz_unpacklo_ps(all_lanes, a[i], a[i + 1]), high01 = _mm512_maskz_unpackhi_ps(all_lanes, a[i], a[i + 1]);
    const __m512 low23 = _mm512_maskz_unpacklo_ps(all_lanes, a[i + 2], a[i + 3]),
                 high23 = _mm512_maskz_unpackhi_ps(all_lanes, a[i + 2], a[i + 3]);
    b[i] = _mm512_shuffle_ps(low01, low23, 0x44);
    b[i + 1] = _mm512_shuffle_ps(low01, low23, 0xee);
    b[i + 2] = _mm512_shuffle_ps(high01, high23, 0x44);
    b[i + 3] = _mm512_shuffle_ps(high01, high23, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // b[4*r + i] holds columns i, 4+i, 8+i, 12+i of rows 4*r .. 4*r+3
    const __m512 even01 = _mm512_maskz_shuffle_f32x4(all_lanes, b[i], b[4 + i], 0x88),
                 odd01 = _mm512_maskz_shuffle_f32x4(all_lanes, b[i], b[4 + i], 0xdd);
    const __m512 even23 = _mm512_maskz_shuffle_f32x4(all_lanes, b[8 + i], b[12 + i], 0x88);
    const __m512 odd23 = _mm512_maskz_shuffle_f32x4(all_lanes, b[8 + i], b[12 + i], 0xdd);
    _mm512_store_ps(to + i * to_row, _mm512_maskz_shuffle_f32x4(all_lanes, even01, even23, 0x88));
    _mm512_store_ps(to + (4 + i) * to_row, _mm512_maskz_shuffle_f32x4(all_lanes, odd01, odd23, 0x88));
    _mm512_store_ps(to + (8 + i) * to_row, _mm512_maskz_shuffle_f32x4(all_lanes, even01, even23, 0xdd));
    _mm512_store_ps(to + (12 + i) * to_row, _mm512_maskz_shuffle_f32x4(all_lanes, odd01, odd23, 0xdd));
  }
}
// Sums in the same tree over the lanes widened to double.
NORMA_INLINE double reduce_add_double(V a) {
  const __m512d t8 = _mm512_add_pd(_mm512_maskz_cvtps_pd(0xff, low_half(a)), _mm512_maskz_cvtps_pd(0xff, high_half(a)));
  const __m256d t4 = _mm256_add_pd(_mm512_maskz_extractf64x4_pd(0xf, t8, 0), _mm512_maskz_extractf64x4_pd(0xf, t8, 1));
  const __m128d t2 = _mm_add_pd(_mm256_castpd256_pd128(t4), _mm256_extractf128_pd(t4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(t2, _mm_unpackhi_pd(t2, t2)));
}

// One machine register's share of the 16 lanes, for kernels blocked for registers. Lanes p*register_lanes and on are part p of a V. The
// parts never meet, so the result is that of V.
using Register = V;
inline constexpr int registers = 32, register_lanes = 16;
NORMA_INLINE Register load_register(const float* p) { return load(p); }
NORMA_INLINE void store_register(float* p, Register a) { store(p, a); }
NORMA_INLINE Register loadu_register(const float* p) { return loadu(p); }
NORMA_INLINE void storeu_register(float* p, Register a) { storeu(p, a); }
NORMA_INLINE Register broadcast(float x) { return set1(x); }

}  // namespace norma::kernels::cpu::NORMA_ISA

#include "kernels/cpu/simd/derived.h"
