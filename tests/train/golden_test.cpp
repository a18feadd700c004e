// norma against PyTorch: modules, losses, optimizers, schedules, and 50 steps of both LeNet-BN recipes. tests/golden/*.safetensors holds
// PyTorch's results. tests/golden/dump.py made them; it also says how inputs are drawn and results kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "norma/norma.h"
#include "tests/support/golden_cases.h"

namespace norma {
namespace {

// count float32 numbers in [low, high): drawing.py's draw().
std::vector<float> draw(const std::string& name, std::int64_t count, double low = -1, double high = 1) {
  std::uint32_t state = 2166136261u;
  for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 16777619u;
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    out.push_back(static_cast<float>(low + (high - low) * (static_cast<double>(state >> 8) * 0x1p-24)));
  }
  return out;
}

// A file of tests/golden/ by tensor name. Read once.
class Golden {
 public:
  explicit Golden(const char* name) {
    const char* root = std::getenv("NORMA_SOURCE_DIR");
    const std::filesystem::path tests = root ? std::filesystem::path(root) / "tests" : std::filesystem::path(__FILE__).parent_path();
    for (StoredTensor& t : load_safetensors(tests / "golden" / name).tensors) tensors_.emplace(t.name, std::move(t));
  }
  const std::map<std::string, StoredTensor>& all() const { return tensors_; }
  const StoredTensor& tensor(const std::string& name) const { return tensors_.at(name); }

  std::vector<double> values(const std::string& name) const {
    const StoredTensor& t = tensors_.at(name);
    if (t.dtype == DType::i64) {
      const std::vector<std::int64_t> v = t.integers();
      return {v.begin(), v.end()};
    }
    const std::vector<float> high = t.floats();
    std::vector<double> v(high.begin(), high.end());
    if (const auto low = tensors_.find(name + ".low"); low != tensors_.end()) {
      const std::vector<float> rest = low->second.floats();
      for (std::size_t i = 0; i < v.size(); ++i) v[i] += static_cast<double>(rest[i]);
    }
    return v;
  }

 private:
  std::map<std::string, StoredTensor> tensors_;
};

const Golden& modules() {
  static const Golden g("modules.safetensors");
  return g;
}
const Golden& training() {
  static const Golden g("training.safetensors");
  return g;
}
const Golden& lenet() {
  static const Golden g("lenet.safetensors");
  return g;
}

double largest(const std::vector<double>& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::abs(x));
  return m;
}

// Every |got - want| at most tolerance * scale; says where the worst is.
template <class T>
testing::AssertionResult close(const std::vector<T>& got, const std::vector<double>& want, double scale, double tolerance) {
  if (got.size() != want.size()) return testing::AssertionFailure() << got.size() << " values, PyTorch has " << want.size();
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    if (!(error <= worst)) worst = error, at = i;  // NaN counts
    if (std::isnan(error)) break;
  }
  if (worst <= tolerance * scale) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "value " << at << " of " << got.size() << " is " << static_cast<double>(got[at]) << ", PyTorch has "
                                     << want[at] << ": error " << worst / scale << " of " << scale << ", allowed " << tolerance;
}

bool ends_with(const std::string& s, const std::string& end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

// The scale of a gradient's error. A bias before a batch norm has gradient 0, made of terms of the weight gradient's size.
double gradient_scale(const Golden& g, const std::string& name) {
  double scale = largest(g.values(name));
  if (ends_with(name, ".bias.grad")) {
    const std::string weight = name.substr(0, name.size() - 9) + "weight.grad";
    if (g.all().count(weight)) scale = std::max(scale, largest(g.values(weight)));
  }
  return scale;
}

// ------------------------------------------------------------------------------------------------------------------- modules

// Share of the tensor's largest magnitude; measured 6e-7 at worst, in the net of nine layers.
constexpr double module_tolerance = 2e-6;

class GoldenModule : public testing::TestWithParam<test::GoldenCase> {};

void compare_module(const test::GoldenCase& c, const std::string& isa, bool fused) {
  SCOPED_TRACE(isa + (fused ? ", fused" : ", not fused"));
  ModuleRunner run{c.module, c.input, {.mode = c.mode, .executor = {.threads = 2, .isa = isa}, .fuse = fused}};
  const std::string prefix = std::string(c.name) + "/";
  run.write("x", draw(prefix + "x", c.input.elements()));
  for (const ParameterInfo& p : run.graph().parameters()) {
    if (ends_with(p.name, "num_batches_tracked")) run.write(p.name, std::vector<float>{3});
    else if (ends_with(p.name, "running_var")) run.write(p.name, draw(prefix + p.name, p.shape.elements(), 0.5, 1.5));
    else run.write(p.name, draw(prefix + p.name, p.shape.elements()));
  }
  const std::vector<float> dy = draw(prefix + "dy", run.shape("y").elements());
  run.write("dy", dy);
  run.step();

  std::set<std::string> wanted{"y", "dx"};  // what norma has must be what PyTorch has
  for (const ParameterInfo& p : run.graph().parameters()) wanted.insert(p.buffer ? p.name : p.name + ".grad");
  std::set<std::string> stored;
  for (const auto& [full, tensor] : modules().all()) {
    if (full.compare(0, prefix.size(), prefix) != 0) continue;
    const std::string name = full.substr(prefix.size());
    stored.insert(name);
    if (!wanted.count(name)) continue;
    std::vector<double> want = modules().values(full);
    if (prefix == "in_tracking/" && ends_with(name, "num_batches_tracked")) want[0] += 1;  // norma counts here, PyTorch does not
    double scale = name.find(".grad") != std::string::npos ? gradient_scale(modules(), full) : largest(want);
    if (name == "dx") scale = std::max(scale, largest(std::vector<double>(dy.begin(), dy.end())));  // a sum of terms of dy's size
    EXPECT_TRUE(close(run.read(name), want, scale, module_tolerance)) << name;
    const Shape shape = run.shape(name == "dx" ? "x" : ends_with(name, ".grad") ? name.substr(0, name.size() - 5) : name);
    EXPECT_EQ(std::vector<std::int64_t>(shape.begin(), shape.end()), tensor.shape) << name;
  }
  EXPECT_EQ(stored, wanted);
}

TEST_P(GoldenModule, AgreesWithPyTorch) {
  for (const std::string& isa : cpu_isa_levels())
    for (const bool fused : {true, false}) compare_module(GetParam(), isa, fused);
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenModule, testing::ValuesIn(test::golden_cases()),
                         [](const testing::TestParamInfo<test::GoldenCase>& i) { return std::string(i.param.name); });

TEST(Golden, EveryModuleOfTheFileIsTested) {
  std::set<std::string> stored, tested;
  for (const auto& [name, tensor] : modules().all()) stored.insert(name.substr(0, name.find('/')));
  for (const test::GoldenCase& c : test::golden_cases()) tested.insert(c.name);
  EXPECT_EQ(stored, tested);
}

// ------------------------------------------------------------------------------------------- losses, optimizers, schedules

// dump.py's small_problem(): a linear layer of 5 features and 4 classes, and one batch of 12.
struct SmallProblem {
  static constexpr std::int64_t samples = 12, features = 5, classes = 4;
  Dataset data;
  Trainer trainer;

  SmallProblem(const std::string& name, Optimizer optimizer, Loss loss)
      : trainer(nn::Sequential{nn::Linear{.out = classes}},
                {.input = {features}, .batch = samples, .optimizer = optimizer, .loss = loss, .shuffle = false}) {
    data.name = name;
    data.sample = {features};
    data.floats = draw(name + "/x", samples * features);
    for (const float v : draw(name + "/labels", samples, 0, classes)) data.labels.push_back(static_cast<std::int32_t>(v));
    Checkpoint start;
    start.tensors.push_back(StoredTensor::from("fc1.weight", {classes, features}, draw(name + "/fc1.weight", classes * features)));
    start.tensors.push_back(StoredTensor::from("fc1.bias", {classes}, draw(name + "/fc1.bias", classes)));
    trainer.load_model(start);
  }
};

TEST(Golden, LossesAndTheirGradients) {
  const std::pair<std::string, Reduction> reductions[] = {{"mean", Reduction::mean}, {"sum", Reduction::sum}};
  for (const auto& [word, reduction] : reductions) {
    const std::map<std::string, Loss> losses = {
        {"cross_entropy_" + word, CrossEntropy{.reduction = reduction}},
        {"cross_entropy_" + word + "_smoothing", CrossEntropy{.reduction = reduction, .label_smoothing = 0.1}},
        {"cross_entropy_" + word + "_ignore", CrossEntropy{.reduction = reduction, .ignore_index = 2}},
        {"cross_entropy_" + word + "_smoothing_ignore", CrossEntropy{.reduction = reduction, .label_smoothing = 0.2, .ignore_index = 1}},
        {"mean_squared_" + word, MeanSquared{.reduction = reduction}}};
    for (const auto& [name, loss] : losses) {
      SCOPED_TRACE(name);
      SmallProblem p(name, Sgd{.lr = 0.1}, loss);
      p.trainer.fit(p.data, nullptr, {.epochs = 1});
      const std::vector<double> want = training().values(name + "/loss");
      EXPECT_TRUE(close(std::vector<double>{p.trainer.history().at(0).train_loss}, want, want[0], 1e-6));
      for (const char* gradient : {"fc1.weight.grad", "fc1.bias.grad"}) {
        const std::vector<double> g = training().values(name + "/" + gradient);
        EXPECT_TRUE(close(p.trainer.read(gradient), g, largest(g), 2e-6)) << gradient;
      }
    }
  }
}

TEST(Golden, TenStepsOfEveryOptimizer) {
  const std::map<std::string, Optimizer> optimizers = {
      {"sgd", Sgd{.lr = 0.1}},
      {"sgd_weight_decay", Sgd{.lr = 0.1, .weight_decay = 0.05}},
      {"sgd_momentum", Sgd{.lr = 0.1, .momentum = 0.9}},
      {"sgd_dampening", Sgd{.lr = 0.1, .momentum = 0.8, .dampening = 0.3}},
      {"sgd_nesterov", Sgd{.lr = 0.1, .momentum = 0.9, .nesterov = true}},
      {"sgd_all", Sgd{.lr = 0.05, .momentum = 0.7, .dampening = 0.2, .weight_decay = 0.1}},
      {"sgd_nesterov_weight_decay", Sgd{.lr = 0.05, .momentum = 0.7, .weight_decay = 0.1, .nesterov = true}},
      {"adam", Adam{.lr = 0.01}},
      {"adam_betas", Adam{.lr = 0.02, .beta1 = 0.7, .beta2 = 0.95, .eps = 1e-4}},
      {"adam_weight_decay", Adam{.lr = 0.01, .weight_decay = 0.1}},
      {"adamw", adamw(0.01)},
      {"adamw_weight_decay", adamw(0.02, 0.3)},
      {"rmsprop", RMSprop{.lr = 0.01}},
      {"rmsprop_momentum", RMSprop{.lr = 0.01, .momentum = 0.9}},
      {"rmsprop_centered", RMSprop{.lr = 0.01, .alpha = 0.9, .eps = 1e-4, .centered = true}},
      {"rmsprop_all", RMSprop{.lr = 0.02, .alpha = 0.8, .weight_decay = 0.1, .momentum = 0.5, .centered = true}}};
  for (const auto& [name, optimizer] : optimizers) {
    SCOPED_TRACE(name);
    SmallProblem p("adam", optimizer, CrossEntropy{});
    p.trainer.fit(p.data, nullptr, {.epochs = 10, .on_epoch = [&, &case_name = name](const EpochMetrics& m) {
                                      const std::string prefix = case_name + "/" + std::to_string(m.epoch) + "/";
                                      if (!training().all().count(prefix + "fc1.weight")) return;
                                      for (const char* tensor : {"fc1.weight", "fc1.bias"}) {
                                        const std::vector<double> want = training().values(prefix + tensor);
                                        EXPECT_TRUE(close(p.trainer.read(tensor), want, largest(want), 1e-6)) << prefix << tensor;
                                      }
                                    }});
    EXPECT_EQ(p.trainer.steps_done(), 10);
  }
}

TEST(Golden, LearningRateSchedules) {
  constexpr std::int64_t per_epoch = 7, total = 42;
  using Kind = Schedule::Kind;
  const std::map<std::string, Schedule> schedules = {
      {"step", {.kind = Kind::step, .step_epochs = 2, .gamma = 0.3}},
      {"cosine", {.kind = Kind::cosine}},
      {"cosine_final", {.kind = Kind::cosine, .final_factor = 0.1}},
      {"one_cycle", {.kind = Kind::one_cycle}},
      {"one_cycle_options", {.kind = Kind::one_cycle, .pct_start = 0.4, .div_factor = 10, .final_div_factor = 100}},
      {"warmup", {.warmup_epochs = 2, .warmup_start = 0.1}},
      {"warmup_cosine", {.kind = Kind::cosine, .warmup_epochs = 10.0 / 7, .warmup_start = 0.25}}};
  for (const auto& [name, schedule] : schedules) {
    std::vector<double> factors;
    for (std::int64_t step = 0; step < total; ++step) factors.push_back(schedule.factor(step, per_epoch, total));
    EXPECT_TRUE(close(factors, training().values("schedule/" + name), 1, 1e-12)) << name;
  }
}

// ---------------------------------------------------------------------------------------------------------------- whole model

struct LenetCase {
  const char* name;
  Module activation;
  double mean, stddev;
  Optimizer optimizer;
  int seed;  // of the data: lenet.py's lenet_cases()
  bool bias;
};

std::vector<LenetCase> lenet_cases() {
  return {{"mnist-lenet-bn", nn::ReLU{}, 0.5, 0.5, Sgd{.lr = 0.02}, 378, true},
          {"fashion-lenet-bn-sigmoid", nn::Sigmoid{}, 0, 1, Adam{.lr = 0.001}, 7, true},
          {"fashion-lenet-bn-sigmoid-no-bias", nn::Sigmoid{}, 0, 1, Adam{.lr = 0.001}, 7, false}};
}

constexpr std::int64_t lenet_samples = 50, lenet_batch = 20, lenet_steps = 50;

Dataset lenet_data(int seed) {
  Dataset d;
  d.name = "golden";
  d.sample = {1, 28, 28};
  for (const float v : draw("lenet/labels" + std::to_string(seed), lenet_samples, 0, 10)) d.labels.push_back(static_cast<std::int32_t>(v));
  for (const float v : draw("lenet/images" + std::to_string(seed), lenet_samples * 784, 0, 128))
    d.bytes.push_back(static_cast<std::uint8_t>(v));
  for (std::size_t i = 0; i < d.labels.size(); ++i) {
    const auto label = static_cast<std::size_t>(d.labels[i]), row = 3 + 12 * (label / 5), column = 1 + 5 * (label % 5);
    for (std::size_t r = row; r < row + 9; ++r)
      for (std::size_t c = column; c < column + 5; ++c) d.bytes[i * 784 + r * 28 + c] += 64;
  }
  return d;
}

Trainer lenet_trainer(const LenetCase& c, const std::string& isa) {
  const Module& act = c.activation;
  const bool bias = c.bias;
  Trainer t{nn::Sequential{nn::Conv2d{.out = 6, .kernel = 5, .bias = bias}, nn::BatchNorm{}, act, nn::MaxPool2d{},
                           nn::Conv2d{.out = 16, .kernel = 5, .bias = bias}, nn::BatchNorm{}, act, nn::MaxPool2d{}, nn::Flatten{},
                           nn::Linear{.out = 120, .bias = bias}, nn::BatchNorm{}, act, nn::Linear{.out = 84, .bias = bias}, nn::BatchNorm{},
                           act, nn::Linear{.out = 10}},
            {.input = {1, 28, 28},
             .batch = lenet_batch,
             .optimizer = c.optimizer,
             .transform = {.mean = {c.mean}, .stddev = {c.stddev}},
             .executor = {.isa = isa},
             .shuffle = false}};
  Checkpoint start = t.model();  // batch norms start as they are
  for (StoredTensor& tensor : start.tensors) {
    if (tensor.name.compare(0, 2, "bn") == 0) continue;
    const std::string layer = tensor.name.substr(0, tensor.name.find('.'));
    std::int64_t elements = 1, fan_in = 1;
    for (const std::int64_t d : tensor.shape) elements *= d;
    const StoredTensor& weight = *start.find(layer + ".weight");
    for (std::size_t i = 1; i < weight.shape.size(); ++i) fan_in *= weight.shape[i];
    const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
    tensor = StoredTensor::from(tensor.name, tensor.shape, draw("lenet/" + tensor.name, elements, -bound, bound));
  }
  t.load_model(start);
  return t;
}

// dump.py's kept(): more than 4096 elements are stored as the largest magnitude and every 13th.
std::vector<float> kept(const std::vector<float>& v) {
  if (v.size() <= 4096) return v;
  std::vector<float> out{0};
  for (const float x : v) out[0] = std::max(out[0], std::abs(x));
  for (std::size_t i = 0; i < v.size(); i += 13) out.push_back(v[i]);
  return out;
}

class GoldenLenet : public testing::TestWithParam<std::tuple<LenetCase, std::string>> {};

TEST_P(GoldenLenet, GradientsOfTheFirstStep) {
  const auto& [c, isa] = GetParam();
  Trainer t = lenet_trainer(c, isa);
  EXPECT_FALSE(t.fit(lenet_data(c.seed), nullptr, {.epochs = 1, .on_step = [](const Progress&) { return false; }}));
  const std::string prefix = std::string(c.name) + "/";
  std::size_t compared = 0;
  for (const auto& [name, tensor] : lenet().all()) {
    if (name.compare(0, prefix.size(), prefix) != 0 || !ends_with(name, ".grad")) continue;
    EXPECT_TRUE(close(kept(t.read(name.substr(prefix.size()))), lenet().values(name), gradient_scale(lenet(), name), 1e-5)) << name;
    ++compared;
  }
  EXPECT_EQ(compared, c.bias ? 18u : 14u);
}

TEST_P(GoldenLenet, FiftyLossesAndTheRunningStatistics) {
  const auto& [c, isa] = GetParam();
  Trainer t = lenet_trainer(c, isa);
  std::vector<double> losses;
  double sum = 0;  // of the epoch so far: Progress holds running means
  const auto on_step = [&](const Progress& p) {
    const auto seen = static_cast<double>(std::min(p.batch * lenet_batch, lenet_samples));
    const auto before = static_cast<double>((p.batch - 1) * lenet_batch);
    if (p.batch == 1) sum = 0;
    losses.push_back((p.loss * seen - sum) / (seen - before));
    sum = p.loss * seen;
    return static_cast<std::int64_t>(losses.size()) < lenet_steps;
  };
  EXPECT_FALSE(t.fit(lenet_data(c.seed), nullptr, {.epochs = 100, .on_step = on_step}));
  ASSERT_EQ(t.steps_done(), lenet_steps);

  const std::string prefix = std::string(c.name) + "/";
  const std::vector<double> want = lenet().values(prefix + "losses");
  ASSERT_EQ(losses.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(close(std::vector<double>{losses[i]}, {want[i]}, want[i], 1e-5)) << "loss of step " << i + 1;

  // With Adam a bias before a batch norm walks by rounding noise, at most lr a step, and running_mean follows it (see lenet.py).
  const bool walks = c.bias && std::holds_alternative<Adam>(c.optimizer);
  for (const char* bn : {"bn1", "bn2", "bn3", "bn4"}) {
    const std::string name = std::string(bn) + ".";
    const std::vector<double> mean = lenet().values(prefix + name + "running_mean"), var = lenet().values(prefix + name + "running_var");
    if (walks) EXPECT_TRUE(close(t.read(name + "running_mean"), mean, 1, lenet_steps * learning_rate(c.optimizer))) << bn;
    else EXPECT_TRUE(close(t.read(name + "running_mean"), mean, largest(mean), 1e-5)) << bn;
    EXPECT_TRUE(close(t.read(name + "running_var"), var, largest(var), 1e-5)) << bn;
    EXPECT_TRUE(close(t.read(name + "num_batches_tracked"), {lenet_steps}, 1, 0)) << bn;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenLenet, testing::Combine(testing::ValuesIn(lenet_cases()), testing::ValuesIn(cpu_isa_levels())),
                         [](const auto& i) {
                           std::string name = std::string(std::get<0>(i.param).name) + "_" + std::get<1>(i.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace norma
