// Weights as the kernels for samples one by one read them (sample/): outputs innermost, so that 16 of them are one vector. And the scratch
// memory those kernels need.
//   [groups][blocks of 16 filters][channels][kernel_h][kernel_w][16], 0 for filters that a group lacks in its last block
// A linear layer's are those of a convolution of 1x1 on one position.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/calls.h"

namespace norma::kernels::cpu {

// Static: files for several instruction sets have these, and none may take another's.

// With fewer filters a group, lanes are positions, and the weights stay as they are.
static constexpr bool filters_are_lanes(const ConvShape& s) { return s.filters_per_group() >= 4; }
static constexpr std::int64_t filter_blocks(const ConvShape& s) { return (s.filters_per_group() + 15) / 16; }

static constexpr ConvShape as_convolution(const LinearForward& call) { return {call.x_dims, call.y_dims, {}, 1}; }

// Floats of the weights as they lie.
static constexpr std::int64_t sample_weights(const ConvShape& s) {
  return filters_are_lanes(s) ? s.groups * filter_blocks(s) * 16 * s.channels_per_group() * s.window.area() : s.weights();
}

// From w, [filters][channels][kernel_h][kernel_w].
static inline void lay_sample_weights(const ConvShape& s, const float* w, float* laid) {
  const std::int64_t filters = s.filters_per_group(), taps = s.channels_per_group() * s.window.area(), blocks = filter_blocks(s);
  if (!filters_are_lanes(s)) {
    for (std::int64_t i = 0; i < s.weights(); ++i) laid[i] = w[i];
    return;
  }
  for (std::int64_t group = 0; group < s.groups; ++group)
    for (std::int64_t f = 0; f < blocks * 16; ++f)
      for (std::int64_t t = 0; t < taps; ++t)
        laid[((group * blocks + f / 16) * taps + t) * 16 + f % 16] = f < filters ? w[(group * filters + f) * taps + t] : 0.0f;
}

// Rows and columns of x that the windows of y reach, its padding included.
static constexpr std::int64_t reached(std::int64_t outputs, std::int64_t stride, std::int64_t kernel, std::int64_t dilation) {
  return outputs > 0 ? (outputs - 1) * stride + (kernel - 1) * dilation + 1 : 0;
}
static constexpr std::int64_t reached_rows(const ConvShape& s) {
  return reached(s.y.h, s.window.stride_h, s.window.kernel_h, s.window.dilation_h);
}
static constexpr std::int64_t reached_columns(const ConvShape& s) {
  return reached(s.y.w, s.window.stride_w, s.window.kernel_w, s.window.dilation_w);
}
static constexpr bool padded(const Window& w) { return w.pad_h > 0 || w.pad_w > 0; }

}  // namespace norma::kernels::cpu
