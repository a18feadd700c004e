// Buffers of one thread in a Call's loops that are too large for its stack, which may have 256 KB or less. They lie in the Call's scratch
// memory, one after the other (scratch.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/calls.h"

namespace norma::kernels::cpu {

// Limits of a correlation's tile: positions, steps (channels x taps), outs of which weights are packed, lines of 64 bytes of packed x.
inline constexpr std::int64_t max_tile_positions = 128, max_tile_steps = 256, max_tile_outs = 128, max_tile_lines = 4096;
struct alignas(64) TileBuffer {
  static constexpr std::int64_t stride = max_tile_outs + 16;  // an odd number of lines: successive steps in different sets of L1
  float x[max_tile_lines * 16], w[max_tile_steps * stride];
};

// Limits of one index of Conv2dBackwardWeight: sums (512 KB), lines of packed x (160 KB), positions of a tile.
inline constexpr std::int64_t max_weight_sums = 8192, max_weight_lines = 2560, max_weight_positions = 128;
struct alignas(64) ConvWeightBuffer {
  float x[max_weight_lines * 16], sums[(max_weight_sums + 16) * 16];  // the last reduction may read, not use, 15 sums more
  std::int32_t position[max_weight_positions], stream[max_weight_sums];
};

// Features of one index of LinearBackwardWeight, packs of samples it transposes at a time (64 KB), outputs.
inline constexpr std::int64_t weight_columns = 64, weight_packs = 16, max_weight_outs = 128;
struct alignas(64) LinearWeightBuffer {
  float x[weight_packs * 16 * weight_columns], sums[max_weight_outs * weight_columns];
};

// Returns a Call's bytes for each thread.
template <class C>
constexpr std::size_t thread_bytes(const C&) {
  if constexpr (std::is_same_v<C, Conv2dForward> || std::is_same_v<C, Conv2dBackwardInput>) return sizeof(TileBuffer);
  else if constexpr (std::is_same_v<C, Conv2dBackwardWeight>) return sizeof(ConvWeightBuffer);
  else if constexpr (std::is_same_v<C, LinearBackwardWeight>) return sizeof(LinearWeightBuffer);
  else return 0;
}

}  // namespace norma::kernels::cpu
