// The model. A kernel takes the cost of a graph node plus its work. Its work is the longest of three:
//   latency     one load and one dependent store;
//   memory      its bytes at the bandwidth of L2 as far as the step's working set fits, else of DRAM. Two limits lower that bandwidth: what
//               the multiprocessors with a block can take, and what the resident threads can have in flight (Little's law);
//   arithmetic  its operations on the busiest multiprocessor, whose threads must hide the latency of a multiply-add; or operations of a
//               lower precision on its tensor cores.
// The model leaves out, so that a run may show their weight: bank conflicts, divergence, instructions other than multiply-adds, double
// precision, dependent loads beyond one, partly filled tiles of tensor cores, clocks below boost. It leaves out the DRAM traffic of the
// data set (0.2 MB of 20 in a LeNet step). It leaves out the overlap of independent kernels (the chain shows the possible gain).
#include "apps/norma/gpu/gpu_model.h"

#include <algorithm>
#include <cmath>

namespace norma::app {
namespace {

// H100 SXM and H200: 132 multiprocessors at up to 1.98 GHz, 67 TFLOP/s of fp32. DRAM: 3.35 and 4.8 TB/s (NVIDIA's data sheets of H100 and
// H200). L2: 50 MB on H100 (NVIDIA Hopper Architecture In-Depth), 60 MB on H200, the whole of the GH100 chip. Its published bandwidth lies
// between 5.5 and 9.7 TB/s. The model takes the lower figure, measured with kernels that also compute. Copies reach 4.3 TB/s on H200. The
// model assumes that H100 reaches the same nine tenths of its peak. Tensor cores: 495 TFLOP/s of tf32 and 990 of bf16 (the data sheets,
// without sparsity); mma.sync reaches 63 % of them (arXiv:2402.13499). Node, launch and barrier: published for H200, used for H100, too.
constexpr GpuCard known_cards[] = {
    {"h100", "NVIDIA H100", 90, 132, 1980, 67e6, 311e6, 622e6, 50e6, 5.5e6, 3.0e6, 1.25, 2.5, 1.05},
    {"h200", "NVIDIA H200", 90, 132, 1980, 67e6, 311e6, 622e6, 60e6, 5.5e6, 4.3e6, 1.25, 2.5, 1.05},
};

// Limits of compute capability 9.0 (CUDA C++ Programming Guide, table of technical specifications; cuda_occupancy.h).
constexpr int warp = 32, max_warps = 64, max_blocks = 32, max_threads = 1024;
constexpr int partitions = 4, registers_of_partition = 16384, register_unit = 256, max_registers = 255;
constexpr std::int64_t shared_bytes_all = 228 << 10, shared_reserved = 1 << 10, shared_unit = 128, max_shared = 227 << 10;

// Cycles from a load to its use, from L2 and from DRAM, about as measured on an H100 by Luo et al. (Benchmarking and Dissecting the Nvidia
// Hopper GPU Architecture, arXiv:2402.13499). A multiply-add: 4.
constexpr double l2_latency = 263, dram_latency = 479, fma_latency = 4;
// Bytes that a multiprocessor can take from L2 in a cycle (from that paper). Bytes that a thread is assumed to have in flight: one float4.
constexpr double l2_bytes_per_cycle = 64, bytes_in_flight = 16;
// Multiply-adds of one thread that do not wait for one another, such as sums of several outputs.
constexpr double independent_fmas = 4;

template <class T>
constexpr T round_up(T n, T unit) {
  return (n + unit - 1) / unit * unit;
}

KernelTime predict(const GpuCard& card, const KernelLaunch& l, double bytes, double flops, double fitting, Precision precision) {
  KernelTime t{.bytes = bytes, .flops = flops};
  t.fixed = card.node + (l.cooperative ? card.grid_barrier : 0);
  t.resident = l.compiled ? occupancy(l.threads, l.compiled->registers, l.compiled->shared_bytes) : occupancy(l.threads, 0, 0);
  if (t.resident.blocks == 0) return t;
  const double blocks = static_cast<double>(l.blocks), multiprocessors = card.multiprocessors;
  t.waves = blocks / (t.resident.blocks * multiprocessors);
  const double used = std::min(blocks, multiprocessors);
  const double busiest = std::ceil(blocks / multiprocessors);  // blocks of the multiprocessor that has most of them
  const double at_once = std::min(busiest, static_cast<double>(t.resident.blocks));
  const double threads = std::min(blocks, t.resident.blocks * multiprocessors) * l.threads;

  const double latency = (fitting * l2_latency + (1 - fitting) * dram_latency) / card.clock;
  const double memory = 1 / (fitting / card.l2 + (1 - fitting) / card.dram);
  const double bandwidth = std::min({memory, used * l2_bytes_per_cycle * card.clock, threads * bytes_in_flight / latency});
  const double tensor_cores = precision == Precision::tf32 ? card.tf32 : card.bf16;
  const double lanes = precision == Precision::fp32
                           ? std::min(card.peak / multiprocessors, at_once * l.threads * independent_fmas / fma_latency * 2 * card.clock)
                           : tensor_cores / multiprocessors;

  const double moving = bytes / bandwidth, computing = flops / blocks * busiest / lanes;
  t.work = std::max({2 * latency, moving, computing});
  t.bound = t.work == computing ? Bound::arithmetic : t.work == moving ? Bound::memory : Bound::latency;
  return t;
}

}  // namespace

std::span<const GpuCard> gpu_cards() { return known_cards; }

const char* name_of(OccupancyLimit l) {
  static constexpr const char* names[] = {"warps", "registers", "shared memory", "blocks"};
  return names[static_cast<std::size_t>(l)];
}

Occupancy occupancy(int threads, int registers, std::int64_t shared_bytes) {
  if (threads < 1 || threads > max_threads || registers > max_registers || shared_bytes > max_shared) return {};
  const int warps = (threads + warp - 1) / warp;
  // A warp takes registers of one of the four partitions, in units of 256. A launch is refused as if every warp took them in all four.
  const int of_warp = round_up(registers * warp, register_unit);
  if (of_warp * round_up(warps, partitions) > registers_of_partition * partitions) return {0, 0, OccupancyLimit::registers};
  const int warps_with_registers = registers ? registers_of_partition / of_warp * partitions : max_warps;
  const std::int64_t shared = round_up(shared_bytes + shared_reserved, shared_unit);
  const int limits[] = {max_warps / warps, warps_with_registers / warps, static_cast<int>(shared_bytes_all / shared), max_blocks};
  const auto least = std::min_element(std::begin(limits), std::end(limits));
  return {*least, static_cast<double>(*least * warps) / max_warps, static_cast<OccupancyLimit>(least - std::begin(limits))};
}

std::vector<KernelTime> predict(const GpuCard& card, std::span<const KernelLaunch> launches, double bytes, double flops, double fitting,
                                Precision precision) {
  double threads = 0;
  for (const KernelLaunch& l : launches) threads += static_cast<double>(l.blocks * l.threads);
  std::vector<KernelTime> times;
  for (const KernelLaunch& l : launches) {
    const double share = static_cast<double>(l.blocks * l.threads) / threads;
    times.push_back(predict(card, l, share * bytes, share * flops, fitting, precision));
  }
  return times;
}

StepTime predict(const GpuCard& card, std::span<const PlanLine> lines, const std::vector<std::vector<KernelLaunch>>& launches,
                 const std::vector<std::vector<int>>& waits, double working_set) {
  StepTime step;
  step.working_set = working_set;
  step.fitting = working_set > card.l2_bytes ? card.l2_bytes / working_set : 1;
  // The longest chains that end with a Call: in kernels, and in time.
  struct Chain {
    std::size_t kernels = 0;
    double fixed = 0, work = 0;
  };
  std::vector<Chain> chains;
  for (std::size_t c = 0; c < lines.size(); ++c) {
    const std::vector<KernelTime>& times =
        step.calls.emplace_back(predict(card, launches[c], lines[c].bytes, lines[c].flops, step.fitting, lines[c].precision));
    Chain& mine = chains.emplace_back();
    for (const int before : waits[c]) {
      const Chain& b = chains[static_cast<std::size_t>(before)];
      mine.kernels = std::max(mine.kernels, b.kernels);
      if (b.fixed + b.work > mine.fixed + mine.work) mine.fixed = b.fixed, mine.work = b.work;
    }
    for (const KernelTime& t : times) {
      step.fixed += t.fixed, step.work += t.work;
      mine.fixed += t.fixed, mine.work += t.work;
    }
    step.kernels += times.size(), mine.kernels += times.size();
    step.chain = std::max(step.chain, mine.kernels);
    if (mine.fixed + mine.work > step.chained()) step.chain_fixed = mine.fixed, step.chain_work = mine.work;
  }
  return step;
}

}  // namespace norma::app
