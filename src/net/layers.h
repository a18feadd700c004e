// Rules of each kind of node: its output's shape, its parameters, its printed form, its geometry for the kernels.
#pragma once
#include <string>
#include <vector>

#include "kernels/shapes.h"
#include "norma/graph.h"

namespace norma {

// The output's shape. Throws Error(usage) "[path] ..." for options or inputs that the layer cannot have.
Shape infer(const NodeOp& op, const std::vector<Shape>& inputs, const std::string& path);

// Appends the parameters and buffers of a node.
void add_parameters(const Graph& graph, std::int32_t node, std::vector<ParameterInfo>& list);

// "conv2d out=6 kernel=5 ..."
std::string title(const NodeOp& op);

// Describes the fault of an instance norm of single elements. lower refuses to train one with running statistics.
std::string single_elements(const Shape& input);

// The geometry kernels use, from shapes that infer has accepted.
kernels::Dims dims_of(const Shape& shape, int lanes);
kernels::NormShape norm_shape_of(const nn::LayerNorm& l, const kernels::Dims& x);
kernels::NormShape norm_shape_of(const nn::InstanceNorm& l, const kernels::Dims& x);
kernels::NormShape norm_shape_of(const nn::GroupNorm& l, const kernels::Dims& x);
kernels::Window make_window(Size2 kernel, Size2 stride, Size2 padding, Size2 dilation);
// The window of a layer with kernel and padding. Without a dilation it is 1; a stride that is not given is the kernel's size.
template <class L>
kernels::Window window_of(const L& l) {
  Size2 stride = 1, dilation = 1;
  if constexpr (requires { l.stride.value_or(l.kernel); }) stride = l.stride.value_or(l.kernel);
  else stride = l.stride;
  if constexpr (requires { l.dilation; }) dilation = l.dilation;
  return make_window(l.kernel, stride, l.padding, dilation);
}

}  // namespace norma
