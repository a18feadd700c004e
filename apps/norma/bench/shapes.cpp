#include "apps/norma/bench/shapes.h"

#include <fmt/format.h>

namespace norma::app {

std::span<const BenchShape> bench_shapes() {
  using enum BenchShape::Kind;
  // clang-format off
  static constexpr BenchShape all[] = {
      {"lenet", "conv1", convolution, 1, 256, 1, 28, 28, 6, 5, 1, 0, true, true},
      {"lenet", "conv2", convolution, 1, 256, 6, 12, 12, 16, 5, 1, 0, true},
      {"lenet-linear", "fc1", linear, 1, 256, 256, 1, 1, 120, 1, 1, 0, true},
      {"lenet-linear", "fc2", linear, 1, 256, 120, 1, 1, 84, 1, 1, 0, true},
      {"lenet-linear", "fc3", linear, 1, 256, 84, 1, 1, 10, 1, 1, 0, true},

      {"resnet18", "conv1", convolution, 1, 0, 3, 224, 224, 64, 7, 2, 3, false, true},
      {"resnet18", "layer1.0.conv1", convolution, 4, 0, 64, 56, 56, 64, 3, 1, 1},
      {"resnet18", "layer2.0.conv1", convolution, 1, 0, 64, 56, 56, 128, 3, 2, 1},
      {"resnet18", "layer2.0.downsample.0", convolution, 1, 0, 64, 56, 56, 128, 1, 2, 0},
      {"resnet18", "layer2.0.conv2", convolution, 3, 0, 128, 28, 28, 128, 3, 1, 1},
      {"resnet18", "layer3.0.conv1", convolution, 1, 0, 128, 28, 28, 256, 3, 2, 1},
      {"resnet18", "layer3.0.downsample.0", convolution, 1, 0, 128, 28, 28, 256, 1, 2, 0},
      {"resnet18", "layer3.0.conv2", convolution, 3, 0, 256, 14, 14, 256, 3, 1, 1},
      {"resnet18", "layer4.0.conv1", convolution, 1, 0, 256, 14, 14, 512, 3, 2, 1},
      {"resnet18", "layer4.0.downsample.0", convolution, 1, 0, 256, 14, 14, 512, 1, 2, 0},
      {"resnet18", "layer4.0.conv2", convolution, 3, 0, 512, 7, 7, 512, 3, 1, 1},

      {"vgg16", "features.0", convolution, 1, 0, 3, 224, 224, 64, 3, 1, 1, true, true},
      {"vgg16", "features.2", convolution, 1, 0, 64, 224, 224, 64, 3, 1, 1, true},
      {"vgg16", "features.5", convolution, 1, 0, 64, 112, 112, 128, 3, 1, 1, true},
      {"vgg16", "features.7", convolution, 1, 0, 128, 112, 112, 128, 3, 1, 1, true},
      {"vgg16", "features.10", convolution, 1, 0, 128, 56, 56, 256, 3, 1, 1, true},
      {"vgg16", "features.12", convolution, 2, 0, 256, 56, 56, 256, 3, 1, 1, true},
      {"vgg16", "features.17", convolution, 1, 0, 256, 28, 28, 512, 3, 1, 1, true},
      {"vgg16", "features.19", convolution, 2, 0, 512, 28, 28, 512, 3, 1, 1, true},
      {"vgg16", "features.24", convolution, 3, 0, 512, 14, 14, 512, 3, 1, 1, true},

      // Tensors of 100 MB and more: nothing of a pass stays in a cache for the next.
      {"max-pool", "lenet.pool1", max_pool, 1, 256, 6, 24, 24, 0, 2, 2, 0},
      {"max-pool", "resnet18.maxpool", max_pool, 1, 64, 64, 112, 112, 0, 3, 2, 1},
      {"max-pool", "vgg16.features.9", max_pool, 1, 64, 128, 112, 112, 0, 2, 2, 0},
  };
  // clang-format on
  return all;
}

Module module_of(const BenchShape& s) {
  switch (s.kind) {
    case BenchShape::Kind::convolution:
      return nn::Conv2d{.out = s.out, .kernel = s.kernel, .stride = s.stride, .padding = s.padding, .bias = s.bias};
    case BenchShape::Kind::linear: return nn::Linear{.out = s.out, .bias = s.bias};
    case BenchShape::Kind::max_pool: break;
  }
  return nn::MaxPool2d{.kernel = s.kernel, .stride = Size2(s.stride), .padding = s.padding};
}

Shape input_of(const BenchShape& s, std::int64_t batch) {
  const std::int64_t n = s.batch ? s.batch : batch;
  return s.kind == BenchShape::Kind::linear ? Shape{n, s.c} : Shape{n, s.c, s.h, s.w};
}

std::string describe(const BenchShape& s) {
  if (s.kind == BenchShape::Kind::linear) return fmt::format("{} -> {}", s.c, s.out);
  std::string text = fmt::format("{}x{}x{}", s.c, s.h, s.w);
  if (s.kind == BenchShape::Kind::convolution) text += fmt::format(" -> {}", s.out);
  text += fmt::format(" k{}", s.kernel);
  if (s.stride != 1) text += fmt::format(" s{}", s.stride);
  return text;
}

}  // namespace norma::app
