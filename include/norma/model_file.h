// A model file also describes the net, the input it takes and the names of its classes. All is JSON in the file's metadata.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "norma/dataset.h"
#include "norma/export.h"
#include "norma/graph.h"
#include "norma/module.h"
#include "norma/shape.h"
#include "norma/types.h"

namespace norma {

// Plain values: one thread at a time may change one, any number may read it.
struct NORMA_API ModelInput {
  std::string data;          // name of what it was trained on; may be empty
  Shape sample;              // (C,H,W) or (F), as stored, before the transform
  DType stored = DType::u8;  // u8 or f32
  Transform transform;
  std::vector<std::string> classes;
};

// Writes JSON under "norma.input" and "norma.classes". Leaves out what a reader does not accept: samples of more than 2^26 values, 64 KB of
// text about them, 4 MB of names.
NORMA_API void write_model_input(const ModelInput& input, std::map<std::string, std::string>& metadata);

// Nothing where the file says nothing, as those of norma's first edition. Throws Error(data) naming `file`, key and field where a value
// cannot be one that write_model_input wrote.
NORMA_API std::optional<ModelInput> read_model_input(const std::map<std::string, std::string>& metadata, const std::string& file);

// Writes JSON under "norma.net": the nodes of a graph that is not fused, with options, inputs and paths, without initialisers.
// Some nets no file can hold: those with an nn::Operation, several inputs or outputs, paths of over 150 parts, or 2 MB of text. For these
// it takes the key away and returns false.
NORMA_API bool write_model_net(const Graph& graph, std::map<std::string, std::string>& metadata);

// A net that gives this graph, for any batch. Nothing where the file says nothing. Throws Error(data) naming `file` and node for a net that
// write_model_net never wrote. Options that no layer can have are refused when it is traced.
NORMA_API std::optional<Module> read_model_net(const std::map<std::string, std::string>& metadata, const std::string& file);

}  // namespace norma
