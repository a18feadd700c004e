// A build without CUDA.
#include "norma/error.h"
#include "norma/launches.h"
#include "src/cuda_executor.h"

namespace norma {

std::string why_not_cuda(int) {
  return "this build of norma has no CUDA; configure with -DNORMA_CUDA=ON where the CUDA toolkit is installed";
}

std::unique_ptr<Executor> make_cuda_executor(int index, const ExecutorOptions&) {
  throw Error(ErrorKind::device, "device " + to_string(Device::cuda(index)) + " cannot be used: " + why_not_cuda(index) +
                                     "; use --device cpu, or auto to take what is there");
}

std::vector<std::vector<KernelLaunch>> kernel_launches(const Plan&, int) {
  throw Error(ErrorKind::device, "the GPU's kernels cannot be listed: " + why_not_cuda(0));
}

CudaReport cuda_report() { return {.problem = why_not_cuda(0)}; }

}  // namespace norma
