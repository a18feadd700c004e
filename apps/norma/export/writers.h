// The forms to which a model can be exported: a row each, chosen by the ending of the file's name.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/norma/run/saved_model.h"
#include "norma/graph.h"
#include "norma/model_file.h"

namespace norma::app {

struct ModelExportRequest {
  SavedModelRequest model;
  std::filesystem::path out;
  std::string name;                              // of C identifiers; empty: the file's
  std::string weights = "float";                 // or int8
  std::optional<bool> fold{}, with_transform{};  // none: as the form has it
  bool check = false, force = false, json = false, quiet = false;
};

// A net with its weights.
struct ExportedModel {
  std::filesystem::path weights;  // the file
  Checkpoint model;               // as it was read
  Module net;
  Graph graph;  // of one sample, not fused
  ModelInput input;
};

// A file in memory, and what is said about it.
struct ExportedFile {
  std::string bytes;
  std::vector<std::pair<std::string, std::string>> lines;  // words before, and the rest
  nlohmann::ordered_json json;                             // an object: keys besides model, file, format and bytes
};

// Throws Error(usage) for a flag that this form does not have, Error(verification) where --check fails.
ExportedFile write_c(const ExportedModel& model, const ModelExportRequest& request);     // folded, with the transform
ExportedFile write_onnx(const ExportedModel& model, const ModelExportRequest& request);  // neither

struct ExportWriter {
  const char *extension, *what;
  ExportedFile (*write)(const ExportedModel&, const ModelExportRequest&);
};
inline constexpr ExportWriter export_writers[] = {
    {".c", "C99 source", write_c},
    {".onnx", "ONNX model", write_onnx},
};

}  // namespace norma::app
