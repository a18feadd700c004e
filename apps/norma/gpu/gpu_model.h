// Model of the time a Plan should take on a GPU, from published figures. A run can then test the prediction. The model needs no GPU.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "norma/launches.h"

namespace norma::app {

// Each figure with its source in gpu_model.cpp. Times in microseconds, bandwidths in bytes per microsecond (TB/s times 10^6).
struct GpuCard {
  const char *key, *name;  // "h200", "NVIDIA H200"
  int capability;          // 90: 9.0
  int multiprocessors;
  double clock;         // cycles per microsecond
  double peak;          // fp32 operations per microsecond, a multiply-add is two
  double tf32, bf16;    // of these, on tensor cores
  double l2_bytes, l2;  // capacity; bandwidth
  double dram;          // bandwidth of a copy, bytes read and written
  // Cost of a kernel that does next to nothing: as a graph node that waits for another node, and launched to a stream. Then the cost of a
  // barrier between all blocks of a kernel.
  double node, launch, grid_barrier;
};

std::span<const GpuCard> gpu_cards();

// ---- how many blocks fit a multiprocessor (compute capability 9.0: tests hold it against NVIDIA's cuda_occupancy.h)

enum class OccupancyLimit : std::uint8_t { warps, registers, shared_memory, blocks };
const char* name_of(OccupancyLimit l);

struct Occupancy {
  int blocks = 0;    // resident on one multiprocessor; 0: the kernel cannot be launched
  double share = 0;  // of the warps that a multiprocessor can hold
  OccupancyLimit limit = OccupancyLimit::warps;
};
Occupancy occupancy(int threads, int registers, std::int64_t shared_bytes);

// ---- times

enum class Bound : std::uint8_t { latency, memory, arithmetic };

struct KernelTime {
  double fixed = 0, work = 0;    // us: node and barriers; what bytes and operations take
  Bound bound = Bound::latency;  // of the work
  double bytes = 0, flops = 0;   // its share of the Call's
  Occupancy resident{};
  double waves = 0;  // blocks over what all multiprocessors hold at once

  double total() const { return fixed + work; }
};

// A Call's bytes and operations go to its kernels by their numbers of threads. `fitting`: the share of what the kernel moves that the L2
// cache holds. A kernel without known resources is taken to be limited by its threads alone.
std::vector<KernelTime> predict(const GpuCard& card, std::span<const KernelLaunch> launches, double bytes, double flops, double fitting,
                                Precision precision = Precision::fp32);

struct StepTime {
  std::vector<std::vector<KernelTime>> calls;
  std::size_t kernels = 0, chain = 0;      // in all; the most that wait for one another
  double fixed = 0, work = 0;              // us, of all kernels one after the other
  double chain_fixed = 0, chain_work = 0;  // of the chain that takes longest
  double working_set = 0, fitting = 1;     // bytes that a step touches; share of them that L2 holds

  double serial() const { return fixed + work; }
  double chained() const { return chain_fixed + chain_work; }
};

// lines, launches and waits: describe, kernel_launches and dependencies of one Plan.
StepTime predict(const GpuCard& card, std::span<const PlanLine> lines, const std::vector<std::vector<KernelLaunch>>& launches,
                 const std::vector<std::vector<int>>& waits, double working_set);

}  // namespace norma::app
