// A trained net as one file of C99, for programs and machines that norma itself does not reach.
// Its types are plain values: one thread at a time may change one, any number may read it. Any number of threads may call c_source at once.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/export.h"
#include "norma/graph.h"
#include "norma/model_file.h"
#include "norma/module.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

// How the weights of convolutions and linear layers are written. int8: whole numbers of -127..127 with a float for each output channel, the
// largest absolute weight of the channel over 127. All else stays float.
enum class CWeights : std::uint8_t { f32, int8 };

struct NORMA_API CSourceOptions {
  std::string name = "net";  // begins every identifier: a letter, then letters, digits and '_', at most 63
  std::string model{};       // origin of the net, for the comment at the top
  CWeights weights = CWeights::f32;
  bool fold = true;     // batch norms become part of the layers before them (fold_batch_norms); one that cannot is a scale and a shift
  bool floats = false;  // the function takes floats as they are after the Transform, not samples as they are stored
};

// Sizes are of one sample.
struct NORMA_API CSource {
  std::string text{};         // the whole file
  std::string declaration{};  // void net_run(const uint8_t *input, float *output, float *scratch);
  Shape input{}, output{};    // (C,H,W) or (F)
  DType input_type = DType::f32;
  std::int64_t parameters = 0;       // numbers in the file, but for those of the Transform
  std::int64_t scratch_floats = 0;   // that the caller provides, at least 1
  std::int64_t multiplications = 0;  // of convolutions and linear layers
  Module net;                        // the net as it was written: folded
  Checkpoint model{};                // its weights, those of int8 multiplied out again
  ModelInput model_input{};          // what `input` holds
  std::vector<std::string> notes{};  // changes in reading the model, and batch norms that could not be folded, a sentence each
};

// graph has one input and one output and is not fused, as trace() and Trainer::unfused_graph() give it. model has its parameters, as
// Predictor reads them. input: the samples as they are stored and their Transform, which the file then applies; without it the file takes
// floats of the graph's input, and names no classes.
// The file needs <stdint.h>, and <math.h> where a layer does. It allocates nothing and holds constants alone, so any number of threads may
// call its function, each with memory of its own. Compiled with <NAME>_TEST defined it is a program: it compares the function with outputs
// of Predictor, prints the largest difference, and leaves with 1 where that is no rounding.
// Throws Error(usage) for a name that is no identifier; for an nn::Operation, a fused layer or a batch norm without running statistics, by
// its path; for an input that is not the graph's; for a value of more than 2^31 - 1 elements. Throws Error(data) for tensors that are
// missing, unknown or of another shape. Throws Error(diverged) naming a weight or an output that is not finite.
NORMA_API CSource c_source(const Graph& graph, const Checkpoint& model, const std::optional<ModelInput>& input,
                           const CSourceOptions& options = {});

}  // namespace norma
