// A Plan on a GPU that need not be there: the kernels that its Calls queue.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "norma/export.h"
#include "norma/plan.h"

namespace norma {

// One kernel of a Call; in a captured Plan one node of the graph.
struct NORMA_API KernelLaunch {
  // Resources of the kernel as compiled.
  struct Compiled {
    int architecture = 0;                            // 90: sm_90
    int registers = 0;                               // of a thread
    std::int64_t shared_bytes = 0, local_bytes = 0;  // of a block; of a thread: spilled registers and arrays
  };
  std::string kernel;  // "flat_pass<4, SgdUpdate>"; empty where the build does not know
  std::int64_t blocks = 0;
  int threads = 0;                     // of a block
  bool cooperative = false;            // all blocks resident at once, with barriers between them
  std::optional<Compiled> compiled{};  // none where the build has no code for the GPU, or did not keep what its compiler said
};

// Lists the launches of every Call, in the order of the Plan, which was compiled for a GPU. capability: 90 for 9.0. multiprocessors: 132 of
// an H200; batch norms wait on chip for their sums where it has room for them. Needs no GPU. Throws Error(device) in a build without CUDA,
// which has no kernels to list.
NORMA_API std::vector<std::vector<KernelLaunch>> kernel_launches(const Plan& plan, int capability, int multiprocessors);

}  // namespace norma
