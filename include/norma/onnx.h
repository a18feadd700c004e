// Writes a net as an ONNX model (https://onnx.ai), which ONNX Runtime and many other programs run. A component of its own, with ONNX and
// protobuf behind it: find_package(norma COMPONENTS onnx), target norma::onnx. It is there where norma was built with libonnx-dev.
// Its structs are plain values: one thread at a time may change one, any number may read it. Any number of threads may call make_onnx.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/export.h"
#include "norma/graph.h"
#include "norma/model_file.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

struct NORMA_API OnnxOptions {
  std::optional<ModelInput> input{};  // what the net was trained on; goes to the model's metadata
  bool fold = false;                  // batch norms become part of the layers before them (fold_batch_norms)
  bool with_transform = false;        // the model takes samples as `input` says they are stored, and begins with its transform
};

// The input or the output of a model. Its first dimension is the batch, "N", of any size.
struct NORMA_API OnnxValue {
  std::string name;  // "x", "y"
  DType type = DType::f32;
  Shape sample;  // without the batch
};

struct NORMA_API OnnxModel {
  std::string bytes;  // a ModelProto, for write_file
  std::int64_t opset = 0, nodes = 0;
  std::int64_t parameters = 0;  // numbers that training changes
  OnnxValue input, output;
  std::vector<std::string> notes{};  // changes in reading the model, and batch norms that could not be folded, a sentence each
};

// The net in evaluation mode, of opset 17. Nodes are called by their path, initialisers by their name in a state_dict: "conv1.weight".
// Input "x": floats (N,C,H,W) or (N,F) after the transform, or samples as stored. Output "y": what Predictor gives, but for rounding.
// Metadata: those of `model` that begin with "norma.", and the description of options.input. ONNX's checker has accepted the model.
// graph has one input and one output and is not fused, as trace() and Trainer::unfused_graph() give it. model has its parameters, as
// Predictor reads them.
// A norm with eps 0 gives NaN for values without variance, where norma gives its bias.
// Throws Error(usage) naming an nn::Operation, which ONNX does not have. It also names a batch norm without running statistics, whose
// output depends on other samples, and one that would divide by zero. It refuses parameters of 2 GB, more than a ModelProto holds, and
// samples that do not fit the net. Throws Error(data) naming a tensor that is missing, of another shape or not the net's. Throws
// Error(diverged) naming one that is not finite.
NORMA_API OnnxModel make_onnx(const Graph& graph, const Checkpoint& model, const OnnxOptions& options = {});

}  // namespace norma
