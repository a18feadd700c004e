// The GPU's Executor. Defined by cuda_executor.cpp, or by no_cuda.cpp in a build without CUDA.
#pragma once
#include <memory>
#include <string>

#include "norma/executor.h"

namespace norma {

// The branch of NVIDIA's driver that a CUDA runtime needs at least (13000 is CUDA 13.0): "r580"; empty if it is not known here. Drivers of
// a major version's first branch run all of that version: https://docs.nvidia.com/deploy/cuda-compatibility
inline std::string needed_driver(int runtime) {
  switch (runtime / 1000) {
    case 11: return "r450";
    case 12: return "r525";
    case 13: return "r580";
    default: return "";
  }
}

// Gives the reason that GPU number `index` cannot be used, with the remedy; empty if it can.
std::string why_not_cuda(int index);

// Throws Error(device) where it cannot be used.
std::unique_ptr<Executor> make_cuda_executor(int index, const ExecutorOptions& options);

}  // namespace norma
