// Recipes: what is read, what it means, and what is written back.
#include "apps/norma/recipe/recipe.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "apps/norma/recipe/fields.h"
#include "norma/error.h"
#include "norma/graph.h"
#include "tests/support/recipe_texts.h"

namespace norma::app {
namespace {

// Every kind of field away from its default, so that a field the writer drops makes the round trip fail.
const std::string rich = R"(name = "rich \"one\"\\"
description = "tab\there"
[data]
name = "circles"
samples = 321
noise = 0.1
factor = 0.25
test_fraction = 0.3
seed = 77
to_unit = false
mean = [0.1, 0.30000000000000004]
std = 2
resize = [3, 5]
[model]
activation = "tanh"
norm = "group"
norm_position = "after"
weight_init = { kind = "normal", mean = 0, std = 0.02 }
bias_init = { kind = "constant", value = 0.5 }
layers = [
  { type = "conv2d", name = "stem", out = 8, kernel = [3, 5], stride = [2, 1], padding = [1, 2], dilation = 2, groups = 2, bias = false, weight_init = { kind = "normal", mean = 0, std = 0.01 } },
  { type = "batch_norm", eps = 1e-3, momentum = "none", affine = true, track_running_stats = false, weight_init = { kind = "constant", value = 0.5 } },
  { type = "layer_norm", eps = 0.01, bias = false }, { type = "instance_norm", affine = true }, { type = "group_norm", groups = 4 },
  { type = "norm" }, { type = "activation" }, { type = "relu" }, { type = "sigmoid" }, { type = "tanh" },
  { type = "max_pool2d", kernel = 3, stride = 2, padding = 1, dilation = 1, ceil_mode = true },
  { type = "avg_pool2d", kernel = [2, 3], stride = [1, 2], padding = 1, ceil_mode = true, count_include_pad = false },
  { type = "residual", body = [{ type = "sequential", name = "inner", repeat = 2, layers = [{ type = "conv2d", out = 4, kernel = 1 }] }], projection = [{ type = "conv2d", out = 4, kernel = 1, weight_init = "he_normal" }] },
  { type = "dropout", p = 0.25 },
  { type = "sequential", layers = [{ type = "gelu", approximate = "tanh" }, { type = "silu" }, { type = "leaky_relu", negative_slope = 0.25 }, { type = "elu", alpha = 1.5 }, { type = "conv_transpose2d", out = 6, kernel = [3, 2], stride = 2, padding = 1, output_padding = [1, 0], dilation = [1, 2], groups = 2, bias = false, bias_init = { kind = "constant", value = 1 } }] },
  { type = "global_avg_pool2d" },
  { type = "flatten" },
  { type = "linear", out = 10, bias_init = { kind = "uniform", low = -1, high = 2 }, weight_init = { kind = "xavier_uniform", gain = 1.5 } },
]
[model.batch_norm]
momentum = 0.05
initial_running_var = 0.25
[model.layer_norm]
eps = 1e-3
elementwise_affine = false
bias = false
[model.instance_norm]
track_running_stats = true
[model.group_norm]
groups = 4
affine = false
[optimizer]
kind = "sgd"
lr = 0.3
momentum = 0.9
weight_decay = 1e-4
nesterov = true
[schedule]
kind = "one_cycle"
pct_start = 0.25
warmup_epochs = 0.5
[loss]
kind = "cross_entropy"
reduction = "sum"
label_smoothing = 0.1
ignore_index = 3
[train]
epochs = 7
batch_size = 33
save_every = 2
log_every = 3
seed = 9007199254740993
shuffle = false
drop_last = true
groups = [{ pattern = "stem.*", rate = 0.25 }, { pattern = "*.bias", weight_decay = 0, frozen_statistics = false }]
[device]
kind = "cpu"
threads = 3
isa = "avx2"
fuse = false
reuse = false
check_each = true
)";

TEST(Recipe, ReadsEveryField) {
  const Recipe r = parse(rich);
  EXPECT_EQ(r.name, "rich \"one\"\\");
  EXPECT_EQ(r.data.source, DataSection::Source::circles);
  EXPECT_EQ(r.data.samples, 321);
  EXPECT_EQ(r.data.transform.mean, (std::vector<double>{0.1, 0.30000000000000004}));
  EXPECT_EQ(r.data.transform.stddev, std::vector<double>{2});
  ASSERT_TRUE(r.data.transform.resize);
  EXPECT_EQ(*r.data.transform.resize, Size2(3, 5));
  EXPECT_EQ(r.model.activation, Activation::tanh);
  EXPECT_EQ(r.model.norm, NormKind::group);
  EXPECT_EQ(r.model.norm_position, NormPosition::after);
  EXPECT_EQ(r.model.group_norm.groups, 4);
  EXPECT_EQ(r.model.batch_norm.momentum, 0.05);
  ASSERT_EQ(r.model.layers.size(), 18U);
  const auto& conv = std::get<nn::Conv2d>(r.model.layers[0].layer);
  EXPECT_EQ(r.model.layers[0].name, "stem");
  EXPECT_EQ(conv.kernel, Size2(3, 5));
  EXPECT_EQ(conv.dilation, Size2(2));
  EXPECT_EQ(conv.weight_init.kind, Init::Kind::normal);
  EXPECT_EQ(conv.weight_init.b, 0.01);
  EXPECT_FALSE(std::get<nn::BatchNorm>(r.model.layers[1].layer).momentum);
  const auto& residual = std::get<ResidualLayer>(r.model.layers[12].layer);
  EXPECT_EQ(std::get<nn::Conv2d>(residual.projection.at(0).layer).weight_init.a, Init::he_normal().a);
  EXPECT_TRUE(std::get<Sgd>(r.optimizer).nesterov);
  EXPECT_EQ(r.schedule.kind, Schedule::Kind::one_cycle);
  EXPECT_EQ(std::get<CrossEntropy>(r.loss).ignore_index, 3);
  EXPECT_EQ(r.train.seed, 9007199254740993U);  // not a double
  EXPECT_EQ(r.device.threads, 3);
}

TEST(Recipe, WritesWhatItReads) {
  for (const std::string& text : {minimal, rich}) {
    const Recipe first = parse(text);
    const std::string written = write_toml(first);
    const Recipe second = parse(written);
    EXPECT_EQ(write_toml(second), written);
    EXPECT_EQ(flatten(second), flatten(first));
  }
  // The written recipe is complete: defaults are in it.
  EXPECT_TRUE(contains(write_toml(parse(minimal)), "lr = 0.001"));
}

TEST(Recipe, WritesEveryFieldThatDiffers) {
  const auto plain = flatten(parse(minimal)), full = flatten(parse(rich));
  for (const char* key :
       {"train.seed", "device.check_each", "loss.label_smoothing", "schedule.pct_start", "train.log_every", "model.weight_init",
        "model.bias_init", "model.batch_norm.initial_running_var", "model.norm", "model.norm_position",
        "model.layer_norm.elementwise_affine", "model.instance_norm.track_running_stats", "model.group_norm.groups",
        "model.layers.12.projection.0.weight_init", "model.layers.12.body.0.layers.0.out", "data.resize"})
    EXPECT_TRUE(full.contains(key) && (!plain.contains(key) || plain.at(key) != full.at(key))) << key;
}

TEST(Recipe, ShippedRecipesRoundTripAndBuild) {
  ASSERT_GE(embedded_recipes().size(), 5U);
  for (const EmbeddedRecipe& e : embedded_recipes()) {
    const Recipe r = parse_recipe(find_recipe(std::string(e.name)));
    EXPECT_EQ(r.name, e.name);
    EXPECT_EQ(flatten(parse(write_toml(r))), flatten(r));
    const Graph g = trace(Module(build_model(r.model)), sample_shape(r.data).prepend(r.train.batch_size));
    EXPECT_EQ(g.nodes.back().shape, (Shape{r.train.batch_size, r.data.source == DataSection::Source::circles ? 2 : 10}));
  }
}

// The tests of reading and writing see every layer that a recipe can have.
TEST(Recipe, TheRichRecipeHasEveryLayer) {
  for (const char* name : LayerTable::names)
    EXPECT_TRUE(contains(rich, std::string("type = \"") + name + "\"")) << "put a layer " << name << " into `rich`";
}

// Each activation is a layer's and the model's, by its name, with its option, through config.toml and back.
TEST(Recipe, EveryActivation) {
  for (const ActivationTraits& t : activation_table) {
    if (t.act == Activation::none) continue;
    std::string model = std::string("activation = \"") + t.name + "\"\n";
    if (t.option) model += std::string(t.option) + " = 0.375\n";
    const Recipe r = parse("[data]\nname = \"circles\"\n[model]\n" + model + "layers = [{ type = \"activation\" }]\n");
    const Recipe again = parse(write_toml(r));
    for (const Recipe& read : {r, again}) {
      EXPECT_EQ(read.model.activation, t.act) << t.name;
      const Graph g = trace(Module(build_model(read.model)), {4, 2});
      const auto& node = std::get<ActivationNode>(g.nodes.back().op);
      EXPECT_EQ(node.act, t.act);
      EXPECT_EQ(node.option, t.option ? 0.375 : t.standard) << t.name;
    }
    // Another activation from the command line drops the option.
    const Recipe relu = parse(write_toml(r), {{"model.activation", "relu", "--activation"}});
    EXPECT_EQ(relu.model.activation, Activation::relu);
    EXPECT_FALSE(contains(write_toml(relu), "0.375")) << t.name;
  }
}

TEST(Recipe, MnistLenetBnIsTheNetOfTheIssue) {
  const Recipe r = parse_recipe(find_recipe("mnist-lenet-bn"));
  EXPECT_EQ(std::get<Sgd>(r.optimizer).lr, 0.02);
  EXPECT_EQ(r.train.epochs, 10);
  EXPECT_EQ(r.train.batch_size, 256);
  EXPECT_EQ(r.data.transform.mean, std::vector<double>{0.5});
  std::vector<std::string> names;
  for (const ParameterInfo& p : trace(Module(build_model(r.model)), {256, 1, 28, 28}).parameters())
    if (!p.buffer) names.push_back(p.name + to_string(p.shape));
  EXPECT_EQ(names.front(), "conv1.weight(6, 1, 5, 5)");
  EXPECT_EQ(names.back(), "fc3.bias(10)");
}

TEST(Recipe, FashionCnnBnStartsAsItsTutorialDoes) {
  const Recipe r = parse_recipe(find_recipe("fashion-cnn-bn"));
  EXPECT_EQ(std::get<Sgd>(r.optimizer).lr, 0.2);
  const Graph g = trace(Module(build_model(r.model)), {256, 1, 28, 28});
  int normal = 0, zero = 0, variances = 0;
  for (const ParameterInfo& p : g.parameters()) {
    const bool bias = p.name.ends_with(".bias"), norm = p.name.starts_with("bn");
    if (p.buffer) {
      variances += p.name.ends_with("running_var") && p.init.a == 0;
    } else if (bias && !norm) {
      EXPECT_TRUE(p.init.kind == Init::Kind::constant && p.init.a == 0) << p.name;
      ++zero;
    } else {
      EXPECT_TRUE(p.init.kind == Init::Kind::normal && p.init.a == 0 && p.init.b == 0.01) << p.name;
      ++normal;
    }
  }
  EXPECT_EQ(normal, 4 + 2 * 2);
  EXPECT_EQ(zero, 4);
  EXPECT_EQ(variances, 2);
}

TEST(Recipe, CirclesDifferInTheirNormsAlone) {
  Recipe with = parse_recipe(find_recipe("circles-bn")), without = parse_recipe(find_recipe("circles"));
  EXPECT_EQ(load_data(with.data).train.size(), with.train.batch_size) << "full batches";
  EXPECT_EQ(with.data.seed, 42U);
  with.name = without.name, with.description = without.description;
  EXPECT_EQ(with.model.norm, NormKind::batch);
  EXPECT_EQ(without.model.norm, NormKind::none);
  without.model.norm = NormKind::batch;
  EXPECT_EQ(flatten(with), flatten(without));
}

TEST(Recipe, TheModelsInitialisersAreThoseOfLayersThatNameNone) {
  const Recipe r = parse(R"([data]
name = "circles"
[model]
weight_init = { kind = "constant", value = 2 }
bias_init = { kind = "constant", value = 3 }
layers = [
  { type = "linear", out = 3 }, { type = "batch_norm" },
  { type = "residual", body = [{ type = "linear", out = 3, bias_init = { kind = "constant", value = 4 } }] },
]
)");
  std::map<std::string, double> starts;
  for (const ParameterInfo& p : trace(Module(build_model(r.model)), {4, 2}).parameters())
    starts[p.name] = p.init.kind == Init::Kind::standard ? -1 : p.init.a;
  EXPECT_EQ(starts.at("fc1.weight"), 2);
  EXPECT_EQ(starts.at("fc1.bias"), 3);
  EXPECT_EQ(starts.at("residual1.body.fc1.weight"), 2);
  EXPECT_EQ(starts.at("residual1.body.fc1.bias"), 4);
  EXPECT_EQ(starts.at("bn1.weight"), -1);  // a batch norm has its own
  EXPECT_EQ(starts.at("bn1.running_var"), 1);
}

TEST(Recipe, NormNoneAndActivationNoneLeaveTheLayersOut) {
  const std::vector<Override> off{{"model.norm", "none", "--norm"}, {"model.activation", "none", "--activation"}};
  const Recipe r = parse_recipe(find_recipe("mnist-lenet-bn"), off);
  for (const ParameterInfo& p : trace(Module(build_model(r.model)), {8, 1, 28, 28}).parameters())
    EXPECT_EQ(p.name.find("bn"), std::string::npos) << p.name;
}

TEST(Recipe, TheModelsNormAndItsPlace) {
  const auto net = [](std::vector<Override> set) {
    const Recipe r = parse_recipe(find_recipe("mnist-lenet-bn"), set);
    std::string kinds;
    for (const Node& n : trace(Module(build_model(r.model)), {8, 1, 28, 28}).nodes) kinds += n.path + " ";
    return kinds;
  };
  const Override after{"model.norm_position", "after", "--norm-position"};
  EXPECT_TRUE(contains(net({}), "conv1 bn1 relu1 pool1 conv2 bn2 relu2 "));
  EXPECT_TRUE(contains(net({{"model.norm", "layer", "--norm"}}), "fc1 ln3 relu3 fc2 ln4 relu4 fc3"));
  EXPECT_TRUE(contains(net({{"model.norm", "group", "--norm"}, after}), "conv1 relu1 gn1 pool1 conv2 relu2 gn2 "));
  EXPECT_TRUE(contains(net({{"model.norm", "none", "--norm"}, after}), "conv1 relu1 pool1 "));
  // A linear layer gives one value a channel, of which an instance norm would leave nothing.
  EXPECT_TRUE(contains(net({{"model.norm", "instance", "--norm"}}), "conv2 in2 relu2 pool2 flatten1 fc1 relu3 fc2 relu4 fc3"));
  const auto without_slots = [](const std::string& norm) {
    const RecipeSource source{"bare", "[data]\nname='digits'\n[model]\nlayers=[{type='flatten'},{type='linear',out=10}]", "bare.toml", {}};
    const std::vector<Override> set{{"model.norm", norm, "--norm"}};
    parse_recipe(source, set);
  };
  without_slots("none");
  EXPECT_TRUE(contains(message_of([&] { without_slots("batch"); }), "--norm: no layer of bare is { type = \"norm\" }"));
  EXPECT_TRUE(contains(message_of([&] {
                         net({{"model.norm", "group", "--norm"}, {"model.group_norm.groups", "4", "--set"}});
                       }),
                       "[gn1] 6 channels cannot be divided into 4 groups"));
  EXPECT_TRUE(contains(message_of([&] { net({{"model.norm", "batch_norm", "--norm"}}); }), "did you mean \"batch\"?"));
  EXPECT_TRUE(contains(refusal("[data]\nname='digits'\n[model]\nlayers=[{type='group_norm'}]"), "groups"));
}

TEST(Recipe, EveryOptimizerThroughConfigToml) {
  for (const auto& [name, standard] : optimizer_kinds) {
    const Recipe r = parse(minimal + "[optimizer]\nkind = \"" + name + "\"\nlr = 0.375\n");
    const std::string text = write_toml(r);
    EXPECT_TRUE(contains(text, std::string("kind = \"") + name + "\"")) << text;
    const Optimizer again = parse(text).optimizer;
    EXPECT_EQ(std::string(name_of(again)), name_of(standard)) << name;
    EXPECT_EQ(learning_rate(again), 0.375) << name;
  }
  Recipe r = parse(minimal);
  r.optimizer = RMSprop{.alpha = 0.5, .eps = 0.25, .weight_decay = 0.125, .momentum = 2, .centered = true};
  const auto o = std::get<RMSprop>(parse(write_toml(r)).optimizer);
  EXPECT_EQ(o.alpha + o.eps + o.weight_decay + o.momentum, 2.875);
  EXPECT_TRUE(o.centered);
}

}  // namespace
}  // namespace norma::app
