// Modules alone: shape inference, errors that name the layer, parameter names, dropout, a user's own module.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "norma/module.h"
#include "norma/norma.h"
#include "tests/support/value_checks.h"

namespace norma {
namespace {

using nn::AvgPool2d;
using nn::BatchNorm;
using nn::Conv2d;
using nn::Dropout;
using nn::Flatten;
using nn::GlobalAvgPool2d;
using nn::GroupNorm;
using nn::InstanceNorm;
using nn::LayerNorm;
using nn::Linear;
using nn::MaxPool2d;
using nn::ReLU;
using nn::Residual;
using nn::Sequential;
using test::expect_near;
using test::range;

Shape output_of(const Module& m, const Shape& x) {
  const Graph g = trace(m, x);
  return g[g.outputs.at(0)].shape;
}

// The message of a refused trace; anything but an Error(usage) fails the test.
std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
    return e.what();
  }
  return "nothing was refused";
}
std::string refusal(const Module& m, const Shape& x) {
  return refusal([&] { trace(m, x); });
}

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in: " << text;
}

const Sequential lenet{Conv2d{.out = 6, .kernel = 5},
                       BatchNorm{},
                       ReLU{},
                       MaxPool2d{},
                       Conv2d{.out = 16, .kernel = 5},
                       BatchNorm{},
                       ReLU{},
                       MaxPool2d{},
                       Flatten{},
                       Linear{.out = 120},
                       BatchNorm{},
                       ReLU{},
                       Linear{.out = 84},
                       BatchNorm{},
                       ReLU{},
                       Linear{.out = 10}};

// ------------------------------------------------------------------------------------------------------------ shapes and names

TEST(Modules, ShapesFollowFromInputAndOptions) {
  EXPECT_EQ(output_of(Conv2d{.out = 6, .kernel = 5}, {4, 1, 28, 28}), (Shape{4, 6, 24, 24}));
  EXPECT_EQ(output_of(Conv2d{.out = 3, .kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}}, {2, 4, 7, 6}),
            (Shape{2, 3, 4, 8}));
  EXPECT_EQ(output_of(MaxPool2d{.kernel = 3, .stride = 2}, {2, 3, 8, 7}), (Shape{2, 3, 3, 3}));
  EXPECT_EQ(output_of(MaxPool2d{.kernel = 3, .stride = 2, .ceil_mode = true}, {2, 3, 8, 7}), (Shape{2, 3, 4, 3}));
  // The last window would start in the right padding: dropped, as in PyTorch.
  EXPECT_EQ(output_of(AvgPool2d{.kernel = 2, .stride = 3, .ceil_mode = true}, {1, 1, 6, 6}), (Shape{1, 1, 2, 2}));
  EXPECT_EQ(output_of(GlobalAvgPool2d{}, {5, 7, 3, 4}), (Shape{5, 7, 1, 1}));
  EXPECT_EQ(output_of(Flatten{}, {5, 7, 3, 4}), (Shape{5, 84}));
  EXPECT_EQ(output_of(Flatten{}, {5, 7}), (Shape{5, 7}));
  EXPECT_EQ(output_of(Linear{.out = 10}, {5, 7}), (Shape{5, 10}));
  EXPECT_EQ(output_of(lenet, {256, 1, 28, 28}), (Shape{256, 10}));
}

TEST(Modules, ParametersAreNamedAndShapedAsInPyTorch) {
  std::vector<std::string> got;
  for (const ParameterInfo& p : trace(lenet, {4, 1, 28, 28}).parameters())
    got.push_back(p.name + " " + to_string(p.shape) + " " + name_of(p.dtype) + (p.buffer ? " buffer" : ""));
  const auto norm = [](const std::string& name, const std::string& channels) {
    return std::vector<std::string>{name + ".weight " + channels + " f32", name + ".bias " + channels + " f32",
                                    name + ".running_mean " + channels + " f32 buffer", name + ".running_var " + channels + " f32 buffer",
                                    name + ".num_batches_tracked " + to_string(Shape{}) + " i64 buffer"};
  };
  std::vector<std::string> want;
  const auto add = [&](const std::vector<std::string>& more) { want.insert(want.end(), more.begin(), more.end()); };
  add({"conv1.weight (6, 1, 5, 5) f32", "conv1.bias (6) f32"});
  add(norm("bn1", "(6)"));
  add({"conv2.weight (16, 6, 5, 5) f32", "conv2.bias (16) f32"});
  add(norm("bn2", "(16)"));
  add({"fc1.weight (120, 256) f32", "fc1.bias (120) f32"});
  add(norm("bn3", "(120)"));
  add({"fc2.weight (84, 120) f32", "fc2.bias (84) f32"});
  add(norm("bn4", "(84)"));
  add({"fc3.weight (10, 84) f32", "fc3.bias (10) f32"});
  EXPECT_EQ(got, want);
}

TEST(Modules, OptionsDecideWhichParametersThereAre) {
  const auto names = [](const Module& m, const Shape& x) {
    std::vector<std::string> list;
    for (const ParameterInfo& p : trace(m, x).parameters()) list.push_back(p.name);
    return list;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(Conv2d{.out = 2, .bias = false}, {1, 1, 2, 2}), (Names{"conv.weight"}));
  EXPECT_EQ(names(Linear{.out = 2, .bias = false}, {1, 3}), (Names{"fc.weight"}));
  EXPECT_EQ(names(BatchNorm{.affine = false, .track_running_stats = false}, {3, 2}), (Names{}));
  EXPECT_EQ(names(BatchNorm{.affine = false}, {3, 2}), (Names{"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}));
  EXPECT_EQ(names(LayerNorm{.bias = false}, {3, 2}), (Names{"ln.weight"}));
  EXPECT_EQ(names(LayerNorm{.elementwise_affine = false}, {3, 2}), (Names{}));
  EXPECT_EQ(names(InstanceNorm{}, {3, 2, 2, 2}), (Names{}));
  EXPECT_EQ(names(InstanceNorm{.affine = true, .track_running_stats = true}, {3, 2, 2, 2}),
            (Names{"in.weight", "in.bias", "in.running_mean", "in.running_var", "in.num_batches_tracked"}));
  EXPECT_EQ(names(Sequential{GroupNorm{.groups = 1}, GroupNorm{.groups = 2, .affine = false}, GroupNorm{.groups = 2}}, {3, 4}),
            (Names{"gn1.weight", "gn1.bias", "gn3.weight", "gn3.bias"}));
  EXPECT_EQ(trace(LayerNorm{}, {2, 4, 5, 3}).parameters().at(0).shape, (Shape{4, 5, 3}));
  EXPECT_EQ(names(Sequential{{"stem", Conv2d{.out = 4, .groups = 2, .bias = false}},
                             {"block", Residual{Sequential{Conv2d{.out = 4, .bias = false}}}}},
                  {1, 2, 3, 3}),
            (Names{"stem.weight", "block.body.conv1.weight"}));
  EXPECT_EQ(trace(Conv2d{.out = 6, .kernel = {2, 3}, .groups = 2}, {1, 4, 5, 5}).parameters().at(0).shape, (Shape{6, 2, 2, 3}));
}

// -------------------------------------------------------------------------------------------------------------------- errors

TEST(Modules, ErrorsNameTheLayerAndTheShape) {
  EXPECT_TRUE(contains(refusal(Sequential{Flatten{}, {"conv2", Conv2d{.out = 3, .kernel = 3}}}, {128, 1, 28, 28}),
                       "[conv2] expects 4-d input, got (128, 784)"));
  EXPECT_TRUE(contains(refusal(Sequential{Linear{.out = 10}}, {8, 1, 28, 28}), "[fc1] expects 2-d input, got (8, 1, 28, 28)"));
  EXPECT_TRUE(contains(refusal(Sequential{MaxPool2d{}}, {8, 4}), "[pool1] expects 4-d input, got (8, 4)"));
  EXPECT_TRUE(contains(refusal(Sequential{AvgPool2d{}}, {8, 4}), "[pool1] expects 4-d input, got (8, 4)"));
  EXPECT_TRUE(contains(refusal(Sequential{GlobalAvgPool2d{}}, {8, 4}), "[pool1] expects 4-d input, got (8, 4)"));
  const Sequential nested{{"block", Sequential{{"inner", Sequential{Conv2d{.out = 3, .kernel = 9}}}}}};
  EXPECT_TRUE(contains(refusal(nested, {1, 1, 8, 12}), "[block/inner/conv1] kernel covers 9 "));
}

TEST(Modules, WindowsThatDoNotFitAreRefused) {
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .kernel = {3, 5}}}, {1, 1, 4, 4}),
                       "[conv1] kernel covers 5 but the padded input has only 4 columns"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .kernel = 3, .dilation = 2}}, {1, 1, 4, 9}),
                       "[conv1] kernel covers 5 but the padded input has only 4 rows"));
  EXPECT_TRUE(contains(refusal(Sequential{MaxPool2d{.kernel = 3}}, {1, 1, 2, 2}), "[pool1] kernel covers 3 "));
  EXPECT_TRUE(contains(refusal(Sequential{MaxPool2d{.kernel = 3, .padding = 2}}, {1, 1, 9, 9}), "[pool1] padding must be at most half"));
  EXPECT_TRUE(
      contains(refusal(Sequential{AvgPool2d{.kernel = {4, 2}, .padding = {1, 2}}}, {1, 1, 9, 9}), "[pool1] padding must be at most half"));
  EXPECT_EQ(output_of(Conv2d{.out = 1, .kernel = 5, .padding = 1}, {1, 1, 3, 3}), (Shape{1, 1, 1, 1}));  // just fits
}

TEST(Modules, GroupsMustDivideTheChannels) {
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 4, .groups = 2}}, {1, 3, 4, 4}), "[conv1] 3 input channels"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 3, .groups = 2}}, {1, 4, 4, 4}), "[conv1] 3 output channels"));
}

TEST(Modules, NormsThatCannotBeAreRefused) {
  EXPECT_TRUE(contains(refusal(Sequential{GroupNorm{.groups = 4}}, {2, 6, 3, 3}), "[gn1] 6 channels cannot be divided into 4 groups"));
  EXPECT_TRUE(contains(refusal(Sequential{GroupNorm{}}, {2, 6}), "[gn1] groups must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{GroupNorm{.groups = 6}}, {2, 6}), "[gn1] expects more than one value in each of its 6 groups"));
  EXPECT_NO_THROW((ModuleRunner{GroupNorm{.groups = 6}, {2, 6, 1, 2}}));
  // A norm without running statistics has only the batch's own, in evaluation, too.
  EXPECT_TRUE(contains(refusal([] {
                         ModuleRunner{Sequential{nn::BatchNorm{.track_running_stats = false}}, {1, 3}, {.mode = Mode::eval}};
                       }),
                       "[bn1] expects more than one value per channel without running statistics, got input (1, 3)"));
  EXPECT_TRUE(contains(refusal(Sequential{InstanceNorm{}}, {256, 120}), "[in1] expects 4-d input, got (256, 120); "));
  EXPECT_TRUE(
      contains(refusal(Sequential{InstanceNorm{}}, {4, 3, 1, 1}), "[in1] expects more than one spatial element, got input (4, 3, 1, 1)"));
  EXPECT_TRUE(contains(refusal(Sequential{LayerNorm{.eps = -1}}, {2, 6}), "[ln1] eps "));
  EXPECT_TRUE(contains(refusal(Sequential{InstanceNorm{.momentum = 2}}, {2, 6, 2, 2}), "[in1] momentum must lie in 0..1"));
  // With running statistics, one element is enough in evaluation.
  const Sequential tracking{InstanceNorm{.track_running_stats = true}};
  EXPECT_TRUE(contains(refusal([&] {
                         ModuleRunner{tracking, {4, 3, 1, 1}, {.mode = Mode::train}};
                       }),
                       "[in1] expects more than one spatial"));
  EXPECT_NO_THROW((ModuleRunner{tracking, {4, 3, 1, 1}, {.mode = Mode::eval}}));
  // No norm of a sample asks for a second one.
  for (const Module& m : {Module{LayerNorm{}}, Module{GroupNorm{.groups = 2}}})
    EXPECT_NO_THROW((ModuleRunner{m, {1, 6}, {.mode = Mode::train}}));
}

TEST(Modules, OptionsOutOfRangeAreRefused) {
  const Shape image{2, 2, 6, 6};
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{}}, image), "[conv1] out must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = -3}}, image), "[conv1] out must be positive, got -3"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .kernel = {3, 0}}}, image), "[conv1] kernel must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .stride = {0, 1}}}, image), "[conv1] stride must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .padding = {0, -1}}}, image), "[conv1] padding must not be negative, got -1"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .dilation = 0}}, image), "[conv1] dilation must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .groups = 0}}, image), "[conv1] groups must be positive, got 0"));
  using nn::ConvTranspose2d;
  EXPECT_TRUE(contains(refusal(Sequential{ConvTranspose2d{}}, image), "[convt1] out must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{ConvTranspose2d{.out = 1, .stride = 2, .output_padding = {0, 2}}}, image),
                       "[convt1] output_padding must be below stride or dilation, got 2 with stride 2 and dilation 1"));
  EXPECT_TRUE(contains(refusal(Sequential{ConvTranspose2d{.out = 1, .output_padding = -1}}, image), "[convt1] output_padding must"));
  EXPECT_TRUE(contains(refusal(Sequential{ConvTranspose2d{.out = 1, .padding = 9}}, image), "[convt1] the output has no rows"));
  EXPECT_TRUE(contains(refusal(Sequential{nn::ELU{.alpha = std::nan("")}}, image), "[elu1] alpha must be finite"));
  EXPECT_TRUE(contains(refusal(Sequential{nn::LeakyReLU{1e-50}}, image), "[leaky_relu1] negative_slope must be 0 or fit a float"));
  EXPECT_TRUE(contains(refusal(Sequential{Linear{}}, {2, 3}), "[fc1] out must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{Linear{.out = std::int64_t{1} << 33}}, {2, 3}), "out must lie in 1..2147483647, got 8589934592"));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .padding = std::int64_t{1} << 40}}, image),
                       "padding must lie in 0..2147483647, got 1099511627776"));
  EXPECT_TRUE(contains(refusal(Sequential{MaxPool2d{.kernel = 0}}, image), "[pool1] kernel must be positive, got 0"));
  EXPECT_TRUE(
      contains(refusal(Sequential{MaxPool2d{.kernel = 2, .stride = Size2{2, 0}}}, image), "[pool1] stride must be positive, got 0"));
  EXPECT_TRUE(contains(refusal(Sequential{AvgPool2d{.kernel = 2, .padding = -1}}, image), "[pool1] padding must not be negative, got -1"));
  EXPECT_TRUE(contains(refusal(Sequential{BatchNorm{.eps = -1e-5}}, image), "[bn1] eps "));
  EXPECT_TRUE(contains(refusal(Sequential{BatchNorm{.momentum = 1.5}}, image), "[bn1] momentum must lie in 0..1"));
  EXPECT_TRUE(contains(refusal(Sequential{BatchNorm{.initial_running_var = -1}}, image), "[bn1] initial_running_var must not be negative"));
  EXPECT_TRUE(contains(refusal(Sequential{Dropout{.p = 1.01}}, image), "[dropout1] p must lie in 0..1"));
  EXPECT_TRUE(contains(refusal(Sequential{Dropout{.p = -0.1}}, image), "[dropout1] p must lie in 0..1"));
  EXPECT_TRUE(contains(refusal(Sequential{Dropout{.p = std::nan("")}}, image), "[dropout1] p must lie in 0..1"));
  EXPECT_TRUE(contains(refusal(Sequential{BatchNorm{.eps = std::nan("")}}, image), "[bn1] eps "));
}

TEST(Modules, SizesThatOverflowAreRefused) {
  const std::int64_t big = std::int64_t{1} << 40;
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .kernel = 2, .dilation = big}}, {1, 1, 9, 9}), "[conv1] "));
  EXPECT_TRUE(contains(refusal(Sequential{Conv2d{.out = 1, .padding = big}}, {1, 1, 9, 9}), "[conv1] "));
  EXPECT_TRUE(contains(refusal(Sequential{Linear{.out = big}}, {1, 2}), "[fc1] "));
}

TEST(Modules, AddNeedsEqualShapes) {
  const std::string message = refusal(Sequential{{"block", Residual{Sequential{Conv2d{.out = 3, .kernel = 3}}}}}, {2, 3, 8, 8});
  EXPECT_TRUE(contains(message, "[block] "));
  EXPECT_TRUE(contains(message, "(2, 3, 6, 6)"));
  EXPECT_TRUE(contains(message, "(2, 3, 8, 8)"));
}

TEST(Modules, BatchNormNeedsTwoValuesAChannelToTrain) {
  const ModuleRunner::Options train{.mode = Mode::train};
  const std::string message = refusal([&] { ModuleRunner{Sequential{BatchNorm{}}, {1, 5}, train}; });
  EXPECT_TRUE(contains(message, "[bn1] "));
  EXPECT_TRUE(contains(message, "(1, 5)"));
  EXPECT_TRUE(contains(refusal([&] { ModuleRunner{Sequential{BatchNorm{}}, {1, 5, 1, 1}, train}; }), "[bn1] "));
  EXPECT_NO_THROW((ModuleRunner{Sequential{BatchNorm{}}, {1, 5, 1, 2}, train}));
  EXPECT_NO_THROW((ModuleRunner{Sequential{BatchNorm{}}, {1, 5}, {.mode = Mode::eval}}));
}

TEST(Modules, NamesThatWouldClashOrCannotBePathsAreRefused) {
  EXPECT_NE(refusal(Sequential{{"a.b", ReLU{}}}, {2, 3}), "nothing was refused");
  EXPECT_NE(refusal(Sequential{{"a/b", ReLU{}}}, {2, 3}), "nothing was refused");
  EXPECT_TRUE(contains(refusal(Sequential{{"fc", Linear{.out = 3}}, {"fc", Linear{.out = 3}}}, {2, 3}), "\"fc\""));
}

TEST(Modules, RunnerRefusesUnknownNamesAndWrongSizes) {
  ModuleRunner run{Linear{.out = 2}, {3, 4}};
  EXPECT_TRUE(contains(refusal([&] { run.read("fc.wieght"); }), "fc.wieght"));
  EXPECT_TRUE(contains(refusal([&] { run.read("fc.wieght"); }), "fc.weight"));  // suggested
  EXPECT_TRUE(contains(refusal([&] { run.write("x", std::vector<float>(11)); }), "12"));
}

// ------------------------------------------------------------------------------------------------------------------ dropout

TEST(DropoutModule, KeepsTheExpectationAndUsesOneMaskForBothDirections) {
  constexpr std::int64_t n = 50, features = 1000;
  for (const double p : {0.25, 0.5, 0.9}) {
    ModuleRunner run{Dropout{.p = p}, {n, features}, {.seed = 3}};
    run.write("x", std::vector<float>(n * features, 2));
    run.write("dy", std::vector<float>(n * features, 3));
    run.step();
    const std::vector<float> y = run.read("y"), dx = run.read("dx");
    const float kept = static_cast<float>(1 / (1 - p));
    std::int64_t zeros = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (y[i] == 0) ++zeros;
      else ASSERT_FLOAT_EQ(y[i], 2 * kept);
      ASSERT_FLOAT_EQ(dx[i], y[i] == 0 ? 0 : 3 * kept);
    }
    const double share = static_cast<double>(zeros) / (n * features), sigma = std::sqrt(p * (1 - p) / (n * features));
    EXPECT_NEAR(share, p, 5 * sigma);
    run.step();
    EXPECT_NE(run.read("y"), y) << "the second step drew the first step's mask";
    ModuleRunner again{Dropout{.p = p}, {n, features}, {.seed = 3}};
    again.write("x", std::vector<float>(n * features, 2));
    again.write("dy", std::vector<float>(n * features, 3));
    again.step();
    EXPECT_EQ(again.read("y"), y) << "the same seed drew another mask";
  }
}

TEST(DropoutModule, LayersAndSeedsDrawDifferentMasks) {
  const auto mask = [](std::uint64_t seed, const char* layer) {
    ModuleRunner run{Sequential{Dropout{}, Dropout{}}, {8, 64}, {.seed = seed}};
    run.write("x", std::vector<float>(512, 1));
    run.write("dy", std::vector<float>(512, 1));
    run.step();
    std::vector<float> m = run.read(layer);
    for (float& v : m) v = v != 0;
    return m;
  };
  EXPECT_NE(mask(1, "dropout1"), mask(2, "dropout1"));
  const std::vector<float> first = mask(1, "dropout1"), both = mask(1, "dropout2");
  EXPECT_NE(first, both);  // a second layer with the first one's mask would leave it as it is
}

TEST(DropoutModule, EndsOfTheRangeAndEvaluation) {
  const auto run_once = [](double p, Mode mode) {
    ModuleRunner run{Dropout{.p = p}, {3, 7}, {.mode = mode}};
    run.write("x", range(21, 1));
    run.write("dy", range(21, 5));
    run.step();
    return std::pair(run.read("y"), run.read("dx"));
  };
  EXPECT_EQ(run_once(0, Mode::train), std::pair(range(21, 1), range(21, 5)));
  EXPECT_EQ(run_once(0.5, Mode::eval), std::pair(range(21, 1), range(21, 5)));
  EXPECT_EQ(run_once(1, Mode::train), std::pair(std::vector<float>(21, 0), std::vector<float>(21, 0)));
}

// ------------------------------------------------------------------------------------------------------------ a user's own module

// x * sigmoid-gated shortcut is beyond the built-in ones, but any graph of them is a module: here y = tanh(fc(x)) + fc(x).
struct TanhAndLinear {
  std::int64_t features;
  Value operator()(Builder& b, Value x) const {
    const Value h = Linear{.out = features}(b, x);
    return b.add(b.activation(Activation::tanh, h), h);
  }
};

TEST(UserModule, AnyStructWithACallOperatorIsAModule) {
  ModuleRunner run{Sequential{{"mine", TanhAndLinear{2}}}, {2, 2}};
  run.write("mine.weight", std::vector<float>{1, 0, 0, 2});
  run.write("mine.bias", std::vector<float>{0, 0.5f});
  run.write("x", std::vector<float>{0.5f, -1, 2, 0});
  run.write("dy", std::vector<float>(4, 1));
  run.step();
  const double h[] = {0.5, -1.5, 2, 0.5};
  std::vector<float> y, dh;
  for (const double v : h)
    y.push_back(static_cast<float>(std::tanh(v) + v)), dh.push_back(static_cast<float>(2 - std::tanh(v) * std::tanh(v)));
  expect_near(run.read("y"), y, 1e-6f, "y");
  expect_near(run.read("dx"), {dh[0], 2 * dh[1], dh[2], 2 * dh[3]}, 1e-6f, "dx");  // both users of h add up
  expect_near(run.read("mine.bias.grad"), {dh[0] + dh[2], dh[1] + dh[3]}, 1e-6f, "bias.grad");
}

TEST(UserModule, SeveralInputsByName) {
  const ModuleRunner::Function f = [](Builder& b, const std::vector<Value>& in) { return b.add(in[0], b.add(in[1], in[0])); };
  ModuleRunner run{f, {{"a", {2, 3}}, {"b", {2, 3}}}, {}};
  run.write("a", range(6));
  run.write("b", range(6, 10));
  run.write("dy", range(6, 1));
  run.step();
  EXPECT_EQ(run.read("y"), (std::vector<float>{10, 13, 16, 19, 22, 25}));
  EXPECT_EQ(run.read("da"), (std::vector<float>{2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(run.read("db"), range(6, 1));
  EXPECT_TRUE(contains(refusal([&] { ModuleRunner{f, {{"a", {2, 3}}, {"b", {2, 4}}}, {}}; }), "[add] "));
}

}  // namespace
}  // namespace norma
