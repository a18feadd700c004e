// The 16-lane vector of the CPU kernels in GCC's and Clang's portable vectors: four of 128 bits, one NEON register each.
// simd/avx512 and simd/avx2 have the same names with the same results; the include path picks one. All use only IEEE operations and
// explicit fused multiply-adds. Every level thus gives the same bits (a NaN's sign and payload excepted).
#pragma once
#include <cstdint>
#include <cstring>

#define NORMA_INLINE [[gnu::always_inline]] inline

namespace norma::kernels::cpu::NORMA_ISA {

typedef float Float4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));
typedef std::uint32_t Unsigned4 __attribute__((vector_size(16)));

struct V {  // 16 floats
  Float4 v[4];
};
struct I {  // 16 int32; sums and shifts wrap
  Unsigned4 v[4];
};
struct M {  // a truth value per lane: all bits or none
  Int4 v[4];
};

// Memory. load and store need 64-byte alignment; loadu and storeu none beyond the element's.
NORMA_INLINE V loadu(const float* p) {
  V r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
NORMA_INLINE void storeu(float* p, V a) { std::memcpy(p, &a, sizeof a); }
NORMA_INLINE V load(const float* p) { return loadu(static_cast<const float*>(__builtin_assume_aligned(p, 64))); }
NORMA_INLINE void store(float* p, V a) { storeu(static_cast<float*>(__builtin_assume_aligned(p, 64)), a); }
NORMA_INLINE void stream(float* p, V a) { store(p, a); }  // portable vectors know no way past the caches
NORMA_INLINE void end_stream() {}
NORMA_INLINE V set1(float x) {
  const Float4 v = {x, x, x, x};
  return {{v, v, v, v}};
}
NORMA_INLINE V zero() { return set1(0.0f); }

NORMA_INLINE V operator+(V a, V b) { return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}}; }
NORMA_INLINE V operator-(V a, V b) { return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}}; }
NORMA_INLINE V operator*(V a, V b) { return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}}; }
NORMA_INLINE V operator/(V a, V b) { return {{a.v[0] / b.v[0], a.v[1] / b.v[1], a.v[2] / b.v[2], a.v[3] / b.v[3]}}; }
NORMA_INLINE V operator-(V a) { return {{-a.v[0], -a.v[1], -a.v[2], -a.v[3]}}; }

// Applies f to each lane, if the portable vectors have no operator. Compilers merge the four scalars if the machine can.
template <class F>
NORMA_INLINE Float4 map4(F f) {
  return Float4{f(0), f(1), f(2), f(3)};
}
template <class F>
NORMA_INLINE V map(F f) {
  return {{map4([&](int i) { return f(0, i); }), map4([&](int i) { return f(1, i); }), map4([&](int i) { return f(2, i); }),
           map4([&](int i) { return f(3, i); })}};
}
NORMA_INLINE V fma(V a, V b, V c) {  // a*b + c, rounded once
  return map([&](int j, int i) { return __builtin_fmaf(a.v[j][i], b.v[j][i], c.v[j][i]); });
}
NORMA_INLINE V sqrt(V a) {
  return map([&](int j, int i) { return __builtin_sqrtf(a.v[j][i]); });
}
NORMA_INLINE V abs(V a) {
  return map([&](int j, int i) { return __builtin_fabsf(a.v[j][i]); });
}
NORMA_INLINE V round(V a) {  // ties to even
  return map([&](int j, int i) { return __builtin_nearbyintf(a.v[j][i]); });
}

// Masks. Comparisons with a NaN are false.
NORMA_INLINE M gt(V a, V b) { return {{a.v[0] > b.v[0], a.v[1] > b.v[1], a.v[2] > b.v[2], a.v[3] > b.v[3]}}; }
NORMA_INLINE M ge(V a, V b) { return {{a.v[0] >= b.v[0], a.v[1] >= b.v[1], a.v[2] >= b.v[2], a.v[3] >= b.v[3]}}; }
NORMA_INLINE M lt(V a, V b) { return gt(b, a); }
NORMA_INLINE M eq(V a, V b) { return {{a.v[0] == b.v[0], a.v[1] == b.v[1], a.v[2] == b.v[2], a.v[3] == b.v[3]}}; }
NORMA_INLINE M isnan(V a) { return {{a.v[0] != a.v[0], a.v[1] != a.v[1], a.v[2] != a.v[2], a.v[3] != a.v[3]}}; }
NORMA_INLINE M first(int n) {  // lanes l < n, n >= 0
  const Int4 count = {n, n, n, n};
  return {{Int4{0, 1, 2, 3} < count, Int4{4, 5, 6, 7} < count, Int4{8, 9, 10, 11} < count, Int4{12, 13, 14, 15} < count}};
}
NORMA_INLINE M operator&(M a, M b) { return {{a.v[0] & b.v[0], a.v[1] & b.v[1], a.v[2] & b.v[2], a.v[3] & b.v[3]}}; }
NORMA_INLINE M operator|(M a, M b) { return {{a.v[0] | b.v[0], a.v[1] | b.v[1], a.v[2] | b.v[2], a.v[3] | b.v[3]}}; }
NORMA_INLINE M operator~(M a) { return {{~a.v[0], ~a.v[1], ~a.v[2], ~a.v[3]}}; }
NORMA_INLINE unsigned bits(M a) {  // bit l is lane l
  unsigned r = 0;
  for (int l = 0; l < 16; ++l) r |= (a.v[l / 4][l % 4] != 0 ? 1u : 0u) << l;
  return r;
}
NORMA_INLINE bool any(M a) { return bits(a) != 0; }
NORMA_INLINE I select(M m, I a, I b) {  // m ? a : b
  I r;
  for (int j = 0; j < 4; ++j) {
    const Unsigned4 k = (Unsigned4)m.v[j];
    r.v[j] = (a.v[j] & k) | (b.v[j] & ~k);
  }
  return r;
}

// Integers.
NORMA_INLINE I set1(std::int32_t x) {
  const std::uint32_t u = static_cast<std::uint32_t>(x);
  const Unsigned4 v = {u, u, u, u};
  return {{v, v, v, v}};
}
NORMA_INLINE I load_i32(const std::int32_t* p) {
  I r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
NORMA_INLINE I load_u8(const std::uint8_t* p) {
  I r;
  for (int l = 0; l < 16; ++l) r.v[l / 4][l % 4] = p[l];
  return r;
}
NORMA_INLINE void store_i32(std::int32_t* p, I a) { std::memcpy(p, &a, sizeof a); }
// Lanes must be in 0 .. 255.
NORMA_INLINE void store_u8(std::uint8_t* p, I a) {
  for (int l = 0; l < 16; ++l) p[l] = static_cast<std::uint8_t>(a.v[l / 4][l % 4]);
}
NORMA_INLINE I operator+(I a, I b) { return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}}; }
NORMA_INLINE I operator-(I a, I b) { return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}}; }
NORMA_INLINE I operator&(I a, I b) { return {{a.v[0] & b.v[0], a.v[1] & b.v[1], a.v[2] & b.v[2], a.v[3] & b.v[3]}}; }
NORMA_INLINE I operator|(I a, I b) { return {{a.v[0] | b.v[0], a.v[1] | b.v[1], a.v[2] | b.v[2], a.v[3] | b.v[3]}}; }
template <int n>
NORMA_INLINE I shift_left(I a) {
  return {{a.v[0] << n, a.v[1] << n, a.v[2] << n, a.v[3] << n}};
}
template <int n>
NORMA_INLINE I shift_right(I a) {  // zeros come in
  return {{a.v[0] >> n, a.v[1] >> n, a.v[2] >> n, a.v[3] >> n}};
}
NORMA_INLINE M eq(I a, I b) { return {{a.v[0] == b.v[0], a.v[1] == b.v[1], a.v[2] == b.v[2], a.v[3] == b.v[3]}}; }
NORMA_INLINE I bits_of(V a) { return {{(Unsigned4)a.v[0], (Unsigned4)a.v[1], (Unsigned4)a.v[2], (Unsigned4)a.v[3]}}; }
NORMA_INLINE V from_bits(I a) { return {{(Float4)a.v[0], (Float4)a.v[1], (Float4)a.v[2], (Float4)a.v[3]}}; }
NORMA_INLINE I to_int(V a) {  // nearest, ties to even; |a| < 2^31
  const V r = round(a);
  I n;
  for (int l = 0; l < 16; ++l) n.v[l / 4][l % 4] = static_cast<std::uint32_t>(static_cast<std::int32_t>(r.v[l / 4][l % 4]));
  return n;
}
NORMA_INLINE V to_float(I a) {
  return map([&](int j, int i) { return static_cast<float>(static_cast<std::int32_t>(a.v[j][i])); });
}
NORMA_INLINE V select(M m, V a, V b) { return from_bits(select(m, bits_of(a), bits_of(b))); }  // m ? a : b
NORMA_INLINE V min(V a, V b) { return select(lt(a, b), a, b); }                                // a < b ? a : b
NORMA_INLINE V max(V a, V b) { return select(gt(a, b), a, b); }                                // a > b ? a : b

// Sum of the lanes, as a tree of halves: t[i] = a[i] + a[i+8], then + 4, + 2, + 1.
NORMA_INLINE float reduce_add(V a) {
  const Float4 t4 = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
  return (t4[0] + t4[2]) + (t4[1] + t4[3]);
}
// Lane i: reduce_add of the 16 floats at p + 16*i, with its bits; 64-byte aligned.
NORMA_INLINE V reduce_add_rows(const float* p) {
  return map([&](int j, int i) { return reduce_add(load(p + 16 * (4 * j + i))); });
}
// to[j*to_row + i] = from[i*from_row + j], i, j < 16; rows are 64-byte aligned.
NORMA_INLINE void transpose(float* to, std::int64_t to_row, const float* from, std::int64_t from_row) {
  for (int j = 0; j < 16; ++j)
    for (int i = 0; i < 16; ++i) to[j * to_row + i] = from[i * from_row + j];
}
// Sums in the same tree over the lanes widened to double.
NORMA_INLINE double reduce_add_double(V a) {
  double t[4];
  for (int i = 0; i < 4; ++i)
    t[i] = (static_cast<double>(a.v[0][i]) + static_cast<double>(a.v[2][i])) +
           (static_cast<double>(a.v[1][i]) + static_cast<double>(a.v[3][i]));
  return (t[0] + t[2]) + (t[1] + t[3]);
}

// One machine register's share of the 16 lanes, for kernels blocked for registers. Lanes p*register_lanes and on are part p of a V. The
// parts never meet, so the result is that of V.
struct Register {
  Float4 v;
};
inline constexpr int registers = 32, register_lanes = 4;
NORMA_INLINE Register load_register(const float* p) {
  Register r;
  std::memcpy(&r, __builtin_assume_aligned(p, 16), sizeof r);
  return r;
}
NORMA_INLINE void store_register(float* p, Register a) { std::memcpy(__builtin_assume_aligned(p, 16), &a, sizeof a); }
NORMA_INLINE Register loadu_register(const float* p) {
  Register r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
NORMA_INLINE void storeu_register(float* p, Register a) { std::memcpy(p, &a, sizeof a); }
NORMA_INLINE Register broadcast(float x) { return {Float4{x, x, x, x}}; }
NORMA_INLINE Register fma(Register a, Register b, Register c) {
  return {map4([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); })};
}

}  // namespace norma::kernels::cpu::NORMA_ISA

#include "kernels/cpu/simd/derived.h"
