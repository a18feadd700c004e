// Facts about this build's CUDA kernels that need no GPU.
#pragma once
#include <cstdint>
#include <span>

namespace norma {

// A kernel as ptxas compiled it for one architecture.
struct CompiledKernel {
  const char* symbol = nullptr;                    // mangled
  int architecture = 0;                            // 90: sm_90
  int registers = 0;                               // of a thread
  std::int64_t shared_bytes = 0, local_bytes = 0;  // of a block, static; of a thread, spills counted by stores and loads
};

// Table that cmake/kernel_table.cmake writes when the kernels are compiled. It lacks kernels compiled without ptxas' report.
std::span<const CompiledKernel> compiled_kernels();

}  // namespace norma
