// c_source: the outputs of Predictor, from every layer and every recipe's net; what it refuses.
#include "norma/c_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"
#include "norma/norma.h"
#include "tests/export/c_files.h"
#include "tests/support/expect_error.h"
#include "tests/support/golden_cases.h"
#include "tests/support/layer_shapes.h"
#include "tests/support/random_model.h"
#include "tests/support/random_nets.h"

namespace norma {
namespace {

using test::expect_error;
using test::random_model;

// Compiles nothing without a compiler, and says so.
#define SKIP_WITHOUT_COMPILER() \
  if (test::c_compiler().empty()) GTEST_SKIP() << "no C compiler: neither $CC nor cc compiles a program"

std::vector<float> floats(std::int64_t count) {
  std::vector<float> all;
  for (std::int64_t i = 0; i < count; ++i) all.push_back(static_cast<float>(std::sin(static_cast<double>(i * i % 1000)) * 2));
  return all;
}

// C functions, and what Predictor says of the same samples.
class Compared {
 public:
  void add(const std::string& what, const CSource& source, const std::string& name, std::int64_t samples = 2) {
    const ModelInput& in = source.model_input;
    const Predictor predictor{
        source.net, source.model, {.input = in.sample, .sample_type = in.stored, .transform = in.transform, .fold = false}};
    const std::int64_t count = samples * in.sample.elements();
    if (in.stored == DType::u8) {
      std::vector<std::uint8_t> bytes;
      for (std::int64_t i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(i * i * 7919 % 251));
      expected_.push_back(predictor.predict(bytes));
      functions_.add(source, name, std::move(bytes));
    } else {
      const std::vector<float> x = floats(count);
      expected_.push_back(predictor.predict(x));
      functions_.add(source, name, x);
    }
    what_.push_back(what);
  }

  void expect_equal(const std::string& flags) const {
    const std::vector<std::vector<float>> outputs = functions_.run(flags);
    ASSERT_EQ(outputs.size(), expected_.size());
    for (std::size_t f = 0; f < outputs.size(); ++f) {
      ASSERT_EQ(outputs[f].size(), expected_[f].size()) << what_[f];
      double largest = 1, difference = 0;
      for (std::size_t i = 0; i < outputs[f].size(); ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(expected_[f][i])));
        const double d = std::abs(static_cast<double>(outputs[f][i]) - static_cast<double>(expected_[f][i]));
        if (!(d <= difference)) difference = d;
      }
      EXPECT_LE(difference, 1e-5 * largest) << what_[f];
    }
  }
  std::size_t size() const { return what_.size(); }

 private:
  test::CFunctions functions_;
  std::vector<std::vector<float>> expected_;
  std::vector<std::string> what_;
};

bool has_running_statistics(const Graph& graph) {
  return std::ranges::all_of(graph.nodes, [](const Node& n) {
    const auto* norm = std::get_if<BatchNormNode>(&n.op);
    return !norm || norm->options.track_running_stats;
  });
}

bool has_products(const Graph& graph) {
  return std::ranges::any_of(graph.nodes, [](const Node& n) {
    return std::holds_alternative<nn::Conv2d>(n.op) || std::holds_alternative<nn::ConvTranspose2d>(n.op) ||
           std::holds_alternative<nn::Linear>(n.op);
  });
}

// The net with float weights, folded and not, and with int8.
void add_each(Compared& compared, const std::string& what, const Module& net, const Shape& input, std::uint64_t seed) {
  const Graph graph = trace(net, input);
  if (!has_running_statistics(graph)) return;
  const Checkpoint model = random_model(graph, seed);
  const auto add = [&](const std::string& how, CSourceOptions options) {
    options.name = "f" + std::to_string(compared.size());
    compared.add(what + how, c_source(graph, model, {}, options), options.name);
  };
  add("", {.fold = false});
  if (!batch_norms(graph).empty()) add(", folded", {});
  if (has_products(graph)) add(", int8", {.weights = CWeights::int8});
}

TEST(CSource, EveryLayerGivesTheOutputsOfPredictor) {
  SKIP_WITHOUT_COMPILER();
  Compared compared;
  for (const test::GoldenCase& c : test::golden_cases())  // but for those that differ in batch or mode alone
    if (const std::string name = c.name; name.find("_batch") == std::string::npos && name.find("_eval") == std::string::npos)
      add_each(compared, name, c.module, c.input, 3);
  for (const auto& [what, layer] : test::layers_of_odd_shapes()) add_each(compared, what, layer, test::odd_input.prepend(2), 5);
  EXPECT_GT(compared.size(), 150u);  // and with int8 and folded
  compared.expect_equal("-O0 " + test::c_sanitizers());
}

// Nothing hides a number that is none.
TEST(CSource, NotANumberStaysOne) {
  SKIP_WITHOUT_COMPILER();
  test::CFunctions functions;
  std::vector<std::string> what;
  const auto add = [&](const Module& net, const Shape& sample) {
    const Graph graph = trace(net, sample.prepend(1));
    std::vector<float> x(static_cast<std::size_t>(sample.elements()), 1.0f);
    x[1] = std::numeric_limits<float>::quiet_NaN();
    what.push_back(graph.nodes.back().path);
    functions.add(c_source(graph, random_model(graph, 1), {}, {.name = "nan" + std::to_string(what.size())}),
                  "nan" + std::to_string(what.size()), x);
  };
  for (const ActivationTraits& t : activation_table)
    if (t.act != Activation::none) add([act = t.act](Builder& b, Value x) { return b.activation(act, x); }, {2});
  add(nn::MaxPool2d{}, {1, 2, 2});
  add(nn::AvgPool2d{}, {1, 2, 2});
  add(nn::GroupNorm{.groups = 1}, {2});
  add(nn::Linear{.out = 1}, {2});
  add(nn::Conv2d{.out = 1, .kernel = 2}, {1, 2, 2});
  const std::vector<std::vector<float>> outputs = functions.run("-O2");
  ASSERT_EQ(outputs.size(), what.size());
  for (std::size_t f = 0; f < outputs.size(); ++f) EXPECT_TRUE(std::isnan(outputs[f].back())) << what[f];
}

// Values that are read twice, identities, outputs that are inputs, nodes on which nothing depends.
TEST(CSource, ValuesAreKeptForAllTheirReaders) {
  SKIP_WITHOUT_COMPILER();
  const auto doubled = [](Builder& b, Value x) { return b.add(x, x); };
  const auto flat_and_more = [](Builder& b, Value x) {  // a flattened value and its activation share no memory
    const Value f = nn::Flatten{}(b, x);
    return b.add(nn::ReLU{}(b, f), nn::Tanh{}(b, f));
  };
  const auto early = [](Builder& b, Value x) {  // the first value is read by the last node
    const Value c = nn::Conv2d{.out = 3, .kernel = 3, .padding = 1}(b, x);
    const Value y = nn::Sequential{nn::ReLU{}, nn::Conv2d{.out = 3, .kernel = 3, .padding = 1}, nn::Sigmoid{}}(b, c);
    (void)nn::Flatten{}(b, nn::Tanh{}(b, y));  // nobody reads it
    return b.add(b.add(y, c), b.add(c, x));
  };
  Compared compared;
  add_each(compared, "identity", nn::Sequential{}, {1, 2, 3, 4}, 1);
  add_each(compared, "dropout", nn::Sequential{nn::Dropout{}, nn::Flatten{}}, {1, 2, 3, 4}, 1);
  add_each(compared, "doubled", doubled, {1, 7}, 1);
  add_each(compared, "flat and more", flat_and_more, {1, 2, 3, 4}, 1);
  add_each(compared, "early", early, {1, 3, 6, 5}, 1);
  compared.expect_equal("-O0 " + test::c_sanitizers());
}

TEST(CSource, RandomNetsGiveTheOutputsOfPredictor) {
  SKIP_WITHOUT_COMPILER();
  Compared compared;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const test::RandomNet r = rc::gen::arbitrary<test::RandomNet>()(rc::Random(seed), rc::kNominalSize).value();
    add_each(compared, "net " + std::to_string(seed), test::module_of(r, true), {1, r.c, r.h, r.w}, seed);
  }
  EXPECT_GT(compared.size(), 15u);
  compared.expect_equal("-O0 " + test::c_sanitizers());
}

TEST(CSource, EveryRecipesNetGivesTheOutputsOfPredictor) {
  SKIP_WITHOUT_COMPILER();
  Compared compared;
  for (const app::EmbeddedRecipe& embedded : app::embedded_recipes()) {
    const app::Recipe recipe =
        app::parse_recipe({.name = std::string(embedded.name), .text = std::string(embedded.text), .origin = "", .folder = ""});
    const Shape sample = app::sample_shape(recipe.data);
    const TrainerOptions options = app::trainer_options(recipe, sample, Device::cpu());
    const Trainer trainer(app::build_model(recipe.model), options);
    const Checkpoint model = trainer.model();
    for (const CWeights weights : {CWeights::f32, CWeights::int8}) {
      const std::string name = "f" + std::to_string(compared.size());
      compared.add(std::string(embedded.name),
                   c_source(trainer.unfused_graph(), model, read_model_input(model.metadata, "model"), {.name = name, .weights = weights}),
                   name);
    }
  }
  EXPECT_GE(compared.size(), 12u);
  compared.expect_equal("-O2");
}

TEST(CSource, TheTransformIsPartOfTheFile) {
  SKIP_WITHOUT_COMPILER();
  Compared compared;
  const Module net = nn::Sequential{nn::Conv2d{.out = 2, .kernel = 3}, nn::ReLU{}};
  int number = 0;
  const auto add = [&](const ModelInput& input, bool only_floats) {
    const Shape in =
        input.transform.resize ? Shape{1, input.sample[0], input.transform.resize->h, input.transform.resize->w} : input.sample.prepend(1);
    const Graph graph = trace(net, in);
    const std::string name = "t" + std::to_string(number++);
    const CSource source = c_source(graph, random_model(graph, 2), input, {.name = name, .floats = only_floats});
    EXPECT_EQ(source.input_type, only_floats ? DType::f32 : input.stored);
    compared.add(name, source, name);
  };
  for (const bool only_floats : {false, true})
    for (const DType stored : {DType::u8, DType::f32}) {
      add({.data = "", .sample = {3, 9, 8}, .stored = stored, .transform = {}, .classes = {}}, only_floats);
      add({.data = "", .sample = {3, 9, 8}, .stored = stored, .transform = {.mean = {0.5, 0.4, 0.3}, .stddev = {0.2}}, .classes = {}},
          only_floats);
      for (const Size2 to : {Size2{5, 17}, Size2{20, 4}, Size2{9, 8}, Size2{3, 3}})
        add({.data = "",
             .sample = {3, 9, 8},
             .stored = stored,
             .transform = {.to_unit = false, .mean = {100}, .stddev = {}, .resize = to},
             .classes = {}},
            only_floats);
    }
  compared.expect_equal("-O0 " + test::c_sanitizers());
}

// ---- the file as it is

CSource small_source(CSourceOptions options = {.name = "small"}) {
  const Module net = nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3}, nn::BatchNorm{}, nn::ReLU{}, nn::Flatten{}, nn::Linear{.out = 3}};
  const Graph graph = trace(net, {1, 1, 8, 7});
  const ModelInput input{
      .data = "x", .sample = {1, 8, 7}, .stored = DType::u8, .transform = {}, .classes = {"a \"b\"", "c?\?/", "\xc3\xa9"}};
  return c_source(graph, random_model(graph, 4), input, options);
}

test::Ran test_of(const std::string& text, const std::string& compiler = test::c_compiler() + " -std=c99") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "small.c") << text;
  return test::run_in(folder, compiler + " -DSMALL_TEST -O1 -Wall -Wextra -Wpedantic -Werror small.c -lm -o small && ./small");
}

TEST(CSource, ItsTestSeesAWrongWeight) {
  SKIP_WITHOUT_COMPILER();
  for (const CWeights weights : {CWeights::f32, CWeights::int8}) {
    const std::string text = small_source({.name = "small", .model = "runs/*/x?", .weights = weights}).text;
    const test::Ran right = test_of(text);
    EXPECT_EQ(right.code, 0) << right.printed;
    EXPECT_NE(right.printed.find("largest difference from norma "), std::string::npos) << right.printed;
    EXPECT_EQ(right.printed.find("weights of float") != std::string::npos, weights == CWeights::int8) << right.printed;
    for (const char* array : {"small_conv1_weight[", "small_fc1_weight[", "small_fc1_bias["}) {
      std::string wrong = text;
      const std::size_t at = wrong.find("{\n", wrong.find(array)) + 2, end = wrong.find(',', at);
      wrong.replace(at, end - at, wrong.substr(at, end - at).find('-') == std::string::npos ? "  -1" : "  1");
      const test::Ran ran = test_of(wrong);
      EXPECT_EQ(ran.code, 1) << array << ": " << ran.printed;
    }
  }
}

TEST(CSource, IsCppToo) {
  SKIP_WITHOUT_COMPILER();
  for (const char* compiler : {"c++ -std=c++17 -x c++", "clang++ -std=c++20 -x c++", "clang -std=c99 -x c"}) {
    const test::TemporaryFolder folder;
    const std::string word = std::string(compiler).substr(0, std::string(compiler).find(' '));
    if (test::run_in(folder, word + " --version").code != 0) {
      std::printf("no %s here: left out\n", word.c_str());
      continue;
    }
    const test::Ran ran = test_of(small_source().text, compiler);
    EXPECT_EQ(ran.code, 0) << compiler << ": " << ran.printed;
  }
}

TEST(CSource, SaysWhatItIs) {
  const CSource source = small_source({.name = "small", .model = "a\nfile*/"});
  EXPECT_EQ(source.declaration, "void small_run(const uint8_t *input, float *output, float *scratch);");
  EXPECT_EQ(to_string(source.output), "(3)");
  EXPECT_EQ(source.parameters, 4 * 9 + 4 + 3 * 120 + 3);
  EXPECT_EQ(source.multiplications, 4 * 30 * 9 + 3 * 120);
  EXPECT_EQ(source.scratch_floats, 64 + 120);  // 56 floats of the sample, a line of 16 floats begun
  EXPECT_TRUE(source.notes.empty());
  EXPECT_NE(source.text.find("from a_file_/.\n"), std::string::npos);
  EXPECT_NE(source.text.find(R"("a \042b\042",)"), std::string::npos);
  EXPECT_NE(source.text.find(R"("c\077\077/",)"), std::string::npos);
  std::istringstream lines(source.text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120u) << line;
  EXPECT_EQ(small_source({.name = "small", .fold = false}).text.find("fold"), std::string::npos);
}

TEST(CSource, Int8IsAQuarterAndNearestToTheWeights) {
  const Module net = nn::Sequential{nn::Linear{.out = 200}, nn::Linear{.out = 10}};
  const Graph graph = trace(net, {1, 100});
  Checkpoint model = random_model(graph, 4);
  for (StoredTensor& t : model.tensors)
    if (t.name == "fc1.weight") {  // a channel of zeros, one of a single large weight, one too small for a scale
      std::vector<float> w = t.floats();
      std::fill_n(w.begin(), 100, 0.0f), w[150] = 1000, std::fill_n(w.begin() + 200, 100, 1e-38f);
      t = StoredTensor::from(t.name, t.shape, w);
    }
  const CSource real = c_source(graph, model, {}, {}), whole = c_source(graph, model, {}, {.weights = CWeights::int8});
  EXPECT_LT(static_cast<double>(whole.text.size()), 0.4 * static_cast<double>(real.text.size()));
  const std::vector<float> w = model.find("fc1.weight")->floats(), q = whole.model.find("fc1.weight")->floats();
  for (std::size_t c = 0; c < 200; ++c) {
    float largest = 0;
    for (std::size_t i = c * 100; i < (c + 1) * 100; ++i) largest = std::max(largest, std::abs(w[i]));
    for (std::size_t i = c * 100; i < (c + 1) * 100; ++i) ASSERT_LE(std::abs(w[i] - q[i]), c == 2 ? 1e-38f : largest / 253) << i;
  }
  EXPECT_EQ(model.find("fc1.bias")->floats(), whole.model.find("fc1.bias")->floats());
}

// One that no window takes may be any number, and the C counts in int.
TEST(CSource, AStrideThatIsNeverTakenIsOne) {
  const Graph graph = trace(nn::Conv2d{.out = 1, .kernel = 3, .stride = 100'000'000}, {1, 1, 5, 5});
  EXPECT_EQ(c_source(graph, random_model(graph, 1), {}).text.find(", 100000000"), std::string::npos);
}

TEST(CSource, IdentifiersAreValidAndDiffer) {
  const Module net = nn::Sequential{{"a-b", nn::Linear{.out = 3}},
                                    {"a_b", nn::Linear{.out = 3}},
                                    {"\xc3\xa9 1", nn::Linear{.out = 3}},
                                    {"relu", nn::ReLU{}},
                                    {"run", nn::Linear{.out = 2}}};
  const Graph graph = trace(net, {1, 3});
  const std::string text = c_source(graph, random_model(graph, 1), {}, {.name = "x"}).text;
  for (const char* name : {" x_a_b_weight[", " x_a_b_weight_2[", " x____1_weight[", " x_run_weight["})
    EXPECT_NE(text.find(name), std::string::npos) << name;
}

TEST(CSource, RefusesByName) {
  const auto source = [](const Module& net, const Shape& in, const CSourceOptions& options = {},
                         const std::optional<ModelInput>& input = {}) {
    const Graph graph = trace(net, in);
    return c_source(graph, random_model(graph, 1), input, options);
  };
  const Module linear = nn::Sequential{nn::Linear{.out = 3}};
  for (const char* name : {"", "1net", "a-b", "_x", "\xc3\xa9"})
    expect_error(ErrorKind::usage, "is no name for C", [&] { source(linear, {1, 3}, {.name = name}); });
  expect_error(ErrorKind::usage, "is no name for C", [&] { source(linear, {1, 3}, {.name = std::string(64, 'a')}); });
  nn::Operation own;
  own.forward = [](const auto& v) { v.output[0] = v.inputs[0][0]; };
  own.backward = [](const auto&) {};
  expect_error(ErrorKind::usage, {"[operation1]", "nn::Operation"}, [&] { source(nn::Sequential{nn::Linear{.out = 1}, own}, {1, 3}); });
  expect_error(ErrorKind::usage, {"[bn1]", "no running statistics"}, [&] {
    source(nn::Sequential{nn::BatchNorm{.track_running_stats = false}}, {2, 3});
  });
  expect_error(ErrorKind::usage, {"the net takes (3)", "(4)"}, [&] {
    source(linear, {1, 3}, {}, ModelInput{.data = "", .sample = {4}, .stored = DType::f32, .transform = {}, .classes = {}});
  });
  expect_error(ErrorKind::data, "names 4 classes and its net has 3", [&] {
    source(linear, {1, 3}, {},
           ModelInput{.data = "", .sample = {3}, .stored = DType::f32, .transform = {}, .classes = {"a", "b", "c", "d"}});
  });
  const Module normed = nn::Sequential{nn::BatchNorm{}, nn::ReLU{}};
  const Graph graph = trace(normed, {2, 3});
  expect_error(ErrorKind::usage, {"[bn1]", "is fused"}, [&] { c_source(fuse(graph), random_model(graph, 1), {}, {.fold = false}); });
  Checkpoint model = random_model(graph, 1);
  model.tensors.erase(model.tensors.begin());
  expect_error(ErrorKind::data, "bn1.weight", [&] { c_source(graph, model, {}); });
  model = random_model(graph, 1);
  model.tensors[0] = StoredTensor::from("bn1.weight", {3}, std::vector<float>{1, INFINITY, 1});
  expect_error(ErrorKind::diverged, "bn1.weight", [&] { c_source(graph, model, {}); });
  Graph two = graph;
  two.outputs.push_back(two.outputs[0]);
  expect_error(ErrorKind::usage, "one input and output", [&] { c_source(two, random_model(graph, 1), {}); });
  expect_error(ErrorKind::usage, {"[conv1]", "2^31 - 1"}, [&] {
    source(nn::Sequential{nn::Conv2d{.out = 1, .stride = 70000, .padding = 40000 * 70000LL / 70000}, nn::Flatten{}}, {1, 1, 3, 3});
  });
}

}  // namespace
}  // namespace norma
