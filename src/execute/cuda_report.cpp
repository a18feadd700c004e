// Report of a build with CUDA on this machine.
#include <cuda_runtime_api.h>

#include "norma/device.h"
#include "norma/executor.h"
#include "src/execute/cuda_executor.h"

namespace norma {

CudaReport cuda_report() {
  CudaReport report{.built = true, .architectures = NORMA_CUDA_ARCHITECTURES};
  (void)cudaRuntimeGetVersion(&report.runtime);
  (void)cudaDriverGetVersion(&report.driver);
  report.needed_driver = needed_driver(report.runtime);
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) count = 0;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p{};
    CudaReport::Gpu gpu;
    if (cudaGetDeviceProperties(&p, i) == cudaSuccess)
      gpu = {.name = p.name, .major = p.major, .minor = p.minor, .multiprocessors = p.multiProcessorCount, .memory = p.totalGlobalMem};
    gpu.problem = why_not_cuda(i);
    report.gpus.push_back(std::move(gpu));
  }
  (void)cudaGetLastError();
  if (report.gpus.empty()) report.problem = why_not_cuda(0);
  return report;
}

}  // namespace norma
