// Mending a trained net's batch norms. Running statistics made anew: Trainer::recalibrate.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/export.h"
#include "norma/graph.h"
#include "norma/module.h"

namespace norma {

// A net without the batch norms that are, in evaluation, part of the layer before them.
struct NORMA_API FoldedBatchNorms {
  struct Folded {
    std::string norm, into;  // paths
  };
  struct Kept {
    std::string norm, reason;
  };
  Module net;        // its other layers keep their names
  Checkpoint model;  // its parameters and buffers
  std::vector<Folded> folded;
  std::vector<Kept> kept;
};

// Folds a batch norm into the Conv2d or Linear it reads, where nothing else reads that one. s = gamma / sqrt(running_var + eps): the new
// weight is weight * s, the new bias (bias - running_mean) * s + beta, computed in double.
// graph has one input and one output and is not fused, as trace() and Trainer::unfused_graph() give it. model has its parameters, as
// Trainer::model() gives them.
// Throws Error(data) naming a tensor that is missing, listed twice, of another shape or not the net's. Throws Error(diverged) naming one
// that is not finite or would not be.
NORMA_API FoldedBatchNorms fold_batch_norms(const Graph& graph, const Checkpoint& model);

}  // namespace norma
