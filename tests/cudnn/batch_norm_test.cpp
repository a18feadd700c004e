// Batch norm: training, inference and backward in every layout, compared with cuDNN's legacy entry points and its graph API.
#include "tests/cudnn/batch_norm.h"

#include <gtest/gtest.h>

#include "tests/cudnn/device.h"

namespace norma::test {
namespace {

std::vector<BatchNormCase> cases() {
  std::vector<BatchNormCase> all{
      // LeNet-BN at batch 256
      {"lenet1", {256, 6, 24, 24}},
      {"lenet2", {256, 16, 8, 8}},
      {"lenet_fc1", {256, 120}},
      {"lenet_fc2", {256, 84}},
      // ResNet-50 at batch 32
      {"resnet_112", {32, 64, 112, 112}},
      {"resnet_56", {32, 256, 56, 56}},
      {"resnet_28", {32, 512, 28, 28}},
      {"resnet_14", {32, 1024, 14, 14}},
      {"resnet_7", {32, 2048, 7, 7}},
      // those of tests/support/cases_batch_norm.cpp
      {"odd_lenet1", {37, 6, 24, 24}},
      {"odd_lenet2", {17, 16, 8, 8}},
      {"odd_lenet_fc", {37, 120}},
      {"n1", {1, 3, 5, 4}},
      {"n2_1d", {2, 17}},
      {"n15", {15, 1, 3, 7}},
      {"n16", {16, 3, 7, 3}},
      {"n17", {17, 17, 2, 3}},
      {"n81_1d", {81, 40}},
      {"two_values", {2, 1}},
      {"offset_data", {17, 3, 6, 5}, 50, 0.5},
      {"tiny_data", {17, 3, 6, 5}, 0, 1e-4},
      {"large_planes", {3, 2, 60, 59}},
  };
  for (const BatchNormCase& c : std::vector<BatchNormCase>(all.begin(), all.begin() + 4))
    all.push_back({c.name + "_large_eps", c.shape, 0, 1, 1e-3});
  all.push_back({"resnet_28_large_eps", {32, 512, 28, 28}, 0, 1, 1e-3});
  for (const auto& [name, shape] : std::vector<std::pair<std::string, kernels::Dims>>{{"lenet1", {256, 6, 24, 24}},
                                                                                      {"lenet2", {256, 16, 8, 8}},
                                                                                      {"lenet_fc1", {256, 120}},
                                                                                      {"resnet_14", {32, 1024, 14, 14}},
                                                                                      {"resnet_7", {32, 2048, 7, 7}},
                                                                                      {"n17", {17, 17, 2, 3}}})
    for (const auto& [label, ratio] : std::vector<std::pair<std::string, double>>{{"1e2", 1e2}, {"1e4", 1e4}, {"1e5", 1e5}})
      all.push_back({name + "_mean_" + label, shape, ratio, 1, 1e-5, true});
  return all;
}

class BatchNorm : public ::testing::TestWithParam<BatchNormCase> {
 protected:
  void SetUp() override {
    if (!unavailable().empty()) GTEST_SKIP() << unavailable();
  }
};

TEST_P(BatchNorm, IsAsCloseToDoubleAsCudnn) {
  const BatchNormInputs in = make_inputs(GetParam());
  const std::vector<BatchNormQuantity> expected = expected_outputs(in);
  for (Layout theirs : {Layout::nchw, Layout::nhwc}) {
    const BatchNormOutputs spatial = legacy_batch_norm(in, theirs, CUDNN_BATCHNORM_SPATIAL);
    const BatchNormOutputs persistent = legacy_batch_norm(in, theirs, CUDNN_BATCHNORM_SPATIAL_PERSISTENT);
    const BatchNormOutputs graph = graph_batch_norm(in, theirs);
    for (Layout ours : theirs == Layout::nchw ? std::vector{Layout::nchw, Layout::lanes} : std::vector{Layout::nhwc}) {
      const BatchNormOutputs norma = norma_batch_norm(in, ours);
      for (const auto& [quantity, member] : expected) {
        const std::vector<Yardstick> yardsticks{{"spatial", member(spatial)}, {"persistent", member(persistent)}, {"graph", member(graph)}};
        compare("bn " + in.of.name, name_of(ours), quantity, member(norma), yardsticks, in.of.ordinary());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, BatchNorm, ::testing::ValuesIn(cases()), [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace norma::test
