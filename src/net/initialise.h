// First values of parameters, from Philox: element e of parameter number p depends on (seed, p, e) alone.
#pragma once
#include <cstdint>
#include <vector>

#include "norma/graph.h"

namespace norma {

// Throws Error(usage) naming the parameter where the initialiser does not fit it (Xavier and He need a fan: no batch norm, no bias).
std::vector<float> initial_values(const ParameterInfo& parameter, std::uint64_t seed, std::int64_t number);

}  // namespace norma
