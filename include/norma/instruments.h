// What one needs to measure: how fast a device can be, how fast modules and Calls are, and whether they are right.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "norma/executor.h"
#include "norma/launches.h"      // IWYU pragma: export
#include "norma/module_timer.h"  // IWYU pragma: export
#include "norma/verify.h"        // IWYU pragma: export

namespace norma {

// What a device does at best with these options, measured: the best of several tries each.
struct Roofline {
  std::string device;  // "cpu (avx512, 2 threads)"
  int threads = 1;     // of the CPU; 0: a GPU
  double flops = 0;    // per second: fp32 multiply-adds (two operations each) between registers, every thread's best while all run
  double tf32_flops = 0, bf16_flops = 0;  // the same on a GPU's tensor cores, by the instructions that norma's kernels use; 0: it has none
  // Bytes per second, each array several times the last-level cache. A GPU's streaming copy asks the cache to keep nothing. A copy counts
  // the bytes read and the bytes written: what a plain store moves besides, reading each line before it is overwritten, is not counted;
  // streaming stores spare it.
  double copy = 0, copy_streaming = 0, read = 0;
  std::size_t array_bytes = 0;  // of each array

  double bandwidth() const { return copy > copy_streaming ? copy : copy_streaming; }
  double flops_of(Precision p) const {
    const double on_tensor_cores = p == Precision::tf32 ? tf32_flops : p == Precision::bf16 ? bf16_flops : 0;
    return on_tensor_cores > 0 ? on_tensor_cores : flops;
  }
  // Seconds that moving so many bytes, or so many operations, take at least.
  double least_seconds(double bytes_moved, double operations, Precision precision = Precision::fp32) const {
    const double memory = bytes_moved / bandwidth(), arithmetic = operations / flops_of(precision);
    return memory > arithmetic ? memory : arithmetic;
  }
};

// About a second. Throws Error(device) where the device cannot be used.
Roofline measure_roofline(const Device& device, const ExecutorOptions& options = {});

// A copy by itself (the CPU's is the streaming one), to be timed in turn with what is held against it: other programs take their share of
// the memory from both. Each call copies `copies` arrays of so many bytes (rounded up), one after the other, so that with enough of them
// none is in a cache, on a GPU as often as takes 5 ms; it returns bytes per second, read and written ones together. Throws Error(device)
// where the device cannot be used.
std::function<double()> copy_probe(const Device& device, const ExecutorOptions& options, std::size_t array_bytes, std::int64_t copies = 1);

// Of the largest cache that all of the device shares: a GPU's L2. On the CPU as far as the system tells, else 0.
std::size_t cache_bytes(const Device& device);

// What a GPU needs at least to go from one thing to the next.
struct Latency {
  std::string what;             // "graph node"
  std::int64_t blocks = 0;      // of 128 threads
  std::vector<double> seconds;  // for one, of each round
  std::string missing;          // why it was not measured
};

// Dependent kernels that do nothing, in a graph, with and without programmatic launch, and on a stream; barriers of a grid and a cluster.
// Throws Error(device) where the GPU cannot be used, Error(usage) for a CPU.
std::vector<Latency> measure_latencies(const Device& device, std::int64_t rounds);

}  // namespace norma
