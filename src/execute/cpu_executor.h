// The CPU's Executor, made by make_executor (device.cpp).
#pragma once
#include <memory>

#include "norma/executor.h"

namespace norma {

// Throws Error(usage) for an unknown isa, Error(device) where this machine has none of the levels built in.
std::unique_ptr<Executor> make_cpu_executor(const ExecutorOptions& options);

}  // namespace norma
