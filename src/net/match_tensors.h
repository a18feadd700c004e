// Which tensor of a checkpoint is which that a net needs.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/graph.h"

namespace norma {

struct NeededTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape{};
  bool count = false;  // one whole number, which may be absent, as PyTorch before 0.4.1 has none, be i32, or have dimensions of 1
};

// A net's parameters and buffers, in their order.
std::vector<NeededTensor> needed_by(std::span<const ParameterInfo> parameters);

struct MatchedTensors {
  std::vector<const StoredTensor*> tensors;  // of what is needed, in its order; null for a count that is absent
  std::string note;                          // how the names differ, or empty
};

// "a, b, c and 5 others"
std::string listed(std::span<const std::string> names);

enum class Names { exact, wrapped };

// Every tensor of the checkpoint is one that is needed. wrapped: where names do not fit as they are, but all do without one prefix they
// share, or without what PyTorch's wrappers add to paths ("module", "_orig_mod"), they are read so. Throws Error(data) naming tensors that
// are missing, of another shape or type, and those that nobody needs.
MatchedTensors match_tensors(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, Names names);

}  // namespace norma
