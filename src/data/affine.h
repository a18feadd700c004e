// Samples as they are stored, and the Transform that the kernels apply to them.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "norma/dataset.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

// The type in which samples are stored: what the options say, else bytes of images and floats of features. Throws Error(usage) for a shape
// or a type that no sample has.
DType stored_type(const Shape& sample, const std::optional<DType>& type);

// Per-channel x -> scale * x + offset of a Transform.
struct Affine {
  std::vector<float> scale, offset;

  Affine() = default;
  // Throws Error(usage) for a transform that no channel can have.
  Affine(const Transform& t, std::int64_t channels, DType stored);
};

}  // namespace norma
