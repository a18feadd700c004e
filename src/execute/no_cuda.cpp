// A build without CUDA.
#include "norma/device.h"
#include "norma/error.h"
#include "norma/instruments.h"
#include "norma/launches.h"
#include "src/execute/cuda_executor.h"
#include "src/execute/cuda_probes.h"

namespace norma {

namespace {

[[noreturn]] void refuse(int index) {
  throw Error(ErrorKind::device, "device " + to_string(Device::cuda(index)) + " cannot be used: " + why_not_cuda(index) +
                                     "; use --device cpu, or auto to take what is there");
}

}  // namespace

std::string why_not_cuda(int) {
  return "this build of norma has no CUDA; configure with -DNORMA_CUDA=ON where the CUDA toolkit is installed";
}

std::unique_ptr<Executor> make_cuda_executor(int index, const ExecutorOptions&) { refuse(index); }
std::size_t cuda_cache_bytes(int index) { refuse(index); }
Roofline cuda_roofline(int index) { refuse(index); }
std::function<double()> cuda_copy_probe(int index, std::size_t, std::int64_t) { refuse(index); }
std::vector<Latency> cuda_latencies(int index, std::int64_t) { refuse(index); }

std::vector<std::vector<KernelLaunch>> kernel_launches(const Plan&, int, int) {
  throw Error(ErrorKind::device, "the GPU's kernels cannot be listed: " + why_not_cuda(0));
}

CudaReport cuda_report() { return {.problem = why_not_cuda(0)}; }

}  // namespace norma
