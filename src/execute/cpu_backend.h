// The choice of the CPU's kernels from ExecutorOptions.
#pragma once
#include <string>

#include "kernels/cpu/backend.h"

namespace norma {

// Throws Error(usage) for an unknown isa, Error(device) where this machine has none of the levels built in.
const kernels::cpu::Backend& choose_cpu_backend(const std::string& isa);

}  // namespace norma
