// norma_cuda_tests: the CUDA kernels and training on this machine's first GPU. If it cannot be used, says why, runs nothing and exits with
// 77. A fault that ends the GPU's context ends the process: gpu_listener.h.
#include <gtest/gtest.h>

#include <cstdio>

#include "norma/executor.h"
#include "src/execute/cuda_executor.h"
#include "tests/cuda/gpu_listener.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  if (const std::string why = norma::why_not_cuda(0); !why.empty()) {
    std::printf("skipped the tests on a GPU: %s\n", why.c_str());
    return 77;
  }
  std::printf("%s\n", norma::make_executor(norma::Device::cuda())->description().c_str());
  testing::UnitTest::GetInstance()->listeners().Append(new norma::test::GpuListener);  // GoogleTest deletes it
  return RUN_ALL_TESTS();
}
