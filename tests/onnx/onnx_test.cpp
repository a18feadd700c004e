// Names and contents of ONNX models, and refusals. tests/scripts/onnx.sh runs the models and compares their outputs.
#include "norma/onnx.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/golden_cases.h"
#include "tests/support/random_model.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::expect_error;
using test::net;
using test::options;

::onnx::ModelProto parsed(const OnnxModel& model) {
  ::onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(model.bytes));
  return proto;
}

std::string text(const ::onnx::ValueInfoProto& value) {
  std::string s = value.name();
  for (const auto& d : value.type().tensor_type().shape().dim())
    s += " " + (d.has_dim_param() ? d.dim_param() : std::to_string(d.dim_value()));
  return s;
}

OnnxModel of(const Module& module, const Shape& input, const OnnxOptions& o = {}) {
  TrainerOptions t{.input = input, .sample_type = DType::f32};
  Trainer trainer{module, t};
  return make_onnx(trainer.unfused_graph(), trainer.model(), o);
}

TEST(Onnx, NamesAreThoseOfTheNet) {
  Trainer trainer{net, options()};
  const OnnxModel model = make_onnx(trainer.unfused_graph(), trainer.model());
  const ::onnx::ModelProto proto = parsed(model);
  std::vector<std::string> nodes;
  for (const auto& n : proto.graph().node()) nodes.push_back(n.name() + " " + n.op_type());
  EXPECT_EQ(nodes, (std::vector<std::string>{"conv1 Conv", "bn1 BatchNormalization", "relu1 Relu", "pool1 MaxPool", "flatten1 Flatten",
                                             "fc1 Gemm", "bn2 BatchNormalization", "sigmoid1 Sigmoid", "dropout1 Identity", "fc2 Gemm"}));
  std::set<std::string> initialisers, parameters;
  for (const auto& t : proto.graph().initializer()) initialisers.insert(t.name());
  std::int64_t trained = 0;
  for (const ParameterInfo& p : trainer.unfused_graph().parameters()) {
    if (p.dtype == DType::f32) parameters.insert(p.name);
    if (!p.buffer) trained += p.shape.elements();
  }
  EXPECT_EQ(initialisers, parameters);
  EXPECT_EQ(text(proto.graph().input(0)), "x N 2 9 8");
  EXPECT_EQ(text(proto.graph().output(0)), "y N 3");
  EXPECT_EQ(proto.graph().value_info_size(), 9);  // a shape for every value between
  EXPECT_EQ(proto.producer_name(), "norma");
  EXPECT_EQ(proto.producer_version(), version);
  EXPECT_EQ(proto.opset_import(0).version(), 17);
  EXPECT_EQ(model.opset, 17);
  EXPECT_EQ(model.nodes, 10);
  EXPECT_EQ(model.parameters, trained);
  EXPECT_EQ(model.input.name + to_string(model.input.sample) + name_of(model.input.type), "x(2, 9, 8)f32");
  EXPECT_EQ(model.output.name + to_string(model.output.sample), "y(3)");
}

TEST(Onnx, MetadataTellOfClassesAndTransform) {
  Trainer trainer{net, options()};
  const Dataset data = bars(40);
  trainer.fit(data, nullptr, {.epochs = 1});
  Checkpoint trained = trainer.model();
  trained.metadata["other"] = "left out";
  const auto metadata = [](const OnnxModel& model) {
    std::map<std::string, std::string> all;
    const ::onnx::ModelProto proto = parsed(model);
    for (const auto& p : proto.metadata_props()) all[p.key()] = p.value();
    return all;
  };
  std::map<std::string, std::string> expected = trainer.model().metadata;
  expected.erase("format");  // that of safetensors
  EXPECT_TRUE(expected.contains("norma.classes") && expected.contains("norma.input") && expected.contains("norma.net"));
  EXPECT_EQ(metadata(make_onnx(trainer.unfused_graph(), trained)), expected);
  ModelInput input = *read_model_input(trained.metadata, "m");
  input.classes = {"\"quoted\"", "zwei", "3"};
  write_model_input(input, expected);
  EXPECT_EQ(metadata(make_onnx(trainer.unfused_graph(), trained, {.input = input})), expected);
  const OnnxModel stored = make_onnx(trainer.unfused_graph(), trained, {.input = input, .with_transform = true});
  EXPECT_EQ(text(parsed(stored).graph().input(0)), "x N 2 9 8");
  EXPECT_EQ(parsed(stored).graph().input(0).type().tensor_type().elem_type(), ::onnx::TensorProto::UINT8);
  EXPECT_EQ(stored.input.type, DType::u8);
}

TEST(Onnx, FoldsWhatItCanAndSaysWhatStays) {
  const nn::Sequential two{nn::Linear{.out = 4}, nn::BatchNorm{}, nn::ReLU{}, nn::BatchNorm{}, nn::Linear{.out = 2}};
  Trainer trainer{two, {.input = {3}}};
  Checkpoint wrapped = trainer.model();
  for (StoredTensor& t : wrapped.tensors) t.name = "module." + t.name;
  const OnnxModel model = make_onnx(trainer.unfused_graph(), wrapped, {.fold = true});
  ASSERT_EQ(model.notes.size(), 2U);
  EXPECT_NE(model.notes[0].find("module.fc1.weight is read as fc1.weight"), std::string::npos) << model.notes[0];
  EXPECT_NE(model.notes[1].find("bn2 is not folded: it follows relu1"), std::string::npos) << model.notes[1];
  const ::onnx::ModelProto proto = parsed(model);
  std::vector<std::string> nodes;
  for (const auto& n : proto.graph().node()) nodes.push_back(n.name());
  EXPECT_EQ(nodes, (std::vector<std::string>{"fc1", "relu1", "bn2", "fc2"}));
  const auto net_in = [](const OnnxModel& of_net) {
    const ::onnx::ModelProto p = parsed(of_net);
    for (const auto& m : p.metadata_props())
      if (m.key() == "norma.net") return m.value();
    return std::string();
  };
  EXPECT_EQ(net_in(model).find("bn1"), std::string::npos);  // the metadata are of the folded net
  EXPECT_NE(net_in(make_onnx(trainer.unfused_graph(), trainer.model())).find("bn1"), std::string::npos);
}

TEST(Onnx, EveryNameIsUsedOnce) {
  const nn::Sequential names{{"y_3", nn::Linear{.out = 4}}, {"y", nn::GELU{}}, {"caf\xe9", nn::Linear{.out = 2}}, {"y_2", nn::ReLU{}}};
  const Graph graph = trace(names, {1, 3});
  Checkpoint zeros;
  for (const ParameterInfo& p : graph.parameters())
    zeros.tensors.push_back(
        StoredTensor::from(p.name, {p.shape.begin(), p.shape.end()}, std::vector<float>(static_cast<std::size_t>(p.shape.elements()))));
  const ::onnx::ModelProto proto = parsed(make_onnx(graph, zeros));
  std::set<std::string> nodes, values{"x"};
  for (const auto& n : proto.graph().node()) {
    EXPECT_TRUE(nodes.insert(n.name()).second) << n.name();
    EXPECT_TRUE(values.insert(n.output(0)).second) << n.output(0);
  }
  for (const auto& t : proto.graph().initializer()) EXPECT_TRUE(values.insert(t.name()).second) << t.name();
  EXPECT_TRUE(nodes.contains("caf\\xe9"));
  EXPECT_TRUE(values.contains("y_3.weight"));
}

// ONNX's checker accepts it, and its shape inference gives the shapes of the graph: make_onnx throws where they do not.
TEST(Onnx, HasEveryLayer) {
  int refused = 0;
  for (const test::GoldenCase& c : test::golden_cases()) {
    SCOPED_TRACE(c.name);
    const Graph graph = trace(c.module, c.input);
    const Checkpoint model = test::random_model(graph, 1);
    const bool by_batch = std::ranges::any_of(graph.nodes, [](const Node& n) {
      const auto* norm = std::get_if<BatchNormNode>(&n.op);
      return norm && !norm->options.track_running_stats;
    });
    if (by_batch) {
      ++refused;
      expect_error(ErrorKind::usage, "no running statistics", [&] { make_onnx(graph, model); });
      continue;
    }
    for (const bool fold : {false, true}) {
      const OnnxModel written = make_onnx(graph, model, {.fold = fold});
      EXPECT_EQ(written.output.sample.elements() * c.input[0], graph.nodes.back().shape.elements());
      EXPECT_EQ(parsed(written).graph().node_size(), written.nodes);
    }
  }
  EXPECT_EQ(refused, 3);
}

TEST(Onnx, RefusesWhatItCannotHold) {
  const auto usage = [](std::initializer_list<std::string> words, const Module& module, const Shape& input) {
    expect_error(ErrorKind::usage, words, [&] { of(module, input); });
  };
  usage({"[operation1]", "nn::Operation"},
        nn::Sequential{nn::Linear{.out = 2}, nn::Operation{.forward = [](const auto&) {}, .backward = [](const auto&) {}}}, {3});
  usage({"[bn1]", "no running statistics"}, nn::Sequential{nn::Linear{.out = 2}, nn::BatchNorm{.track_running_stats = false}}, {3});
  usage({"[bn]", "running_var 0 at element 0", "fold_batch_norms"}, nn::BatchNorm{.eps = 0, .initial_running_var = 0}, {3});

  const Graph graph = trace(nn::Linear{.out = 2}, {1, 3});
  const Checkpoint model = Trainer(nn::Linear{.out = 2}, {.input = {3}}).model();
  const auto refused = [&](ErrorKind kind, std::initializer_list<std::string> words, const Graph& g, const Checkpoint& c,
                           const OnnxOptions& o = {}) { expect_error(kind, words, [&] { make_onnx(g, c, o); }); };
  refused(ErrorKind::usage, {"one input and output", "1 and 2"}, {graph.nodes, {graph.outputs[0], graph.outputs[0]}}, model);
  refused(ErrorKind::usage, {"[bn1] is fused"}, fuse(trace(nn::Sequential{nn::BatchNorm{}, nn::ReLU{}}, {1, 3})), {});
  refused(ErrorKind::usage, {"less than 2 GB", "40.0 GB", "safetensors"}, trace(nn::Linear{.out = 100000}, {1, 100000}), {});
  refused(ErrorKind::usage, {"with_transform needs OnnxOptions::input"}, graph, model, {.with_transform = true});
  const ModelInput wrong{.data = {}, .sample = {2}, .stored = DType::f32, .transform = {}, .classes = {}};
  refused(ErrorKind::usage, {"samples (2)", "(1, 2)", "(1, 3)"}, graph, model, {.input = wrong});
  ModelInput transform = wrong;
  transform.sample = {3}, transform.transform.stddev = {0};
  refused(ErrorKind::usage, {"stddev must be above 0"}, graph, model, {.input = transform, .with_transform = true});
  refused(ErrorKind::data, {"no tensor", "fc.weight"}, graph, {});
  Checkpoint nan = model;
  const float not_a_number = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(nan.tensors[0].bytes.data(), &not_a_number, sizeof not_a_number);
  refused(ErrorKind::diverged, {nan.tensors[0].name, "nan at element 0"}, graph, nan);
}

}  // namespace
}  // namespace norma
