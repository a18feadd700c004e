// A graph becomes a ModelProto node by node. ONNX's own checker and shape inference then hold it against norma's shapes.
#include "norma/onnx.h"

#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "norma/batch_norm_tools.h"
#include "norma/error.h"
#include "norma/norma.h"
#include "norma/text.h"
#include "src/data/affine.h"
#include "src/net/graph_check.h"
#include "src/net/match_tensors.h"
#include "src/onnx/graph_writer.h"
#include "src/onnx/layer_writer.h"
#include "src/onnx/transform_writer.h"
#include "src/plan/lower.h"

namespace norma {
namespace {

constexpr std::int64_t opset = 17, ir_version = 8;
// The protobuf format's: sizes are 32-bit integers.
constexpr std::int64_t most_bytes = std::numeric_limits<std::int32_t>::max();

[[noreturn]] void refuse_bytes(double bytes) {
  throw Error(ErrorKind::usage, "an ONNX model holds less than 2 GB (2^31 bytes), and this one's numbers take " + with_prefix(bytes, "B") +
                                    ": files of safetensors have no such limit");
}

// Inference reads all but the counts of batches.
bool is_read(const ParameterInfo& p) { return p.dtype == DType::f32; }

void refuse_large(const Graph& graph) {
  double bytes = 0;
  for (const ParameterInfo& p : graph.parameters())
    if (is_read(p)) bytes += 4.0 * static_cast<double>(p.shape.elements());
  if (bytes > static_cast<double>(most_bytes)) refuse_bytes(bytes);
}

void check_input(const Graph& graph, const ModelInput& input) {
  (void)stored_type(input.sample, input.stored);
  const Shape& x = graph.nodes[0].shape;
  if (const Shape given = transformed(input.sample, input.transform.resize).prepend(x[0]); !(given == x))
    throw Error(ErrorKind::usage, "samples " + to_string(input.sample) + " become " + to_string(given.with_batch(1)) +
                                      " by their transform, but the net takes " + to_string(x.with_batch(1)));
}

Shape without_batch(const Shape& s) { return s.rank() == 4 ? Shape{s[1], s[2], s[3]} : Shape{s[1]}; }

// Nodes, initialisers, input and output.
void write_graph(const Graph& graph, const Checkpoint& model, const OnnxOptions& options, ::onnx::GraphProto& proto) {
  GraphWriter out(proto);
  proto.set_name("norma");
  for (const ParameterInfo& p : graph.parameters())
    if (is_read(p)) out.parameter(*model.find(p.name));
  const std::string x = out.claim("x"), y = out.claim("y");
  const Node& first = graph.nodes[0];
  const bool as_stored = options.with_transform;
  GraphWriter::describe(*proto.add_input(), x, as_stored ? options.input->stored : DType::f32,
                        as_stored ? options.input->sample.prepend(1) : first.shape);
  std::vector<std::string> values{as_stored ? write_transform(out, *options.input, x) : x};
  const auto last = static_cast<std::size_t>(graph.outputs[0].id);
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    LayerToWrite layer{.node = node, .inputs = {}, .x = graph[node.inputs.at(0)].shape, .name = out.claim(node.path), .output = {}};
    for (const Value v : node.inputs) layer.inputs.push_back(values[static_cast<std::size_t>(v.id)]);
    layer.output = i == last ? y : layer.name;
    write_layer(out, layer, model);
    GraphWriter::describe(i == last ? *proto.add_output() : *proto.add_value_info(), layer.output, DType::f32, node.shape);
    values.push_back(layer.output);
  }
  if (last == 0) {  // a net of no layer
    out.node("Identity", out.claim("identity"), {values[0]}, y);
    GraphWriter::describe(*proto.add_output(), y, DType::f32, first.shape);
  }
}

void write_metadata(const Graph& graph, const Checkpoint& model, const OnnxOptions& options, ::onnx::ModelProto& proto) {
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : model.metadata)
    if (key.starts_with("norma.")) metadata[key] = value;
  write_model_net(graph, metadata);
  if (options.input) write_model_input(*options.input, metadata);
  for (const auto& [key, value] : metadata) {
    ::onnx::StringStringEntryProto& entry = *proto.add_metadata_props();
    entry.set_key(onnx_text(key));
    entry.set_value(onnx_text(value));
  }
}

}  // namespace

OnnxModel make_onnx(const Graph& graph, const Checkpoint& model, const OnnxOptions& options) {
  check_plain(graph, "an ONNX model is made of");
  if (options.with_transform && !options.input)
    throw Error(ErrorKind::usage, "with_transform needs OnnxOptions::input, which says how samples are stored");
  if (options.input) check_input(graph, *options.input);
  refuse_large(graph);
  OnnxModel written;
  Checkpoint tensors = matched_model(model, graph, written.notes);
  if (const std::string fault = first_fault(tensors); !fault.empty())
    throw Error(ErrorKind::diverged, "the model cannot be written: " + fault);
  Graph net = graph;
  if (options.fold) {
    FoldedBatchNorms folded = fold_batch_norms(graph, tensors);
    for (const FoldedBatchNorms::Kept& k : folded.kept) written.notes.push_back(printable(k.norm) + " is not folded: " + k.reason);
    net = trace(folded.net, graph.nodes[0].shape);
    tensors = std::move(folded.model);
  }
  ::onnx::ModelProto proto;
  proto.set_ir_version(ir_version);
  proto.set_producer_name("norma");
  proto.set_producer_version(version);
  proto.add_opset_import()->set_version(opset);
  write_graph(net, tensors, options, *proto.mutable_graph());
  write_metadata(net, model, options, proto);
  if (proto.ByteSizeLong() > static_cast<std::size_t>(most_bytes)) refuse_bytes(static_cast<double>(proto.ByteSizeLong()));
  try {
    ::onnx::checker::check_model(proto);
    // Throws where ONNX's shapes are not those of the graph.
    ::onnx::shape_inference::InferShapes(proto, ::onnx::OpSchemaRegistry::Instance(), {true, 1, false});
  } catch (const std::exception& e) {
    throw Error(ErrorKind::failure, std::string("ONNX does not accept the model: ") + e.what());
  }
  written.opset = opset;
  written.nodes = proto.graph().node_size();
  for (const ParameterInfo& p : net.parameters())
    if (!p.buffer) written.parameters += p.shape.elements();
  written.input.name = proto.graph().input(0).name();
  written.input.type = options.with_transform ? options.input->stored : DType::f32;
  written.input.sample = options.with_transform ? options.input->sample : without_batch(net.nodes[0].shape);
  written.output.name = proto.graph().output(0).name();
  written.output.sample = without_batch(net[net.outputs[0]].shape);
  if (!proto.SerializeToString(&written.bytes)) throw Error(ErrorKind::failure, "protobuf cannot write the model");
  return written;
}

}  // namespace norma
