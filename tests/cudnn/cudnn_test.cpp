// norma's CUDA kernels beside cuDNN, both against double: norma_cudnn_tests. Without a GPU every test is skipped and says why.
// $NORMA_CUDNN_JSON names a file for the table of errors.
#include <gtest/gtest.h>

#include <cstdio>

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
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new Report);  // GoogleTest deletes it
  return RUN_ALL_TESTS();
}
