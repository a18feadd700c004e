// Every Call x case on the GPU, compared with the double reference in lanes and in NCHW, with guards, inputs and padding lanes. Two runs
// give equal bits, wherever the values lie, and from addresses that allow no wide loads. Then the cases of sizes beyond 16 bits.
#include <gtest/gtest.h>

#include <ostream>

#include "kernels/cuda/backend.h"
#include "src/verify/tolerance.h"
#include "tests/cuda/gpu.h"

namespace norma::test {

// GoogleTest's text for a parameter.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

namespace {

constexpr int native = kernels::cuda::lanes;

double share(const CallCase& c) { return reference::tensor_core_share(c.plan.calls[0].call); }

class CudaKernels : public testing::TestWithParam<Case> {};

TEST_P(CudaKernels, AgreeWithTheReference) {
  for (const int lanes : {native, 1, 16}) {
    const CallCase c = GetParam().make(lanes);
    for (const std::string& problem : check(c, on_gpu(c, Placement::together), share(c))) ADD_FAILURE() << lanes << " lanes: " << problem;
  }
}

TEST_P(CudaKernels, AgreeFromUnalignedAddresses) {
  for (const int lanes : {native, 1}) {
    const CallCase c = GetParam().make(lanes);
    for (const std::string& problem : check(c, on_gpu(c, Placement::unaligned), share(c))) ADD_FAILURE() << lanes << " lanes: " << problem;
  }
}

TEST_P(CudaKernels, GiveTheSameBitsEveryTime) {
  for (const int lanes : {native, 1, 16}) {
    const CallCase c = GetParam().make(lanes);
    const Outputs expected = outputs_of(c, on_gpu(c, Placement::together));
    for (const Placement placement : {Placement::together, Placement::apart})
      for (const std::string& problem : compare_bits(outputs_of(c, on_gpu(c, placement)), expected))
        ADD_FAILURE() << lanes << " lanes" << (placement == Placement::apart ? ", values in memory of their own: " : ": ") << problem;
  }
}

class LargeCudaKernels : public testing::TestWithParam<Case> {};

TEST_P(LargeCudaKernels, AgreeWithTheReference) {
  for (const int lanes : {native, 1}) {
    const CallCase c = GetParam().make(lanes);
    for (const std::string& problem : check(c, on_gpu(c, Placement::together), 1e-6)) ADD_FAILURE() << lanes << " lanes: " << problem;
  }
}

const auto case_name = [](const auto& entry) { return entry.param.name; };
INSTANTIATE_TEST_SUITE_P(Cases, CudaKernels, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Cases, LargeCudaKernels, testing::ValuesIn(large_cases()), case_name);

}  // namespace
}  // namespace norma::test
