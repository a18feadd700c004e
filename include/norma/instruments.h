// Instruments: measure how fast a device, modules and Calls are, and check that results are right.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "norma/executor.h"
#include "norma/export.h"
#include "norma/launches.h"      // IWYU pragma: export
#include "norma/module_timer.h"  // IWYU pragma: export
#include "norma/verify.h"        // IWYU pragma: export

namespace norma {

// A device's best measured speed with these options: the best of several tries for each figure.
struct NORMA_API Roofline {
  std::string device;  // "cpu (avx512, 2 threads)"
  int threads = 1;     // of the CPU; 0: a GPU
  double flops = 0;    // per second: fp32 multiply-adds (two operations each) between registers, every thread's best while all run
  double tf32_flops = 0, bf16_flops = 0;  // of a GPU's tensor cores, by the instructions that norma's kernels use; 0: it has none
  // Bytes per second; each array is several times the last-level cache. A GPU's streaming copy asks the cache to keep nothing. A copy
  // counts the bytes read and the bytes written. A plain store also reads each line before overwriting it; that is not counted. Streaming
  // stores avoid it.
  double copy = 0, copy_streaming = 0, read = 0;
  std::size_t array_bytes = 0;  // of each array

  double bandwidth() const { return copy > copy_streaming ? copy : copy_streaming; }
  double flops_of(Precision p) const {
    const double on_tensor_cores = p == Precision::tf32 ? tf32_flops : p == Precision::bf16 ? bf16_flops : 0;
    return on_tensor_cores > 0 ? on_tensor_cores : flops;
  }
  // Returns the least seconds for moving these bytes or computing these operations.
  double least_seconds(double bytes_moved, double operations, Precision precision = Precision::fp32) const {
    const double memory = bytes_moved / bandwidth(), arithmetic = operations / flops_of(precision);
    return memory > arithmetic ? memory : arithmetic;
  }
};

// About a second. Throws Error(device) where the device cannot be used.
NORMA_API Roofline measure_roofline(const Device& device, const ExecutorOptions& options = {});

// Returns a copy alone, to be timed in turn with the code that is compared with it. Other programs then take their share of the memory from
// both. On the CPU it is the streaming copy.
// Each call copies `copies` arrays of `array_bytes` bytes (rounded up), one after the other. With enough of them none is in a cache. A GPU
// repeats that for 5 ms. The call returns bytes per second, reads and writes together. Throws Error(device) if the device cannot be used.
// One thread at a time may call it or a copy of it.
NORMA_API std::function<double()> copy_probe(const Device& device, const ExecutorOptions& options, std::size_t array_bytes,
                                             std::int64_t copies = 1);

// Returns the size of the largest cache that the whole device shares: a GPU's L2. On the CPU it is the size that the system tells, else 0.
NORMA_API std::size_t cache_bytes(const Device& device);

// A GPU's least time from one thing to the next.
struct NORMA_API Latency {
  std::string what;             // "graph node"
  std::int64_t blocks = 0;      // of 128 threads
  std::vector<double> seconds;  // for one, of each round
  std::string missing;          // why it was not measured
};

// Dependent kernels that do nothing, in a graph, with and without programmatic launch, and on a stream; barriers of a grid and a cluster.
// Throws Error(device) where the GPU cannot be used, Error(usage) for a CPU.
NORMA_API std::vector<Latency> measure_latencies(const Device& device, std::int64_t rounds);

}  // namespace norma
