#include "apps/norma/run/model_input.h"

namespace norma::app {

ModelInput model_input(const DataSection& data, const Dataset& set) {
  return {.data = name_of(data.source),
          .sample = set.sample,
          .stored = set.floats.empty() ? DType::u8 : DType::f32,
          .transform = data.transform,
          .classes = set.classes};
}

bool same(const Transform& a, const Transform& b) {
  const bool resized = a.resize && b.resize ? a.resize->h == b.resize->h && a.resize->w == b.resize->w : !a.resize && !b.resize;
  return resized && a.to_unit == b.to_unit && a.mean == b.mean && a.stddev == b.stddev;
}

}  // namespace norma::app
