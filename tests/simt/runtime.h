// The fake CUDA runtime (include/cuda_runtime_api.h) as tests see it: one device whose memory is the heap, and whose faults they choose.
#pragma once
#include <cstddef>
#include <functional>
#include <vector>

#include "cuda_runtime_api.h"
#include "tests/simt/emulator.h"

namespace norma::simt {

struct Machine {
  bool driver = true;                         // else every call gives cudaErrorInsufficientDriver
  int devices = 1;                            // 0: cudaErrorNoDevice; all are alike and share their memory
  std::size_t memory = std::size_t{1} << 30;  // bytes; cudaMalloc beyond gives cudaErrorMemoryAllocation
  int major = 9, minor = 0;                   // compute capability
  int multiprocessors = 8;                    // of 2048 threads: what a cooperative launch must fit into
  // Error of the next launch, which does not run. An error of running, such as cudaErrorIllegalAddress, loses the context: all calls that
  // follow see it. Any other is the launch's own.
  cudaError_t next_launch = cudaSuccess;
  // Streams delay their work until somebody waits for it, and so do copies to and from pinned memory. Host code that does not wait reads
  // old values.
  bool deferred = false;
  std::vector<Grid>* queued = nullptr;  // gets every grid that is queued, where somebody wants to know
  // Gets every graph that is instantiated, where somebody wants to know: of each node those that it directly waits for.
  std::vector<std::vector<std::vector<int>>>* graphs = nullptr;
};

Machine& machine();
// A machine as above, no error, nothing pending; memory, streams and graphs that are alive stay.
void reset_machine();

struct Live {
  std::size_t device_bytes = 0, device_allocations = 0, pinned_allocations = 0, streams = 0, events = 0, graphs = 0;
  bool operator==(const Live&) const = default;
};
Live live();

// Queues a grid; its error, as a launch's, is left for cudaGetLastError(). A Fault comes out of here where the stream runs the grid at
// once, else out of what waits for it.
void queue_grid(cudaStream_t stream, const Grid& grid, std::function<void()> thread);

}  // namespace norma::simt
