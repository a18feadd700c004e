// The CUDA kernels as the executor and the tests see them. Host code: nothing of CUDA is included here.
#pragma once
#include <cstddef>
#include <vector>

#include "kernels/calls.h"
#include "kernels/cuda/launches.h"

struct CUstream_st;  // cudaStream_t points to one

namespace norma::kernels::cuda {

inline constexpr int lanes = 32;

// A stream on which Calls run in order, and device memory of their kernels' own. Calls that may run at the same time share none of it.
struct Queue {
  CUstream_st* stream = nullptr;
  std::byte* workspace = nullptr;  // the parts of a sum; 256-byte aligned
  unsigned* counters = nullptr;    // blocks that have made their parts: all 0 before a Call and after it
  int multiprocessors;             // of the device: limits the blocks that may wait for each other; 0: none may
};

struct Needs {
  std::size_t workspace = 0, counters = 0;  // bytes; numbers
};

// Depends on the Call alone, as does everything else about how its result is summed: the same bits on every GPU.
Needs needs_of(const Call& call);

// Tells if a Call runs on the host. run() then waits for the stream, and nothing may be captured.
bool runs_on_host(const Call& call);

// Queues the kernels of a Call; any number of lanes (1: NCHW). The error of a launch is left for cudaGetLastError(). Throws
// std::length_error for a plane (H*W*L) or a row of weights of 2^31 elements, which the kernels cannot index.
void run(const Call& call, const Memory& memory, const Queue& queue);

// Lists the launches that run() would queue on a device of so many multiprocessors, in order. It touches no device, so none need be there.
// Only the alignment of the values' addresses counts.
std::vector<Launch> launches(const Call& call, const Memory& memory, int multiprocessors);

}  // namespace norma::kernels::cuda
