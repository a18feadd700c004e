// Listener of GoogleTest for programs on a GPU: a fault that ends the GPU's context ends the process.
#pragma once
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "src/execute/cuda_memory.h"

namespace norma::test {

// After some faults, such as an illegal address, every later call of the process fails. This error, or cudaSuccess.
inline cudaError_t lasting_error() {
  if (cudaDeviceSynchronize() == cudaSuccess) return cudaSuccess;
  (void)cudaGetLastError();  // an error that does not last is gone now
  return cudaDeviceSynchronize();
}

// After the test at fault a line names it, and the process exits with 3. A process that never had a context goes on.
// $NORMA_TEST_PROGRESS names a file. It gets "began <test>", then "passed <test>", "failed <test>" or "skipped <test>", each a line. A test
// that ends the process leaves only the first.
class GpuListener : public testing::EmptyTestEventListener {
  void OnTestProgramStart(const testing::UnitTest&) override {
    if (const char* path = std::getenv("NORMA_TEST_PROGRESS")) progress_.open(path, std::ios::app);
    has_context_ = lasting_error() == cudaSuccess;
  }

  void OnTestStart(const testing::TestInfo& test) override { tell("began", test); }

  void OnTestEnd(const testing::TestInfo& test) override {
    if (const cudaError_t lost = has_context_ ? lasting_error() : cudaSuccess; lost != cudaSuccess) {
      std::printf("the GPU's context is lost in %s: %s; this process ends\n", name_of(test).c_str(), norma::cuda::text_of(lost).c_str());
      std::fflush(nullptr);
      std::_Exit(3);
    }
    tell(test.result()->Skipped() ? "skipped" : test.result()->Passed() ? "passed" : "failed", test);
  }

  static std::string name_of(const testing::TestInfo& test) { return std::string(test.test_suite_name()) + "." + test.name(); }
  void tell(const char* event, const testing::TestInfo& test) { progress_ << event << ' ' << name_of(test) << std::endl; }

  std::ofstream progress_;
  bool has_context_ = false;
};

}  // namespace norma::test
