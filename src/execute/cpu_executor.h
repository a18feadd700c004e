// The CPU's kernels and Executor, as ExecutorOptions choose them. make_executor is in device.cpp.
#pragma once
#include <memory>
#include <string>

#include "kernels/cpu/backend.h"
#include "norma/executor.h"

namespace norma {

// Throws Error(usage) for an unknown isa, Error(device) if this machine has no level of the build.
const kernels::cpu::Backend& choose_cpu_backend(const std::string& isa);

// Throws as choose_cpu_backend, and Error(usage) where the number of threads is out of range.
std::unique_ptr<Executor> make_cpu_executor(const ExecutorOptions& options);

}  // namespace norma
