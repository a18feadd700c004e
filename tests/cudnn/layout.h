// The memory layouts in which norma and cuDNN are compared. The host keeps every tensor in NCHW order.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/backend.h"
#include "kernels/reference/reference.h"

namespace norma::test {

enum class Layout : std::uint8_t { nchw, nhwc, lanes };  // lanes: those of the GPU, which cuDNN does not know

constexpr const char* name_of(Layout layout) { return layout == Layout::nchw ? "nchw" : layout == Layout::nhwc ? "nhwc" : "lanes"; }

// (N,C,H,W) as norma's Calls see it; channels last is a tensor of N*H*W samples of one pixel.
inline kernels::Dims dims_in(Layout layout, const kernels::Dims& shape) {
  if (layout == Layout::nhwc) return {.n = shape.n * shape.h * shape.w, .c = shape.c, .h = 1, .w = 1, .lanes = 1};
  kernels::Dims d = shape;
  d.lanes = layout == Layout::lanes ? kernels::cuda::lanes : 1;
  return d;
}

// f(index in NCHW order, index in memory) for every element.
template <class F>
void for_each_place(Layout layout, const kernels::Dims& shape, F f) {
  const kernels::Dims d = dims_in(layout, shape);
  std::size_t i = 0;
  reference::for_each_element(shape, [&](auto n, auto c, auto h, auto w) {
    f(i++, static_cast<std::size_t>(layout == Layout::nhwc ? d.index((n * shape.h + h) * shape.w + w, c, 0, 0) : d.index(n, c, h, w)));
  });
}

// Padding lanes become `padding`: 0 in gradients; in other inputs a number that would show in any sum.
inline constexpr float padding_number = 1e3f;
template <class T>
std::vector<T> stored(Layout layout, const kernels::Dims& shape, const std::vector<T>& values, T padding = T(padding_number)) {
  std::vector<T> memory(static_cast<std::size_t>(dims_in(layout, shape).stored()), padding);
  for_each_place(layout, shape, [&](std::size_t i, std::size_t at) { memory[at] = values[i]; });
  return memory;
}

// The opposite: padding lanes are left out.
template <class T>
std::vector<T> logical(Layout layout, const kernels::Dims& shape, const std::vector<T>& memory) {
  std::vector<T> values(static_cast<std::size_t>(shape.count()));
  for_each_place(layout, shape, [&](std::size_t i, std::size_t at) { values[i] = memory[at]; });
  return values;
}

}  // namespace norma::test
