// Every layer, with shapes that no tile or vector divides.
#pragma once
#include <utility>
#include <vector>

#include "norma/norma.h"

namespace norma::test {

inline constexpr Shape odd_input{3, 11, 13};

// Each takes a sample of odd_input.
inline std::vector<std::pair<const char*, Module>> layers_of_odd_shapes() {
  return {
      {"many filters", nn::Conv2d{.out = 70, .kernel = 3, .padding = 1}},
      {"filters of an odd number of vectors", nn::Conv2d{.out = 40, .kernel = 5, .stride = 2, .padding = 2}},
      {"a larger padding than kernel", nn::Conv2d{.out = 9, .kernel = 2, .padding = 3, .dilation = 2}},
      {"a window that leaves rows out", nn::Conv2d{.out = 6, .kernel = {3, 2}, .stride = {4, 5}}},
      {"pointwise", nn::Conv2d{.out = 33}},
      {"pointwise in strides", nn::Conv2d{.out = 33, .stride = 2}},
      {"depthwise", nn::Conv2d{.out = 3, .kernel = 3, .padding = 1, .groups = 3}},
      {"depthwise in strides", nn::Conv2d{.out = 6, .kernel = 3, .stride = 2, .groups = 3}},
      {"groups", nn::Conv2d{.out = 30, .kernel = 3, .groups = 3}},
      {"transposed", nn::ConvTranspose2d{.out = 4, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1}},
      {"transposed groups", nn::ConvTranspose2d{.out = 6, .kernel = 4, .stride = 3, .dilation = 2, .groups = 3}},
      {"max pooling", nn::MaxPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}},
      {"max pooling of four", nn::MaxPool2d{.kernel = 2}},
      {"average pooling", nn::AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}},
      {"global pooling", nn::GlobalAvgPool2d{}},
      {"layer norm", nn::LayerNorm{}},
      {"group norm", nn::Sequential{nn::Conv2d{.out = 6}, nn::GroupNorm{.groups = 2}}},
      {"instance norm", nn::InstanceNorm{.affine = true}},
      {"instance norm by statistics", nn::InstanceNorm{.affine = true, .track_running_stats = true}},
      {"batch norm", nn::Sequential{nn::BatchNorm{}, nn::GELU{}}},
      {"batch norm with an activation", nn::Sequential{nn::BatchNorm{}, nn::ReLU{}}},
      {"batch norm with pooling", nn::Sequential{nn::BatchNorm{}, nn::Sigmoid{}, nn::MaxPool2d{.kernel = 3}}},
      {"residual", nn::Residual{nn::Sequential{nn::Conv2d{.out = 3, .kernel = 3, .padding = 1}, nn::BatchNorm{}}}},
      {"linear", nn::Sequential{nn::Flatten{}, nn::Linear{.out = 100}, nn::ELU{}, nn::Linear{.out = 17}, nn::Linear{.out = 1}}},
  };
}

}  // namespace norma::test
