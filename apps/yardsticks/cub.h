// The interface between `norma bench bn` and norma_cub.so. Only that module includes CUB, the primitives of the CUDA toolkit. It lies in
// the program's folder if CUB was found at build time. Plain C types: the two sides are loaded together, not compiled together.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {

inline constexpr std::int32_t norma_cub_version = 1;

enum NormaCubWork : std::int32_t {
  norma_cub_statistics = 0,  // DeviceSegmentedReduce over channels: mean, variance, 1/deviation
  norma_cub_read = 1,        // DeviceReduce::Sum
  norma_cub_copy = 2,        // DeviceTransform with the identity
};

// Element i of channel c in row o lies at (o * channels + c) * inner + i. NCHW: N, C, H*W. NHWC: N*H*W, C, 1.
struct NormaCubTensor {
  std::int64_t outer, channels, inner;
};

struct NormaCub {
  std::int32_t version;
  const char* library;  // "CUB 3.0.1"
  // Makes 2 * copies tensors of norma_cub_value on a GPU. null: `error` says why.
  void* (*create)(std::int32_t gpu, const NormaCubTensor* tensor, std::int64_t copies, char* error, std::size_t error_size);
  // Seconds of the work on one tensor: the tensors take turns in a CUDA graph, for 5 ms. Below 0: it failed, and `error` says why.
  double (*run)(void* tensors, std::int32_t work, char* error, std::size_t error_size);
  // Results of work that ran: `channels` means, then variances, then 1/deviations; the sum; the elements of a copy. 0 where it failed.
  std::int32_t (*read)(void* tensors, std::int32_t work, float* results);
  void (*destroy)(void* tensors);
};

const NormaCub* norma_cub();

}  // extern "C"

// Element i of every tensor: noise in [-1, 1).
constexpr float norma_cub_value(std::int64_t i) {
  std::uint32_t h = static_cast<std::uint32_t>(i) * 2654435761u;
  h = (h ^ (h >> 15)) * 2246822519u;
  h ^= h >> 13;
  return static_cast<float>(static_cast<std::int32_t>(h)) * 0x1p-31f;
}
