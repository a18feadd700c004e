// Shape inference: the output shape of a node, or Error(usage) "[path] ...".
#pragma once
#include <string>
#include <vector>

#include "kernels/shapes.h"
#include "norma/graph.h"

namespace norma {

Shape infer(const NodeOp& op, const std::vector<Shape>& inputs, const std::string& path);

// The geometry kernels use, from shapes that infer has accepted.
kernels::Dims dims_of(const Shape& shape, int lanes);
kernels::Window window_of(const nn::Conv2d& c);
kernels::Window window_of(const nn::MaxPool2d& p);
kernels::Window window_of(const nn::AvgPool2d& p);

}  // namespace norma
