// lower: from a graph to a Plan. Forward Calls in node order; the loss; each node's adjoint in reverse order; the update.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/graph.h"
#include "norma/optimizer.h"
#include "norma/trainer.h"
#include "src/plan/plan.h"

namespace norma {

// Samples gathered on the device from a resident set (values data/samples, data/labels or data/targets, data/scale, data/offset
// of Region::data), instead of input values written from outside.
struct InputData {
  Shape sample;            // (C,H,W) or (F) as stored
  DType type = DType::u8;  // u8 or f32
  std::optional<Size2> resize;
  bool shuffle = false;
  bool labels = true;  // gathered too
};

struct LowerOptions {
  Mode mode = Mode::train;
  int lanes = 16;
  bool backward = true;          // gradients of parameters (and inputs); without a loss the upstream gradient is value "dy"
  bool input_gradients = false;  // "dx" of input "x"
  std::optional<InputData> data;
  std::optional<Loss> loss;  // value "loss", a LossResult
  std::optional<Optimizer> optimizer;
  std::vector<ParameterGroup> groups{};
  Clip clip{};
  Precision precision = Precision::fp32;
  bool move_running_statistics = true;  // of batch norms, in training
  bool by_pack = false;                 // schedule the Calls pack by pack of samples
  bool join = false;                    // Calls that one kernel can run become one (kernels/calls/together.h)
  AssignOptions assign{};
};

// Values that the host gives to a step, of Region::data: the trainer binds them.
enum class DataSlot : std::uint8_t { samples, scale, offset, labels, targets, rates };

constexpr const char* name_of(DataSlot slot) {
  switch (slot) {
    case DataSlot::samples: return "data/samples";
    case DataSlot::scale: return "data/scale";
    case DataSlot::offset: return "data/offset";
    case DataSlot::labels: return "data/labels";
    case DataSlot::targets: return "data/targets";
    case DataSlot::rates: return "data/rates";
  }
  return "?";
}

// Names in the Plan: an activation has its node's path, the output is "y". Gradients are "<path>.grad", "d<input>" and "dy". Several
// outputs, which only a net without a loss may have, are "y0", "y1", ... and "dy0", ... Parameters and buffers have their state_dict name;
// a gradient is "<name>.grad". The rest is "state" (StepState), "loss", those of DataSlot, and what the optimizer keeps.
// Throws Error(usage) naming the layer that cannot be trained (one value per channel before a batch norm).
Plan lower(const Graph& graph, const LowerOptions& options);

// The group's origin and a colon, if it has one.
std::string begin_of_error(const ParameterGroup& g);
// Throws Error(usage) for a group that fits no parameter or buffer, or has numbers that none can have.
void validate(std::span<const ParameterGroup> groups, std::span<const ParameterInfo> parameters, const Optimizer& optimizer);
// Other factors of the rate than 1 and 0, each once. The rates of number k are the value rates_value(k).
std::vector<double> rate_factors(std::span<const ParameterGroup> groups, std::span<const ParameterInfo> parameters);
std::string rates_value(std::size_t k);

// "optimizer/exp_avg": the name of n floats that the optimizer keeps.
std::string optimizer_value(const kernels::Kept& kept);

// Throws Error(usage) for an output that the loss cannot be of.
void check_output(const Graph& graph, const Loss& loss);
// Throws Error(usage) for an output that is not (N,C), as labels need it.
void check_output(const Graph& graph);

// A loss against Dataset::targets, or labels as one-hot targets.
bool takes_targets(const Loss& loss);

// Returns (C,H,W) of a sample after the transform: the shape that the net's input must have.
Shape transformed(const Shape& sample, const std::optional<Size2>& resize);

}  // namespace norma
