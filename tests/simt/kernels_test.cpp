// Every Call x case on the CUDA kernels, emulated: held against the double reference in lanes and in NCHW, with threads and blocks in
// random order, and the same bits whatever the order.
#include <gtest/gtest.h>

#include <ostream>

#include "tests/simt/emulated_call.h"

namespace norma::test {

// What GoogleTest prints for a parameter.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

namespace {

class EmulatedKernels : public testing::TestWithParam<Case> {};

// One test, so that a case's process starts once.
TEST_P(EmulatedKernels, AgreeWithTheReferenceInEveryOrderOfThreads) {
  for (const int lanes : {32, 1, 16}) {
    const CallCase c = GetParam().make(lanes);
    Outputs in_random_order;
    for (const std::string& problem : check(c, emulated({.seed = 1}), 0, &in_random_order)) ADD_FAILURE() << lanes << " lanes: " << problem;
    if (lanes == 16) continue;  // the same kernels as 32
    const Outputs expected = outputs_of(c, emulated({.order = simt::Order::ascending}));
    for (const std::string& problem : compare_bits(in_random_order, expected))
      ADD_FAILURE() << lanes << " lanes, threads in random order instead of ascending: " << problem;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, EmulatedKernels, testing::ValuesIn(cases()), [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace norma::test
