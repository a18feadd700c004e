// The small enumerations shared by the public API and the kernels. Host and device code: standard C++ only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "norma/activation.h"
#include "norma/export.h"

namespace norma {

enum class DType : std::uint8_t { f32, u8, i32, i64, bytes };  // bytes: an opaque struct such as StepState

constexpr std::size_t size_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::i64: return 8;
    case DType::u8:
    case DType::bytes: return 1;
  }
  return 1;
}

constexpr const char* name_of(DType t) {
  switch (t) {
    case DType::f32: return "f32";
    case DType::u8: return "u8";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::bytes: return "bytes";
  }
  return "?";
}

// Returns true for 0 and for a value whose float is not 0, infinite, denormal or NaN. Options that are used as float must pass this.
NORMA_API bool fits_float(double value) noexcept;

// Rounding of the factors x, w and dy in the products of convolutions and linear layers. Their sums, and all else, are float.
enum class Precision : std::uint8_t { fp32, tf32, bf16 };  // 24, 11 and 8 significant bits, of one range

constexpr const char* name_of(Precision p) {
  switch (p) {
    case Precision::fp32: return "fp32";
    case Precision::tf32: return "tf32";
    case Precision::bf16: return "bf16";
  }
  return "?";
}

enum class Reduction : std::uint8_t { mean, sum };

enum class Mode : std::uint8_t { train, eval };

}  // namespace norma
