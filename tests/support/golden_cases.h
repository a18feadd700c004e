// The modules of tests/golden/modules.safetensors as norma writes them, one for one dump.py's module_cases().
#pragma once
#include <ostream>
#include <vector>

#include "norma/norma.h"

namespace norma::test {

struct GoldenCase {
  const char* name;
  Module module;
  Shape input;
  Mode mode = Mode::train;
};

inline std::ostream& operator<<(std::ostream& out, const GoldenCase& c) { return out << c.name << " " << to_string(c.input); }

inline std::vector<GoldenCase> golden_cases() {
  using namespace nn;
  const Sequential net{Conv2d{.out = 4, .kernel = 3, .padding = 1},
                       BatchNorm{},
                       ReLU{},
                       MaxPool2d{},
                       Flatten{},
                       Linear{.out = 5},
                       BatchNorm{},
                       Sigmoid{},
                       Linear{.out = 3}};
  return {
      {"conv_3x3", Conv2d{.out = 4, .kernel = 3}, {2, 3, 6, 5}},
      {"conv_1x1", Conv2d{.out = 5, .kernel = 1}, {3, 3, 4, 3}},
      {"conv_2x3", Conv2d{.out = 3, .kernel = {2, 3}}, {2, 2, 5, 6}},
      {"conv_whole_input", Conv2d{.out = 3, .kernel = {4, 3}}, {3, 2, 4, 3}},
      {"conv_stride2", Conv2d{.out = 4, .kernel = 3, .stride = 2}, {2, 3, 7, 6}},
      {"conv_stride2x1", Conv2d{.out = 3, .kernel = 2, .stride = {2, 1}}, {2, 2, 6, 5}},
      {"conv_stride_over_kernel", Conv2d{.out = 3, .kernel = 2, .stride = 3}, {2, 2, 7, 8}},
      {"conv_padding2", Conv2d{.out = 3, .kernel = 3, .padding = 2}, {2, 2, 4, 3}},
      {"conv_padding0x2", Conv2d{.out = 3, .kernel = 3, .padding = {0, 2}}, {2, 2, 5, 4}},
      {"conv_padding_over_kernel", Conv2d{.out = 2, .kernel = 1, .padding = 1}, {2, 2, 3, 2}},
      {"conv_dilation2", Conv2d{.out = 3, .kernel = 3, .dilation = 2}, {2, 2, 7, 6}},
      {"conv_dilation1x2", Conv2d{.out = 3, .kernel = {2, 3}, .padding = {0, 1}, .dilation = {1, 2}}, {2, 2, 4, 6}},
      {"conv_groups2", Conv2d{.out = 6, .kernel = 3, .groups = 2}, {2, 4, 5, 4}},
      {"conv_depthwise", Conv2d{.out = 6, .kernel = 3, .padding = 1, .groups = 3}, {2, 3, 5, 4}},
      {"conv_no_bias", Conv2d{.out = 4, .kernel = 3, .bias = false}, {2, 3, 5, 4}},
      {"conv_everything",
       Conv2d{.out = 6, .kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}, .groups = 2, .bias = false},
       {3, 4, 7, 6}},
      {"conv_batch17", Conv2d{.out = 3, .kernel = {3, 2}, .padding = 1}, {17, 2, 5, 4}},
      {"conv_batch33", Conv2d{.out = 2, .kernel = 3}, {33, 1, 4, 4}},

      {"linear_plain", Linear{.out = 5}, {3, 7}},
      {"linear_no_bias", Linear{.out = 5, .bias = false}, {3, 7}},
      {"linear_one_output", Linear{.out = 1}, {4, 6}},
      {"linear_batch17", Linear{.out = 11}, {17, 9}},
      {"linear_batch40", Linear{.out = 3}, {40, 5}},

      {"bn_2d", BatchNorm{}, {3, 4, 3, 2}},
      {"bn_1d", BatchNorm{}, {5, 6}},
      {"bn_two_values", BatchNorm{}, {2, 3}},
      {"bn_momentum", BatchNorm{.momentum = 0.3}, {3, 4, 3, 2}},
      {"bn_cumulative", BatchNorm{.momentum = std::nullopt}, {3, 4, 3, 2}},
      {"bn_eps", BatchNorm{.eps = 0.1}, {3, 4, 3, 2}},
      {"bn_no_affine", BatchNorm{.affine = false}, {3, 4, 3, 2}},
      {"bn_no_tracking", BatchNorm{.track_running_stats = false}, {3, 4, 3, 2}},
      {"bn_plain_1d", BatchNorm{.affine = false, .track_running_stats = false}, {5, 6}},
      {"bn_batch17", BatchNorm{}, {17, 3, 2, 3}},
      {"bn_batch17_1d", BatchNorm{}, {17, 5}},
      {"bn_batch40_1d", BatchNorm{}, {40, 4}},
      {"bn_eval", BatchNorm{}, {3, 4, 3, 2}, Mode::eval},
      {"bn_eval_1d", BatchNorm{}, {5, 6}, Mode::eval},
      {"bn_eval_no_affine", BatchNorm{.affine = false}, {3, 4, 3, 2}, Mode::eval},
      {"bn_eval_no_tracking", BatchNorm{.track_running_stats = false}, {3, 4, 3, 2}, Mode::eval},

      {"ln_2d", LayerNorm{}, {3, 4, 3, 2}},
      {"ln_1d", LayerNorm{}, {5, 6}},
      {"ln_batch17", LayerNorm{}, {17, 3, 5, 4}},
      {"ln_eps", LayerNorm{.eps = 0.1}, {5, 6}},
      {"ln_no_bias", LayerNorm{.bias = false}, {3, 4, 3, 2}},
      {"ln_no_affine", LayerNorm{.elementwise_affine = false}, {3, 4, 3, 2}},
      {"ln_eval", LayerNorm{}, {5, 6}, Mode::eval},

      {"in_plain", InstanceNorm{}, {3, 4, 3, 2}},
      {"in_affine", InstanceNorm{.affine = true}, {3, 4, 3, 2}},
      {"in_batch17", InstanceNorm{.affine = true}, {17, 3, 5, 4}},
      {"in_two_elements", InstanceNorm{.eps = 0.1}, {3, 4, 1, 2}},
      {"in_tracking", InstanceNorm{.momentum = 0.3, .affine = true, .track_running_stats = true}, {19, 4, 3, 2}},
      {"in_eval", InstanceNorm{}, {3, 4, 3, 2}, Mode::eval},
      {"in_eval_tracking", InstanceNorm{.affine = true, .track_running_stats = true}, {3, 4, 3, 2}, Mode::eval},

      {"gn_2d", GroupNorm{.groups = 2}, {3, 4, 3, 2}},
      {"gn_1d", GroupNorm{.groups = 2}, {5, 6}},
      {"gn_one_group", GroupNorm{.groups = 1}, {3, 4, 3, 2}},
      {"gn_channels", GroupNorm{.groups = 4}, {3, 4, 3, 2}},
      {"gn_batch17", GroupNorm{.groups = 3}, {17, 6, 5, 4}},
      {"gn_eps", GroupNorm{.groups = 3, .eps = 0.1}, {5, 6}},
      {"gn_no_affine", GroupNorm{.groups = 2, .affine = false}, {3, 4, 3, 2}},
      {"gn_eval", GroupNorm{.groups = 2}, {3, 4, 3, 2}, Mode::eval},

      {"pool_max2", MaxPool2d{.kernel = 2}, {2, 3, 6, 5}},
      {"pool_max3x2_stride1x2", MaxPool2d{.kernel = {3, 2}, .stride = Size2{1, 2}}, {2, 3, 6, 5}},
      {"pool_max3_padding1", MaxPool2d{.kernel = 3, .stride = 2, .padding = 1}, {2, 3, 6, 5}},
      {"pool_max3x2_padding1x0", MaxPool2d{.kernel = {3, 2}, .stride = 1, .padding = {1, 0}}, {2, 3, 6, 5}},
      {"pool_max2_dilation2", MaxPool2d{.kernel = 2, .stride = 1, .dilation = 2}, {2, 3, 6, 5}},
      {"pool_max2_dilation1x3_padding1", MaxPool2d{.kernel = 2, .stride = 2, .padding = 1, .dilation = {1, 3}}, {2, 3, 6, 5}},
      {"pool_max2_ceil", MaxPool2d{.kernel = 2, .ceil_mode = true}, {2, 3, 7, 5}},
      {"pool_max3_ceil_padding1", MaxPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}, {2, 2, 6, 6}},
      {"pool_max2_stride3_ceil", MaxPool2d{.kernel = 2, .stride = 3, .ceil_mode = true}, {2, 2, 7, 8}},
      {"pool_max2_batch17", MaxPool2d{.kernel = 2}, {17, 2, 4, 4}},
      {"pool_avg2", AvgPool2d{.kernel = 2}, {2, 3, 6, 5}},
      {"pool_avg3x2_stride1x2", AvgPool2d{.kernel = {3, 2}, .stride = Size2{1, 2}}, {2, 3, 6, 5}},
      {"pool_avg3_padding1", AvgPool2d{.kernel = 3, .stride = 2, .padding = 1}, {2, 3, 6, 5}},
      {"pool_avg3_padding1_inside", AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .count_include_pad = false}, {2, 3, 6, 5}},
      {"pool_avg3x2_padding1x0", AvgPool2d{.kernel = {3, 2}, .stride = 1, .padding = {1, 0}}, {2, 3, 6, 5}},
      {"pool_avg2_ceil", AvgPool2d{.kernel = 2, .ceil_mode = true}, {2, 3, 7, 5}},
      {"pool_avg3_ceil_padding1", AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}, {2, 2, 6, 6}},
      {"pool_avg3_ceil_padding1_inside",
       AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false},
       {2, 2, 6, 6}},
      {"pool_avg2_stride3_ceil", AvgPool2d{.kernel = 2, .stride = 3, .ceil_mode = true}, {2, 2, 7, 8}},
      {"pool_avg2_batch17", AvgPool2d{.kernel = 2}, {17, 2, 4, 4}},
      {"pool_global", GlobalAvgPool2d{}, {2, 3, 6, 5}},
      {"pool_global_batch17", GlobalAvgPool2d{}, {17, 2, 3, 4}},

      {"relu_4d", ReLU{}, {3, 2, 4, 3}},
      {"relu_2d", ReLU{}, {17, 3}},
      {"sigmoid_4d", Sigmoid{}, {3, 2, 4, 3}},
      {"sigmoid_2d", Sigmoid{}, {17, 3}},
      {"tanh_4d", Tanh{}, {3, 2, 4, 3}},
      {"tanh_2d", Tanh{}, {17, 3}},
      {"bn_relu", Sequential{BatchNorm{}, ReLU{}}, {3, 4, 3, 2}},
      {"bn_sigmoid", Sequential{BatchNorm{}, Sigmoid{}}, {3, 4, 3, 2}},
      {"bn_tanh", Sequential{BatchNorm{}, Tanh{}}, {3, 4, 3, 2}},
      {"bn_eval_relu", Sequential{BatchNorm{}, ReLU{}}, {3, 4, 3, 2}, Mode::eval},
      {"bn_eval_sigmoid", Sequential{BatchNorm{}, Sigmoid{}}, {3, 4, 3, 2}, Mode::eval},
      {"bn_eval_tanh", Sequential{BatchNorm{}, Tanh{}}, {3, 4, 3, 2}, Mode::eval},
      {"flatten", Flatten{}, {3, 2, 4, 3}},

      {"residual", Sequential{{"block", Residual{Sequential{Linear{.out = 4}, Tanh{}, Linear{.out = 6}}}}}, {5, 6}},
      {"residual_projection",
       Sequential{{"block", Residual{Sequential{Conv2d{.out = 4, .kernel = 3, .padding = 1}, BatchNorm{}},
                                     Module{Conv2d{.out = 4, .kernel = 1, .bias = false}}}},
                  ReLU{}},
       {3, 3, 4, 3}},
      {"net", net, {6, 2, 4, 6}},
      {"net_batch19", net, {19, 2, 4, 6}},
      {"net_eval", net, {6, 2, 4, 6}, Mode::eval},
  };
}

}  // namespace norma::test
