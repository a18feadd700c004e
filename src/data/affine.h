// A Transform as the kernels apply it.
#pragma once
#include <cstdint>
#include <vector>

#include "norma/dataset.h"
#include "norma/types.h"

namespace norma {

// Per-channel x -> scale * x + offset of a Transform.
struct Affine {
  std::vector<float> scale, offset;

  Affine() = default;
  // Throws Error(usage) for a transform that no channel can have.
  Affine(const Transform& t, std::int64_t channels, DType stored);
};

}  // namespace norma
