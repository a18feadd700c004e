// The operations that norma bench ops measures: the layers of known nets.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "norma/module.h"
#include "norma/shape.h"

namespace norma::app {

struct BenchShape {
  enum class Kind : std::uint8_t { convolution, linear, max_pool };
  const char* net;   // "resnet18"
  const char* name;  // "layer2.0.conv1", PyTorch's
  Kind kind = Kind::convolution;
  std::int64_t count = 1;            // times it is in the net
  std::int64_t batch = 0;            // 0: --batch
  std::int64_t c = 0, h = 1, w = 1;  // of the input
  std::int64_t out = 0;              // filters or features
  std::int64_t kernel = 1, stride = 1, padding = 0;
  bool bias = false;
  bool first = false;  // of its net: the gradient of its input is not computed
};

// LeNet's layers at batch 256, every distinct convolution of ResNet-18 and VGG-16 at 224 x 224, pools from them.
std::span<const BenchShape> bench_shapes();

Module module_of(const BenchShape& s);
Shape input_of(const BenchShape& s, std::int64_t batch);
// "64x56x56 -> 128 k3 s2"
std::string describe(const BenchShape& s);

}  // namespace norma::app
