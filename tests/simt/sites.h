// The lines of kernels that wait for other threads: how often they were reached, and what the options plant there.
#pragma once
#include "tests/simt/emulator.h"

namespace norma::simt {

enum class Wait {
  syncthreads,
  syncwarp,
  sync_grid,
  until_set,
  shfl,
  shfl_xor,
  shfl_up,
  shfl_down,
  mma,
  ballot,
  any,
  all,
  fence,
  arrive,
  atomic
};
const char* name_of(Wait what);
constexpr bool is_barrier(Wait what) { return what <= Wait::until_set; }
constexpr bool is_fence(Wait what) { return what == Wait::fence || what == Wait::arrive; }
constexpr bool is_collective(Wait what) { return what >= Wait::shfl && what <= Wait::all; }

// A line where threads wait. One object for each, however many translation units a header's line is compiled in.
struct Place {
  Location location;
  Wait what;
  std::uint64_t arrivals = 0;
  bool skipped = false, narrowed = false;
};
// Counts the arrival.
Place& arrive(Site at, Wait what);

// "batch_norm_sums.cu:12: __syncthreads"
std::string text(const Place& place);

// A grid begins: returns the seed of its random numbers.
std::uint64_t count_grid(std::int64_t blocks, int threads);

}  // namespace norma::simt
