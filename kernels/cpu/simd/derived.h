// Every level's simd.h builds these from its own primitives in the same way, and includes this at its end.
#pragma once
#include <cstdint>

namespace norma::kernels::cpu::NORMA_ISA {

// Lanes l where p[l] == k; 16 bytes (or ints) are read.
NORMA_INLINE M eq_u8(const std::uint8_t* p, int k) { return eq(load_u8(p), set1(static_cast<std::int32_t>(k))); }
NORMA_INLINE M eq_i32(const std::int32_t* p, int k) { return eq(load_i32(p), set1(static_cast<std::int32_t>(k))); }

// x * 2^n, rounded once; n integral in -126 .. 127.
NORMA_INLINE V scale2(V x, V n) { return x * from_bits(shift_left<23>(to_int(n) + set1(std::int32_t{127}))); }

// x = mantissa(x) * 2^exponent(x), mantissa in [1,2), for positive normal x.
NORMA_INLINE V mantissa(V x) { return from_bits((bits_of(x) & set1(std::int32_t{0x007fffff})) | set1(std::int32_t{0x3f800000})); }
NORMA_INLINE V exponent(V x) { return to_float(shift_right<23>(bits_of(x)) - set1(std::int32_t{127})); }

}  // namespace norma::kernels::cpu::NORMA_ISA
