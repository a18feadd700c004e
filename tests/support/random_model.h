// A net's model drawn from a seed.
#pragma once
#include <cstdint>
#include <vector>

#include "norma/norma.h"
#include "src/net/initialise.h"

namespace norma::test {

// The parameters of a net, from a seed; variances are positive.
inline Checkpoint random_model(const Graph& graph, std::uint64_t seed) {
  Checkpoint model;
  for (const ParameterInfo& p : graph.parameters()) {
    std::vector<std::int64_t> shape(p.shape.begin(), p.shape.end());
    if (p.dtype == DType::i64) {
      model.tensors.push_back(StoredTensor::from(p.name, {}, std::vector<std::int64_t>{3}));
      continue;
    }
    ParameterInfo drawn = p;
    drawn.init = Init::uniform(p.name.ends_with("running_var") ? 0.5 : -0.5, p.name.ends_with("running_var") ? 1.5 : 0.5);
    model.tensors.push_back(
        StoredTensor::from(p.name, shape, initial_values(drawn, seed, static_cast<std::int64_t>(model.tensors.size()))));
  }
  return model;
}

}  // namespace norma::test
