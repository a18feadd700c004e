// Devices: which there are, and what of this machine can be used.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "norma/export.h"

namespace norma {

struct NORMA_API Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  static Device cpu() { return {Kind::cpu, 0}; }
  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  // A usable GPU, else the CPU.
  static Device best();
  // "auto", "cpu", "cuda", "cuda:1". Throws Error(usage).
  static Device parse(std::string_view text);
};

NORMA_API std::string to_string(const Device& d);

// Traits that decide how Plans for a device are made and run.
struct NORMA_API DeviceTraits {
  int lanes = 1;                  // L, the samples of a pack: the lanes a Plan is lowered to
  std::int64_t by_pack_from = 0;  // a batch of at least this many packs is run pack by pack; 0: never
  bool joins = false;             // Calls that one kernel can run are joined
  std::int64_t steps_ahead = 1;   // runs that may be queued before their results are read; 1: run() returns when all is done
  std::size_t ample = 0;          // bytes of activations whose memory need not be used again, so that Calls can run side by side

  bool by_pack(std::int64_t samples) const { return by_pack_from > 0 && (samples + lanes - 1) / lanes >= by_pack_from; }
};

// Gives the reason for Device::best()'s choice in one line: "no CUDA in this build".
NORMA_API std::string best_device_reason();

// CUDA in this build and on this machine.
struct NORMA_API CudaReport {
  struct Gpu {
    std::string name{};        // "NVIDIA H200"
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    std::size_t memory = 0;  // bytes
    std::string problem{};   // the reason it cannot be used, with the remedy; empty if it can
  };
  bool built = false;           // with the CUDA kernels
  std::string architectures{};  // that they were compiled for, as CMAKE_CUDA_ARCHITECTURES says it: "90", "all-major"
  int runtime = 0, driver = 0;  // 13000 is CUDA 13.0. runtime: the build's; driver: the latest it knows, 0 without one
  std::string needed_driver{};  // the first branch of NVIDIA's driver that runs this build: "r580"; empty if not known
  std::vector<Gpu> gpus{};      // by number
  std::string problem{};        // the reason for having no GPUs, with the remedy
};

// Never throws if something is missing. It runs a kernel on each GPU found.
NORMA_API CudaReport cuda_report();

// Threads that are worth having here: the processors this process may run on, or fewer where its control group has a quota, rounded up.
NORMA_API int usable_cores();

// Instruction-set levels of the CPU kernels in this build that this machine can run, best first: {"avx512", "avx2"}.
NORMA_API std::vector<std::string> cpu_isa_levels();

}  // namespace norma
