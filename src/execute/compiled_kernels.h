// What is known of the CUDA kernels of this build without a GPU.
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

// The table that cmake/kernel_table.cmake writes when the kernels are compiled; without what was compiled where ptxas could not be heard.
std::span<const CompiledKernel> compiled_kernels();

}  // namespace norma
