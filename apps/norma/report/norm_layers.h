// The norms of a checkpoint: those with a gamma for each channel.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "norma/checkpoint.h"

namespace norma::app {

// The tensors of one, which the checkpoint holds; null where the layer has none.
struct NormTensors {
  std::string path;
  const StoredTensor *gamma = nullptr, *beta = nullptr, *running_mean = nullptr, *running_var = nullptr;
  std::optional<std::int64_t> batches;  // num_batches_tracked
};

// Calls f in the checkpoint's order. A layer is a norm if it has running statistics, or a weight with a single dimension. It takes four
// bytes a tensor in addition to the checkpoint, whatever their number.
void for_each_norm(const Checkpoint& model, const std::function<void(const NormTensors&)>& f);

}  // namespace norma::app
