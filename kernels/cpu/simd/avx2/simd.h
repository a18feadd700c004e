// The 16-lane vector of the CPU kernels on AVX2 and FMA: two registers.
// simd/avx512 and simd/generic have the same names with the same results; the include path picks one. All use only IEEE operations and
// explicit fused multiply-adds. Every level thus gives the same bits (a NaN's sign and payload excepted).
#pragma once
#include <immintrin.h>

#include <cstdint>

#define NORMA_INLINE [[gnu::always_inline]] inline

namespace norma::kernels::cpu::NORMA_ISA {

struct V {  // 16 floats
  __m256 lo, hi;
};
struct I {  // 16 int32; sums and shifts wrap
  __m256i lo, hi;
};
struct M {  // a truth value per lane: all bits or none
  __m256 lo, hi;
};

// Memory. load and store need 64-byte alignment; loadu and storeu none beyond the element's.
NORMA_INLINE V load(const float* p) { return {_mm256_load_ps(p), _mm256_load_ps(p + 8)}; }
NORMA_INLINE V loadu(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
NORMA_INLINE void store(float* p, V a) { _mm256_store_ps(p, a.lo), _mm256_store_ps(p + 8, a.hi); }
NORMA_INLINE void stream(float* p, V a) { _mm256_stream_ps(p, a.lo), _mm256_stream_ps(p + 8, a.hi); }  // as store, past the caches
NORMA_INLINE void end_stream() { _mm_sfence(); }  // before another thread reads streamed data
NORMA_INLINE void storeu(float* p, V a) { _mm256_storeu_ps(p, a.lo), _mm256_storeu_ps(p + 8, a.hi); }
NORMA_INLINE V set1(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return {v, v};
}
NORMA_INLINE V zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

NORMA_INLINE V operator+(V a, V b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
NORMA_INLINE V operator-(V a, V b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
NORMA_INLINE V operator*(V a, V b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
NORMA_INLINE V operator/(V a, V b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
NORMA_INLINE V operator-(V a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}
NORMA_INLINE V fma(V a, V b, V c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}  // a*b + c, rounded once
NORMA_INLINE V min(V a, V b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }  // a < b ? a : b
NORMA_INLINE V max(V a, V b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }  // a > b ? a : b
NORMA_INLINE V sqrt(V a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
NORMA_INLINE V abs(V a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
NORMA_INLINE V round(V a) {  // ties to even
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

// Masks. Comparisons with a NaN are false.
NORMA_INLINE M gt(V a, V b) { return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)}; }
NORMA_INLINE M ge(V a, V b) { return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ)}; }
NORMA_INLINE M lt(V a, V b) { return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)}; }
NORMA_INLINE M eq(V a, V b) { return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)}; }
NORMA_INLINE M isnan(V a) { return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)}; }
NORMA_INLINE M first(int n) {  // lanes l < n, n >= 0
  const __m256i count = _mm256_set1_epi32(n);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)))};
}
NORMA_INLINE M operator&(M a, M b) { return {_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi)}; }
NORMA_INLINE M operator|(M a, M b) { return {_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi)}; }
NORMA_INLINE M operator~(M a) {
  const __m256 ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  return {_mm256_xor_ps(a.lo, ones), _mm256_xor_ps(a.hi, ones)};
}
NORMA_INLINE unsigned bits(M a) {  // bit l is lane l
  return static_cast<unsigned>(_mm256_movemask_ps(a.lo)) | static_cast<unsigned>(_mm256_movemask_ps(a.hi)) << 8;
}
NORMA_INLINE bool any(M a) { return bits(a) != 0; }
NORMA_INLINE V select(M m, V a, V b) { return {_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)}; }  // m ? a : b
NORMA_INLINE I select(M m, I a, I b) {
  return {_mm256_blendv_epi8(b.lo, a.lo, _mm256_castps_si256(m.lo)), _mm256_blendv_epi8(b.hi, a.hi, _mm256_castps_si256(m.hi))};
}

// Integers.
NORMA_INLINE I set1(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
NORMA_INLINE I load_i32(const std::int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
NORMA_INLINE I load_u8(const std::uint8_t* p) {
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(b), _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))};
}
NORMA_INLINE void store_i32(std::int32_t* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.lo), _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.hi);
}
// Lanes must be in 0 .. 255.
NORMA_INLINE void store_u8(std::uint8_t* p, I a) {
  const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);  // 16-bit, in lane order
  const __m128i b = _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), b);
}
NORMA_INLINE I operator+(I a, I b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
NORMA_INLINE I operator-(I a, I b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
NORMA_INLINE I operator&(I a, I b) { return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
NORMA_INLINE I operator|(I a, I b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
template <int n>
NORMA_INLINE I shift_left(I a) {
  return {_mm256_slli_epi32(a.lo, n), _mm256_slli_epi32(a.hi, n)};
}
template <int n>
NORMA_INLINE I shift_right(I a) {  // zeros come in
  return {_mm256_srli_epi32(a.lo, n), _mm256_srli_epi32(a.hi, n)};
}
NORMA_INLINE M eq(I a, I b) {
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.lo, b.lo)), _mm256_castsi256_ps(_mm256_cmpeq_epi32(a.hi, b.hi))};
}
NORMA_INLINE I bits_of(V a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
NORMA_INLINE V from_bits(I a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
NORMA_INLINE I to_int(V a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }  // nearest, ties to even; |a| < 2^31
NORMA_INLINE V to_float(I a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

// Sum of the lanes, as a tree of halves: t[i] = a[i] + a[i+8], then + 4, + 2, + 1.
NORMA_INLINE float reduce_add(V a) {
  const __m256 t8 = _mm256_add_ps(a.lo, a.hi);
  const __m128 t4 = _mm_add_ps(_mm256_castps256_ps128(t8), _mm256_extractf128_ps(t8, 1));
  const __m128 t2 = _mm_add_ps(t4, _mm_movehl_ps(t4, t4));
  return _mm_cvtss_f32(_mm_add_ss(t2, _mm_movehdup_ps(t2)));
}
// Lane i: reduce_add of the 16 floats at p + 16*i, with its bits; 64-byte aligned.
NORMA_INLINE V reduce_add_rows(const float* p) {
  __m256 half[2];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    __m256 t4[4], t2[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // rows i and i + 4: the order in which the last step leaves them
      const float* row = p + 128 * h + 16 * i;
      const __m256 a = _mm256_add_ps(_mm256_load_ps(row), _mm256_load_ps(row + 8));
      const __m256 b = _mm256_add_ps(_mm256_load_ps(row + 64), _mm256_load_ps(row + 72));
      t4[i] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      t2[i] = _mm256_add_ps(_mm256_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0x44), _mm256_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0xee));
    half[h] = _mm256_add_ps(_mm256_shuffle_ps(t2[0], t2[1], 0x88), _mm256_shuffle_ps(t2[0], t2[1], 0xdd));
  }
  return {half[0], half[1]};
}
// to[j*to_row + i] = from[i*from_row + j], i, j < 16; rows are 64-byte aligned.
NORMA_INLINE void transpose(float* to, std::int64_t to_row, const float* from, std::int64_t from_row) {
  for (int block = 0; block < 4; ++block) {  // 8 x 8
    const float* f = from + block / 2 * 8 * from_row + block % 2 * 8;
    float* t = to + block % 2 * 8 * to_row + block / 2 * 8;
    __m256 a[8], b[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) a[i] = _mm256_load_ps(f + i * from_row);
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {  // 4 x 4 within each half of four rows
      const __m256 low01 = _mm256_unpacklo_ps(a[i], a[i + 1]), high01 = _mm256_unpackhi_ps(a[i], a[i + 1]);
      const __m256 low23 = _mm256_unpacklo_ps(a[i + 2], a[i + 3]), high23 = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
      b[i] = _mm256_shuffle_ps(low01, low23, 0x44);
      b[i + 1] = _mm256_shuffle_ps(low01, low23, 0xee);
      b[i + 2] = _mm256_shuffle_ps(high01, high23, 0x44);
      b[i + 3] = _mm256_shuffle_ps(high01, high23, 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // b[4*r + i] holds columns i and 4 + i of rows 4*r .. 4*r+3
      _mm256_store_ps(t + i * to_row, _mm256_permute2f128_ps(b[i], b[4 + i], 0x20));
      _mm256_store_ps(t + (4 + i) * to_row, _mm256_permute2f128_ps(b[i], b[4 + i], 0x31));
    }
  }
}
// Sums in the same tree over the lanes widened to double.
NORMA_INLINE double reduce_add_double(V a) {
  const __m256d lo = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a.lo)), _mm256_cvtps_pd(_mm256_castps256_ps128(a.hi)));
  const __m256d hi = _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(a.lo, 1)), _mm256_cvtps_pd(_mm256_extractf128_ps(a.hi, 1)));
  const __m256d t4 = _mm256_add_pd(lo, hi);
  const __m128d t2 = _mm_add_pd(_mm256_castpd256_pd128(t4), _mm256_extractf128_pd(t4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(t2, _mm_unpackhi_pd(t2, t2)));
}

// One machine register's share of the 16 lanes, for kernels blocked for registers. Lanes p*register_lanes and on are part p of a V. The
// parts never meet, so the result is that of V.
struct Register {
  __m256 v;
};
inline constexpr int registers = 16, register_lanes = 8;
NORMA_INLINE Register load_register(const float* p) { return {_mm256_load_ps(p)}; }
NORMA_INLINE void store_register(float* p, Register a) { _mm256_store_ps(p, a.v); }
NORMA_INLINE Register loadu_register(const float* p) { return {_mm256_loadu_ps(p)}; }
NORMA_INLINE void storeu_register(float* p, Register a) { _mm256_storeu_ps(p, a.v); }
NORMA_INLINE Register broadcast(float x) { return {_mm256_set1_ps(x)}; }
NORMA_INLINE Register fma(Register a, Register b, Register c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }

}  // namespace norma::kernels::cpu::NORMA_ISA

#include "kernels/cpu/simd/derived.h"
