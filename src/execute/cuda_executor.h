// The GPU's Executor. Defined by cuda_executor.cpp, or by no_cuda.cpp in a build without CUDA.
#pragma once
#include <memory>
#include <string>

#include "norma/executor.h"

namespace norma {

// Gives the reason that GPU number `index` cannot be used, with the remedy; empty if it can.
std::string why_not_cuda(int index);

// Throws Error(device) where it cannot be used.
std::unique_ptr<Executor> make_cuda_executor(int index, const ExecutorOptions& options);

}  // namespace norma
