// Writes what tests/scripts/onnx.sh compares: ONNX models, samples, and norma's own outputs for them.
//   norma_onnx_models cases FOLDER                  every layer with its options, random nets, shipped recipes
//   norma_onnx_models answers FOLDER NAME MODEL N   of a model file: N samples as stored, FOLDER/NAME.safetensors
// FOLDER/<net>.<variant>.onnx takes the samples in FOLDER/<net>[.stored].safetensors: "x", and "y", the outputs. Variants: plain, folded,
// stored (with the transform), folded_stored.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"
#include "apps/norma/run/model_input.h"
#include "norma/norma.h"
#include "norma/onnx.h"
#include "tests/support/golden_cases.h"
#include "tests/support/layer_shapes.h"
#include "tests/support/random_nets.h"

namespace norma::test {
namespace {

namespace fs = std::filesystem;

// Its numbers are the same on every machine.
class Draw {
 public:
  explicit Draw(std::uint32_t seed) : engine_(seed) {}
  double uniform(double low, double high) { return low + (high - low) * (static_cast<double>(engine_()) * 0x1p-32); }
  int below(int n) { return static_cast<int>(engine_() % static_cast<std::uint32_t>(n)); }
  std::vector<float> floats(std::int64_t count, double low, double high) {
    std::vector<float> all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(static_cast<float>(uniform(low, high)));
    return all;
  }
  std::vector<std::uint8_t> bytes(std::int64_t count) {
    std::vector<std::uint8_t> all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(static_cast<std::uint8_t>(engine_() >> 24));
    return all;
  }

 private:
  std::mt19937 engine_;
};

// Weights that keep the size of values, and statistics and gains that are not those of a new net.
Checkpoint random_model(const Graph& graph, Draw& draw) {
  Checkpoint model;
  for (const ParameterInfo& p : graph.parameters()) {
    const std::vector<std::int64_t> shape(p.shape.begin(), p.shape.end());
    if (p.dtype == DType::i64) {
      model.tensors.push_back(StoredTensor::from(p.name, shape, std::vector<std::int64_t>{7}));
      continue;
    }
    const bool positive = p.name.ends_with("running_var") || (p.name.ends_with("weight") && p.standard_value == 1);
    const double reach = p.fan_in > 1 && p.name.ends_with("weight") ? std::sqrt(3.0 / static_cast<double>(p.fan_in)) : 0.5;
    const auto values = positive ? draw.floats(p.shape.elements(), 0.5, 1.5) : draw.floats(p.shape.elements(), -reach, reach);
    model.tensors.push_back(StoredTensor::from(p.name, shape, values));
  }
  return model;
}

StoredTensor tensor(std::string name, std::int64_t count, const Shape& sample, const std::vector<float>& values) {
  std::vector<std::int64_t> shape{count};
  shape.insert(shape.end(), sample.begin(), sample.end());
  return StoredTensor::from(std::move(name), shape, values);
}

// Samples as they are stored, of either type.
struct Samples {
  std::int64_t count = 0;
  std::vector<std::uint8_t> bytes{};
  std::vector<float> floats{};
};

void write_answers(const fs::path& file, const Predictor& predictor, const Samples& samples) {
  Checkpoint c;
  if (samples.bytes.empty()) {
    c.tensors.push_back(tensor("x", samples.count, predictor.input(), samples.floats));
  } else {
    StoredTensor x{.name = "x", .dtype = DType::u8, .shape = {samples.count}, .bytes = {}};
    x.shape.insert(x.shape.end(), predictor.input().begin(), predictor.input().end());
    const auto raw = std::as_bytes(std::span(samples.bytes));
    x.bytes.assign(raw.begin(), raw.end());
    c.tensors.push_back(std::move(x));
  }
  const std::vector<float> y = samples.bytes.empty() ? predictor.predict(samples.floats) : predictor.predict(samples.bytes);
  c.tensors.push_back(tensor("y", samples.count, predictor.output(), y));
  save_safetensors(file, c);
}

class Cases {
 public:
  explicit Cases(fs::path folder) : folder_(std::move(folder)) {}

  // The net with random weights, on random floats behind any transform.
  void net(const std::string& name, const Module& module, const Shape& x, std::int64_t count = 21) {
    Draw draw(seed_++);
    const Shape sample = x.rank() == 4 ? Shape{x[1], x[2], x[3]} : Shape{x[1]};
    const Checkpoint model = random_model(trace(module, x), draw);
    plain(name, module, sample, model, {}, {.count = count, .floats = draw.floats(count * sample.elements(), -2, 2)});
  }

  // The same, and on samples as stored.
  void net_of_samples(const std::string& name, const Module& module, const ModelInput& input, const Samples& samples) {
    Draw draw(seed_++);
    Shape x = input.sample;
    if (const auto& size = input.transform.resize) x = {x[0], size->h, size->w};
    const Checkpoint model = random_model(trace(module, x.prepend(1)), draw);
    plain(name, module, x, model, input, {.count = 21, .floats = draw.floats(21 * x.elements(), -2, 2)});
    write(name, "stored", module, x, model, {.input = input, .with_transform = true});
    const Predictor predictor{
        module, model, {.input = input.sample, .sample_type = input.stored, .transform = input.transform, .fold = false}};
    write_answers(folder_ / (name + ".stored.safetensors"), predictor, samples);
  }

  int models() const { return models_; }

 private:
  void plain(const std::string& name, const Module& module, const Shape& x, const Checkpoint& model, const std::optional<ModelInput>& input,
             const Samples& samples) {
    write(name, "plain", module, x, model, {.input = input});
    const Predictor predictor{module, model, {.input = x, .sample_type = DType::f32, .fold = false}};
    write_answers(folder_ / (name + ".safetensors"), predictor, samples);
  }

  void write(const std::string& name, const std::string& variant, const Module& module, const Shape& x, const Checkpoint& model,
             OnnxOptions options) {
    const Graph graph = trace(module, x.prepend(1));
    save(name + "." + variant, make_onnx(graph, model, options));
    if (batch_norms(graph).empty()) return;
    options.fold = true;
    save(name + (variant == "stored" ? ".folded_stored" : ".folded"), make_onnx(graph, model, options));
  }

  void save(const std::string& name, const OnnxModel& model) {
    write_file(folder_ / (name + ".onnx"), model.bytes);
    ++models_;
  }

  fs::path folder_;
  std::uint32_t seed_ = 1;
  int models_ = 0;
};

// Nets that the golden cases lack.
void more_nets(Cases& cases) {
  using namespace nn;
  cases.net("none", Sequential{}, {1, 2, 3, 4});
  cases.net("identity", Activate{Activation::none}, {1, 5});
  cases.net("dropout", Sequential{Linear{.out = 4}, Dropout{0.3}}, {1, 5});
  cases.net("flatten_features", Sequential{Flatten{}, Linear{.out = 3}}, {1, 7});
  cases.net("names", Sequential{{"y_2", Linear{.out = 4}}, {"y_3", ReLU{}}, {"identity", Linear{.out = 2}}}, {1, 5});
  cases.net("unread", [](Builder& b, Value x) { return Linear{.out = 2}(b, x), b.activation(Activation::tanh, x); }, {1, 5});
  cases.net("read_twice", [](Builder& b, Value x) { return b.add(x, b.add(x, b.activation(Activation::silu, x))); }, {1, 2, 3, 2});
  cases.net("not_the_last",
            [](Builder& b, Value x) {
              const Value y = Conv2d{.out = 2, .kernel = 2}(b, x);
              static_cast<void>(ReLU{}(b, y));
              return y;
            },
            {1, 2, 4, 5});
  cases.net("ln_large", LayerNorm{}, {1, 3, 28, 28});
  cases.net("in_large", InstanceNorm{.affine = true}, {1, 3, 28, 28});
  cases.net("gn_large", GroupNorm{.groups = 4}, {1, 8, 28, 28});
  cases.net("in_tracked_plain", InstanceNorm{.track_running_stats = true}, {1, 3, 4, 5});
  cases.net("pool_max_gaps_ceil", MaxPool2d{.kernel = 2, .stride = 3, .dilation = 3, .ceil_mode = true}, {1, 2, 8, 9});
  cases.net("pool_max_gaps_ceil_padding", MaxPool2d{.kernel = {2, 3}, .stride = 3, .padding = 1, .dilation = {4, 3}, .ceil_mode = true},
            {1, 2, 11, 12});
  cases.net("pool_max_ceil_begins_in_padding", MaxPool2d{.kernel = 2, .stride = 2, .padding = 1, .ceil_mode = true}, {1, 2, 5, 6});
  for (const bool inside : {false, true}) {
    const std::string end = inside ? "_inside" : "";
    cases.net("pool_avg_uneven" + end,
              AvgPool2d{.kernel = {3, 4}, .stride = Size2{2, 3}, .padding = {1, 0}, .ceil_mode = true, .count_include_pad = !inside},
              {1, 2, 8, 9});
    cases.net("pool_avg_padding2" + end,
              AvgPool2d{.kernel = {5, 4}, .stride = Size2{3, 2}, .padding = {2, 1}, .ceil_mode = true, .count_include_pad = !inside},
              {1, 2, 9, 8});
  }
}

// Every part of a transform.
void transforms(Cases& cases) {
  using namespace nn;
  const Sequential of_images{Conv2d{.out = 4, .kernel = 3}, BatchNorm{}, ReLU{}, Flatten{}, Linear{.out = 3}};
  const Sequential of_features{Linear{.out = 4}, BatchNorm{}, Tanh{}, Linear{.out = 2}};
  struct Row {
    const char* name;
    Shape sample;
    DType stored;
    Transform transform;
  };
  const Row rows[] = {
      {"transform_unit", {2, 7, 6}, DType::u8, {}},
      {"transform_bytes", {1, 7, 6}, DType::u8, {.to_unit = false, .mean = {120}, .stddev = {60}}},
      {"transform_channels", {3, 7, 6}, DType::u8, {.mean = {0.1, 0.5, 0.9}, .stddev = {0.2, 0.3, 0.4}}},
      {"transform_larger", {2, 7, 6}, DType::u8, {.mean = {0.4}, .stddev = {0.3}, .resize = Size2{12, 11}}},
      {"transform_smaller", {2, 17, 15}, DType::u8, {.mean = {0.4, 0.6}, .stddev = {0.3}, .resize = Size2{8, 6}}},
      {"transform_uneven", {1, 5, 19}, DType::u8, {.mean = {}, .stddev = {}, .resize = Size2{13, 7}}},
      {"transform_same_size", {1, 7, 6}, DType::u8, {.mean = {}, .stddev = {}, .resize = Size2{7, 6}}},
      {"transform_floats", {2, 7, 6}, DType::f32, {.mean = {0.5}, .stddev = {2}, .resize = Size2{9, 8}}},
      {"transform_none", {2, 7, 6}, DType::f32, {}},
      {"transform_features", {5}, DType::f32, {.mean = {1, 2, 3, 4, 5}, .stddev = {0.5, 1, 1.5, 2, 2.5}}},
      {"transform_byte_features", {5}, DType::u8, {.mean = {0.5}, .stddev = {0.25}}},
  };
  Draw draw(77);
  for (const Row& r : rows) {
    Samples samples{.count = 21};
    if (r.stored == DType::u8) samples.bytes = draw.bytes(21 * r.sample.elements());
    else samples.floats = draw.floats(21 * r.sample.elements(), -2, 2);
    const ModelInput input{.data = r.name, .sample = r.sample, .stored = r.stored, .transform = r.transform, .classes = {"one", "two"}};
    cases.net_of_samples(r.name, r.sample.rank() == 3 ? of_images : of_features, input, samples);
  }
}

constexpr std::int64_t recipe_samples = 1000;

Samples digits(std::int64_t count) { return {.count = count, .bytes = make_digits(1, count, 5).test.bytes}; }

void recipes(Cases& cases) {
  for (const app::EmbeddedRecipe& embedded : app::embedded_recipes()) {
    const std::string name(embedded.name);
    const app::Recipe recipe = app::parse_recipe(app::find_recipe(name));
    const bool points = recipe.data.source == app::DataSection::Source::circles;
    Samples samples;
    if (points) samples = {.count = recipe_samples, .floats = make_circles(2 * recipe_samples, 0.1, 0.5, 0.5, 3).test.floats};
    else samples = digits(recipe_samples);
    Dataset set;
    set.sample = points ? Shape{2} : Shape{1, 28, 28};
    set.floats = samples.floats;
    set.classes = {"a", "b"};
    cases.net_of_samples("recipe-" + name, app::build_model(recipe.model), app::model_input(recipe.data, set), samples);
  }
}

bool without_statistics(const Module& module, const Shape& input) {
  for (const Node& n : trace(module, input).nodes)
    if (const auto* norm = std::get_if<BatchNormNode>(&n.op); norm && !norm->options.track_running_stats) return true;
  return false;
}

int write_cases(const fs::path& folder) {
  Cases cases(folder);
  int left_out = 0;
  for (const GoldenCase& c : golden_cases()) {
    if (without_statistics(c.module, c.input)) ++left_out;  // refused: onnx_test.cpp
    else cases.net(c.name, c.module, c.input);
  }
  for (const auto& [name, module] : layers_of_odd_shapes()) cases.net(std::string("odd-") + name, module, odd_input.prepend(1));
  more_nets(cases);
  transforms(cases);
  Draw draw(2026);
  for (int i = 0; i < 60; ++i) {
    RandomNet r{.n = 2, .c = 1 + draw.below(3), .h = 2 + draw.below(6), .w = 2 + draw.below(6), .layers = {}};
    for (int layer = draw.below(8); layer >= 0; --layer) r.layers.push_back(draw.below(layer_kinds));
    cases.net("random-" + std::to_string(i), module_of(r), {r.n, r.c, r.h, r.w});
  }
  recipes(cases);
  std::printf("%d models; %d cases left out, of batch norms without running statistics\n", cases.models(), left_out);
  return 0;
}

}  // namespace
}  // namespace norma::test

int main(int argc, char** argv) {
  using namespace norma;
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 2 && words[0] == "cases") return test::write_cases(words[1]);
    if (words.size() == 5 && words[0] == "answers") {
      const std::filesystem::path file = std::filesystem::path(words[1]) / (words[2] + ".safetensors");
      test::write_answers(file, Predictor::load(words[3], {.fold = false}), test::digits(std::stoll(words[4])));
      return 0;
    }
    std::fputs("usage: norma_onnx_models cases FOLDER | answers FOLDER NAME MODEL N\n", stderr);
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "norma_onnx_models: %s\n", e.what());
    return 1;
  }
}
