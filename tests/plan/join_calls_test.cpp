// join: which neighbours in a Plan become one Call.
#include <gtest/gtest.h>

#include "norma/norma.h"
#include "src/plan/lower.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

// The Calls about batch norm of a training step on a GPU.
std::vector<std::string> batch_norm_calls(const nn::Sequential& net, const Shape& x) {
  Builder builder;
  const Value y = net(builder, builder.input("x", x));
  const Plan plan = lower(fuse(std::move(builder).finish({y})), {.mode = Mode::train,
                                                                 .lanes = 32,
                                                                 .backward = true,
                                                                 .input_gradients = true,
                                                                 .data = {},
                                                                 .loss = {},
                                                                 .optimizer = {},
                                                                 .join = true,
                                                                 .assign = {}});
  std::vector<std::string> names;
  for (const PlanCall& c : plan.calls)
    if (const std::string name = name_of(c.call); name.find("batch_norm_") != std::string::npos && name != "batch_norm_running_update")
      names.push_back(c.path + " " + name);
  return names;
}

using Names = std::vector<std::string>;

TEST(Join, BatchNormByItselfIsOneCallEachWay) {
  const Names both{"bn1 batch_norm_statistics+batch_norm_apply", "bn1 batch_norm_backward_reduce+batch_norm_backward_apply"};
  EXPECT_EQ(batch_norm_calls(nn::Sequential{nn::BatchNorm{}}, {40, 3, 8, 8}), both);
  EXPECT_EQ(batch_norm_calls(nn::Sequential{nn::BatchNorm{}, nn::ReLU{}}, {40, 3, 8, 8}), both);
}

TEST(Join, WhatAGpuDoesNotHoldStaysTwoCalls) {
  const Names apart{"bn1 batch_norm_statistics", "bn1 batch_norm_apply", "bn1 batch_norm_backward_reduce", "bn1 batch_norm_backward_apply"};
  EXPECT_EQ(batch_norm_calls(nn::Sequential{nn::BatchNorm{}}, {64, 1, 256, 256}), apart);  // 2^22 elements of a channel
  const Names sigmoid = batch_norm_calls(nn::Sequential{nn::BatchNorm{}, nn::Sigmoid{}}, {40, 3, 8, 8});
  ASSERT_EQ(sigmoid.size(), 3U);
  EXPECT_EQ(sigmoid[0], "bn1 batch_norm_statistics");
}

TEST(Join, AConvolutionMakesTheStatisticsOfWhatItWrites) {
  const Names calls = batch_norm_calls(nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3}, nn::BatchNorm{}}, {40, 3, 8, 8});
  ASSERT_GE(calls.size(), 2U);
  EXPECT_EQ(calls[0], "conv1+bn1 conv2d_forward+batch_norm_statistics");
  EXPECT_EQ(calls[1], "bn1 batch_norm_apply");
}

}  // namespace
}  // namespace norma
