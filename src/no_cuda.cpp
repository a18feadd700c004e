// A build without CUDA.
#include "src/cuda_executor.h"

namespace norma {

std::unique_ptr<Executor> make_cuda_executor(int, std::string& why) {
  why = "this build of norma has no CUDA";
  return nullptr;
}

}  // namespace norma
