// Layers whose names are numbers, as nn.Sequential's, matched with the net's by their order and the shapes of their tensors.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "src/net/match_tensors.h"

namespace norma {

struct OrderedMatch {
  std::vector<const StoredTensor*> tensors;  // of the needed tensors, in their order; null for a count that is absent
  std::string first, becomes;                // the first layer's name in the file and in the net
};

// names: of the checkpoint's tensors, where they differ from its own. Layers that fit by name and shape keep it. All others must have a
// number in their names, and match the net's others one to one: layers of the same kinds of tensors and shapes in the order of their
// numbers, and no two layers in another order than the net's. Nothing where that is not so. Throws Error(data) where such layers are of
// the same kinds and shapes, and no number says which comes first; it says what to rename.
std::optional<OrderedMatch> match_by_order(const Checkpoint& checkpoint, std::span<const std::string> names,
                                           std::span<const NeededTensor> needed, const std::string& rename_word);

// "--rename 'c1.*=conv1.*' --rename 'c2.*=conv2.*'": for the layers that the net does not have, those of the net that the file does not
// have, where the shapes fit. Empty where none do.
std::string proposed_renames(const Checkpoint& checkpoint, std::span<const std::string> names, std::span<const NeededTensor> needed,
                             const std::string& rename_word);

}  // namespace norma
