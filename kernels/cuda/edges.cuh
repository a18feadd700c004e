// How the windows of a convolution meet the image's edges. A kernel has a variant for each way.
#pragma once
#include <type_traits>

#include "device.cuh"
#include "kernels/cuda/divisor.h"

namespace norma::kernels::cuda {

// Pixels that a window sees.
struct Inside {};   // those of the image
struct Padded {};   // and those beyond its edges, which are 0; of windows of at most most_bits rows and columns
struct General {};  // of any window; in a backward pass by a stride also those between the image's pixels, which are 0
inline constexpr std::int32_t most_bits = 32;
template <class Seen>
inline constexpr bool is_padded = std::is_same_v<Seen, Padded>;
template <class Seen>
inline constexpr bool is_general = std::is_same_v<Seen, General>;

// Returns true if no window leaves one side of the image: window i < count begins at first + i * stride and has `kernel` taps, step apart.
constexpr bool windows_inside(std::int64_t count, std::int64_t stride, std::int64_t first, std::int64_t kernel, std::int64_t step,
                              std::int64_t size) {
  const std::int64_t last = (kernel - 1) * step;
  return first + (last < 0 ? last : 0) >= 0 && (count - 1) * stride + first + (last > 0 ? last : 0) < size;
}

// Bits of the numbers i < kernel, at most most_bits, for which first + i * step is in 0 ... size - 1. by_step divides by the size of the
// step.
__device__ __forceinline__ std::int32_t bits_inside(std::int32_t first, std::int32_t kernel, std::int32_t step, const Divisor& by_step,
                                                    std::int32_t size) {
  const auto below = [](std::int32_t i) { return i <= 0 ? 0u : i >= 32 ? ~0u : (1u << i) - 1; };
  // How many steps from 0 to n, rounded up; n may be negative.
  const auto steps = [&](std::int32_t n) {
    return n <= 0 ? 0 : static_cast<std::int32_t>(by_step.quotient(static_cast<std::uint32_t>(n) + by_step.d - 1));
  };
  const std::int32_t begin = steps(step > 0 ? -first : first - size + 1), end = steps(step > 0 ? size - first : first + 1);
  return static_cast<std::int32_t>(below(end < kernel ? end : kernel) & ~below(begin));
}

}  // namespace norma::kernels::cuda
