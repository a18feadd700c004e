// Shape inference: the output shape of a node, or Error(usage) "[path] ...".
#pragma once
#include <string>
#include <vector>

#include "kernels/shapes.h"
#include "norma/graph.h"

namespace norma {

Shape infer(const NodeOp& op, const std::vector<Shape>& inputs, const std::string& path);

// Counts for a node that infer has accepted, with x its first input, y its output. They are double, since they may be beyond any integer.
double parameter_elements(const NodeOp& op, const Shape& x);
double multiply_adds(const NodeOp& op, const Shape& x, const Shape& y);

// Describes the fault of an instance norm of single elements. lower refuses to train one with running statistics.
std::string single_elements(const Shape& input);

// The geometry kernels use, from shapes that infer has accepted.
kernels::Dims dims_of(const Shape& shape, int lanes);
kernels::NormShape norm_shape_of(const nn::LayerNorm& l, const kernels::Dims& x);
kernels::NormShape norm_shape_of(const nn::InstanceNorm& l, const kernels::Dims& x);
kernels::NormShape norm_shape_of(const nn::GroupNorm& l, const kernels::Dims& x);
kernels::Window window_of(const nn::Conv2d& c);
kernels::Window window_of(const nn::MaxPool2d& p);
kernels::Window window_of(const nn::AvgPool2d& p);

}  // namespace norma
