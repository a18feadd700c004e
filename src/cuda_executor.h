// The GPU's Executor. Defined by cuda_executor.cpp, or by no_cuda.cpp in a build without CUDA.
#pragma once
#include <memory>
#include <string>

#include "norma/executor.h"

namespace norma {

// Null where no GPU can be used; `why` then says the reason.
std::unique_ptr<Executor> make_cuda_executor(int index, std::string& why);

}  // namespace norma
