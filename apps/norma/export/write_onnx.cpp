// norma export to ONNX, by the module norma_onnx.so, which alone is linked against ONNX and protobuf.
#include <fmt/format.h>

#include "apps/norma/export/writers.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/plugin.h"
#include "apps/plugins/onnx.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

constexpr ModuleFile onnx_module{"norma_onnx", norma_onnx_version, "ONNX",
                                 "; to write ONNX models: install libonnx-dev and libprotobuf-dev (Debian and Ubuntu: apt-get install "
                                 "libonnx-dev libprotobuf-dev), then "
                                 "configure and build norma again"};

OnnxModel make_by_module(const Graph& graph, const Checkpoint& model, const OnnxOptions& options) {
  std::string error;
  const auto* const onnx = load_table<NormaOnnx>(program_folder(), onnx_module, error);
  if (!onnx) throw Error(ErrorKind::failure, error);
  OnnxModel written;
  if (const std::int32_t kind = onnx->make(&graph, &model, &options, &written, &error); kind != 0)
    throw Error(static_cast<ErrorKind>(kind), error);
  return written;
}

// "x (N, 1, 28, 28) u8"
std::string in_words(const OnnxValue& v) {
  std::string text = v.name + " (N";
  for (const std::int64_t d : v.sample) text += fmt::format(", {}", d);
  return fmt::format("{}) {}", text, name_of(v.type));
}

ordered_json to_json(const OnnxValue& v) {
  ordered_json shape{"N"};
  for (const std::int64_t d : v.sample) shape.push_back(d);
  return {{"name", v.name}, {"type", name_of(v.type)}, {"shape", shape}};
}

}  // namespace

ExportedFile write_onnx(const ExportedModel& exported, const ModelExportRequest& request) {
  if (request.check) throw Error(ErrorKind::usage, "--check compiles C: it is for a .c file");
  if (!request.name.empty()) throw Error(ErrorKind::usage, "--name is of C identifiers: it is for a .c file");
  if (request.weights != "float") throw Error(ErrorKind::usage, "--weights is for a .c file: an ONNX model has weights of float");
  OnnxModel written = make_by_module(
      exported.graph, exported.model,
      {.input = exported.input, .fold = request.fold.value_or(false), .with_transform = request.with_transform.value_or(false)});
  for (const std::string& note : written.notes) log_info(note);
  ExportedFile file;
  file.lines = {{"opset", std::to_string(written.opset)},
                {"nodes", std::to_string(written.nodes)},
                {"parameters", std::to_string(written.parameters)},
                {"input", in_words(written.input)},
                {"output", in_words(written.output)}};
  file.json = {{"opset", written.opset},
               {"nodes", written.nodes},
               {"parameters", written.parameters},
               {"input", to_json(written.input)},
               {"output", to_json(written.output)},
               {"notes", written.notes}};
  file.bytes = std::move(written.bytes);
  return file;
}

}  // namespace norma::app
