// norma's CUDA kernels compared with cuDNN, both against double: norma_cudnn_tests. Without a GPU every test is skipped and says why.
// $NORMA_CUDNN_JSON names a file for the table of errors.
//   norma_cudnn_tests --batch-norm-speed <file of shapes>   times cuDNN's batch norms instead: batch_norm_speed.h
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>
#include <string_view>

#include "tests/cuda/gpu_listener.h"
#include "tests/cudnn/batch_norm_speed.h"
#include "tests/cudnn/cudnn_handle.h"
#include "tests/cudnn/device.h"
#include "tests/cudnn/parity.h"

namespace {

class Report : public ::testing::Environment {
 public:
  void SetUp() override {
    if (!norma::test::unavailable().empty()) return;
    cudaDeviceProp device{};
    norma::test::check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
    std::printf("%s, cuDNN %zu (headers %d)\n", device.name, cudnnGetVersion(), CUDNN_VERSION);
  }
  void TearDown() override { norma::test::finish_table(); }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--batch-norm-speed") {
    if (argc != 3) {
      std::fprintf(stderr, "norma_cudnn_tests: --batch-norm-speed takes a file of shapes\n");
      return 2;
    }
    try {
      return norma::test::batch_norm_speed(argv[2]);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "norma_cudnn_tests: %s\n", e.what());
      return 1;
    }
  }
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new Report);  // GoogleTest deletes both
  ::testing::UnitTest::GetInstance()->listeners().Append(new norma::test::GpuListener);
  return RUN_ALL_TESTS();
}
