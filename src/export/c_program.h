// A net as calls of C functions on buffers, before it is text.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "norma/c_source.h"
#include "src/export/c_text.h"
#include "src/export/quantise.h"

namespace norma {

struct CArgument {
  int buffer = -1;  // or
  std::string text{};
};

struct CStep {
  std::string comment;  // path and kind of the layer
  std::string function;
  std::vector<CArgument> arguments;
};

struct CBuffer {
  std::int64_t floats = 0;
  std::int64_t offset = 0;  // in scratch; plan_scratch sets it
};

struct CProgram {
  std::vector<CBuffer> buffers;  // the first is the caller's input
  int output = -1;               // the buffer that is the caller's output
  std::vector<CStep> steps;
  std::set<std::string> functions;
  std::string arrays;  // text
  std::int64_t parameters = 0, multiplications = 0;
};

// The quantised weights of a net by the names of their tensors.
using QuantisedModel = std::map<std::string, QuantisedWeights>;
// Quantises the weights of all convolutions and linear layers. Their tensors in `model` become those that are multiplied out again.
QuantisedModel quantise(const Graph& graph, Checkpoint& model);

// graph has a batch of 1, model its tensors under its names. input: samples as they are stored, to which the program applies the Transform.
// Throws Error(usage) naming the layer that cannot be written.
CProgram write_program(const Graph& graph, const Checkpoint& model, const QuantisedModel& quantised, const ModelInput& input,
                       Identifiers& names);

// Gives every buffer but the caller's a place in scratch that no buffer in use at the same time has: each in turn the first that is free.
// Returns the floats of scratch.
std::int64_t plan_scratch(CProgram& program);

}  // namespace norma
