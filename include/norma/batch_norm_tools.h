// Mending a trained net's batch norms. Running statistics made anew: Trainer::recalibrate.
#pragma once
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/graph.h"
#include "norma/module.h"

namespace norma {

// A net without the batch norms that are, in evaluation, part of the layer before them.
struct FoldedBatchNorms {
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

// Folds each batch norm that alone reads a Conv2d or Linear into it: with s = gamma / sqrt(running_var + eps), weight * s and
// (bias - running_mean) * s + beta, computed in double. graph: of one input and output and not fused, as trace() and
// Trainer::unfused_graph() give it; model: its parameters, as Trainer::model() gives them. Throws Error(data) naming a tensor that is
// missing, there twice, of another shape or none of the net's, Error(diverged) naming one that is not finite or would not be.
FoldedBatchNorms fold_batch_norms(const Graph& graph, const Checkpoint& model);

}  // namespace norma
