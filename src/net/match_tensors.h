// Matches a checkpoint's tensors with those that a net needs.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/graph.h"
#include "norma/weights.h"

namespace norma {

struct NeededTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape{};
  bool count = false;  // one whole number: absent in PyTorch before 0.4.1; it may be i32 or have dimensions of 1
};

// A net's parameters and buffers, in their order.
std::vector<NeededTensor> needed_by(std::span<const ParameterInfo> parameters);

struct MatchedTensors {
  std::vector<const StoredTensor*> tensors;  // of the needed tensors, in their order; null for one that is kept, and a count that is absent
  std::string note{};                        // difference of the names, or empty
  std::vector<LoadedTensor> rows{};          // of the needed tensors, in their order, then of those that are ignored
};

// "a, b, c and 5 others"
std::string listed(std::span<const std::string> names);

// Matches every tensor of the checkpoint with the one of its name that is needed. Throws Error(data) naming tensors that are missing, of
// another shape or type, or not needed.
MatchedTensors match_tensors(const Checkpoint& checkpoint, std::span<const NeededTensor> needed);

// Does this for names as other programs write them, after options.rename. Names may have one prefix they share, or parts that PyTorch's
// wrappers add to paths ("module", "_orig_mod"). These are dropped if the names do not fit as they are but all fit without. Else layers
// with numbers for names may fit by order (match_by_order.h). Where tensors may be missing or too many, and not all fit in any of these
// ways, the names that fit the most count. Throws Error(usage) as rename_tensors(), and Error(data) as above, also where no tensor fits.
MatchedTensors match_tensors(const Checkpoint& checkpoint, std::span<const NeededTensor> needed, const LoadOptions& options);

// The model's tensors under the net's own names, all of them; a count of batches that is absent is 0. Appends to `notes` what was changed
// in reading the model, a sentence each. Throws as match_tensors.
Checkpoint matched_model(const Checkpoint& model, const Graph& graph, std::vector<std::string>& notes);

}  // namespace norma
