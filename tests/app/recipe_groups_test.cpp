// Groups of parameters in recipes: read, written back, refused with their place, noticed by a resume, and trained by.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/norma/run/resumed_recipe.h"
#include "apps/norma/run/run_identity.h"
#include "apps/norma/run/training_run.h"
#include "norma/checkpoint.h"
#include "tests/support/expect_error.h"
#include "tests/support/recipe_texts.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using test::expect_error;
using test::TemporaryFolder;

const std::string convolutional = R"([data]
name = "digits"
train_samples = 64
test_samples = 10
resize = 8
[model]
layers = [{ type = "conv2d", out = 4, kernel = 3 }, { type = "norm" }, { type = "activation" }, { type = "flatten" }, { type = "linear", out = 10 }]
[train]
batch_size = 32
)";
const std::string two_groups = R"([[train.groups]]
pattern = "conv1.*"
rate = 0
[[train.groups]]
pattern = "bn*"
weight_decay = 0.25
frozen_statistics = true
)";

Recipe with_groups(const std::string& toml, const std::vector<Override>& overrides = {}) {
  return parse(convolutional + "groups = " + toml + "\n", overrides);
}

TrainerOptions options_of(const Recipe& r) { return trainer_options(r, sample_shape(r.data), Device::cpu()); }

TEST(RecipeGroups, AreReadAsTablesAndInline) {
  for (const Recipe& r : {parse(convolutional + two_groups), with_groups(R"([{ pattern = "conv1.*", rate = 0 },
                                                        { pattern = "bn*", weight_decay = 0.25, frozen_statistics = true }])")}) {
    const std::vector<ParameterGroup> groups = options_of(r).groups;
    ASSERT_EQ(groups.size(), 2U);
    EXPECT_EQ(groups[0].pattern, "conv1.*");
    EXPECT_EQ(groups[0].rate, 0);
    EXPECT_FALSE(groups[0].weight_decay || groups[0].frozen_statistics);
    EXPECT_EQ(groups[1].pattern, "bn*");
    EXPECT_EQ(groups[1].weight_decay, 0.25);
    EXPECT_EQ(groups[1].frozen_statistics, true);
    EXPECT_FALSE(groups[1].rate);
  }
  EXPECT_TRUE(options_of(parse(convolutional)).groups.empty());
}

TEST(RecipeGroups, AreWrittenAndReadAgain) {
  const Recipe r = parse(convolutional + two_groups);
  const std::string written = write_toml(r);
  EXPECT_TRUE(contains(written, R"(
groups = [
  { pattern = "conv1.*", rate = 0.0 },
  { pattern = "bn*", weight_decay = 0.25, frozen_statistics = true },
]
)"));
  EXPECT_EQ(write_toml(parse(written)), written);
  EXPECT_EQ(flatten(parse(written)), flatten(r));
  EXPECT_EQ(flatten(r).at("train.groups.1.frozen_statistics"), "true");
}

// config.toml and the identity of earlier runs hold no word of groups.
TEST(RecipeGroups, WithoutThemNothingIsWritten) {
  for (const Recipe& r : {parse(convolutional), with_groups("[]")}) {
    EXPECT_EQ(write_toml(r), write_toml(parse(convolutional)));
    EXPECT_EQ(write_toml(r).find("pattern"), std::string::npos);
    for (const auto& [key, value] : flatten(r)) EXPECT_FALSE(key.starts_with("train.groups")) << key;
  }
}

TEST(RecipeGroups, AreSetByFlags) {
  const std::string text = convolutional + two_groups;
  EXPECT_EQ(parse(text, {{"train.groups.0.rate", "0.5", "--set"}}).train.groups.at(0).rate, 0.5);
  EXPECT_EQ(parse(text, {{"train.groups[1].pattern", "fc1.*", "--set"}}).train.groups.at(1).pattern, "fc1.*");
  EXPECT_EQ(parse(text, {{"train.groups", R"([{ pattern = "*", rate = 2 }])", "--set"}}).train.groups.size(), 1U);
  EXPECT_TRUE(parse(text, {{"train.groups", "[]", "--set"}}).train.groups.empty());
  EXPECT_EQ(parse(text, {{"optimizer.kind", "adam", "--optimizer"}}).train.groups.size(), 2U);
  EXPECT_TRUE(contains(refusal(text, {{"train.groups.0.rate", "-1", "--set train.groups.0.rate"}}),
                       "--set train.groups.0.rate: must be a number of at least 0, got -1"));
  EXPECT_TRUE(contains(refusal(text, {{"train.groups.2.rate", "1", "--set"}}), "\"2\" is not an index of the 2 entries"));
}

TEST(RecipeGroups, AreRefusedByTheirPlace) {
  const struct {
    const char *groups, *place, *part;
  } cases[] = {
      {R"([{ pattern = "a", rate = -1 }])", "test.toml:10:35: train.groups.0.rate: ", "must be a number of at least 0, got -1"},
      {R"([{ pattern = "a", rate = 1e39 }])", "test.toml:10:35: train.groups.0.rate: ", "must be 0 or fit a float"},
      {R"([{ pattern = "a", rate = 1e-37 }])", "test.toml:10:35: train.groups.0.rate: ", "1e-37 times the learning rate 0.001 is no float"},
      {R"([{ pattern = "a", rate = "x" }])", "test.toml:10:35: train.groups.0.rate: ", "got the string \"x\""},
      {R"([{ pattern = "a", weight_decay = nan }])", "test.toml:10:43: train.groups.0.weight_decay: ", "at least 0, got nan"},
      {R"([{ pattern = "a", frozen_statistics = 1 }])",
       "test.toml:10:48: train.groups.0.frozen_statistics: ", "must be true or false, got 1"},
      {R"([{ pattern = "" }])", "test.toml:10:23: train.groups.0.pattern: ", "must fit names of parameters"},
      {R"([{ pattern = 3 }])", "test.toml:10:23: train.groups.0.pattern: ", "must be a string, got 3"},
      {R"([{ rate = 1 }])", "test.toml:10:", "train.groups.0: \"pattern\" is missing here"},
      {R"([{ pattern = "a", rte = 1 }])",
       "test.toml:10:28: train.groups.0.rte: ", "unknown key \"rte\" in train.groups.0; did you mean \"rate\"?"},
      {R"([{ pattern = "a", lr = 1 }])", "test.toml:10:28: train.groups.0.lr: ", "did you mean \"rate\"?"},
      {R"(["conv1.*"])", "test.toml:10:11: train.groups.0: ", "must be a table"},
      {R"({ pattern = "a" })", "test.toml:10:10: train.groups: ", "must be an array of groups, got a table"},
  };
  for (const auto& c : cases) {
    const std::string m = message_of([&] { with_groups(c.groups); });
    EXPECT_TRUE(contains(m, c.place)) << c.groups;
    EXPECT_TRUE(contains(m, c.part)) << c.groups;
  }
}

// The net says which names there are: the library finds these, and names the place in the recipe.
TEST(RecipeGroups, TheLibraryRefusesThemByTheirPlace) {
  const auto compiled = [](const Recipe& r) { return [r] { compile(Module(build_model(r.model)), options_of(r), Mode::train); }; };
  const std::string typo = R"([{ pattern = "conv1.*" }, { pattern = "conv1.weigth", rate = 0 }])";
  expect_error(ErrorKind::usage,
               {"test.toml:10:48: train.groups.1.pattern: group \"conv1.weigth\" fits no parameter; did you mean \"conv1.weight\"?"},
               compiled(with_groups(typo)));
  expect_error(ErrorKind::usage, {"--set train.groups.0.pattern: group \"con.*\" fits no parameter"},
               compiled(with_groups(typo, {{"train.groups.0.pattern", "con.*", "--set train.groups.0.pattern"}})));
  expect_error(ErrorKind::usage, {"test.toml:10:23: train.groups.0.pattern: the groups freeze all parameters"}, [] {
    const Recipe r = with_groups(R"([{ pattern = "*", rate = 0 }, { pattern = "bn*", weight_decay = 1 }])");
    Trainer(build_model(r.model), options_of(r)).fit(load_data(r.data), {.epochs = 1});
  });
}

TEST(RecipeGroups, AResumeNamesWhatChanged) {
  const Recipe was = parse(convolutional + two_groups);
  const DatasetPair data = load_data(was.data);
  const Graph net = trace(Module(build_model(was.model)), {32, 1, 8, 8});
  const std::map<std::string, std::string> saved = identity_metadata(was, data_identity(was.data, data), net);
  const auto resumed = [&](const Recipe& is) {
    return
        [&saved, &data, &net, is] { check_identity(saved, is, data_identity(is.data, data), net, "training.safetensors", "config.toml"); };
  };
  EXPECT_NO_THROW(resumed(was)());
  const auto edited = [](const std::string& key, const std::string& value) {
    return parse(convolutional + two_groups, {{key, value, ""}});
  };
  expect_error(ErrorKind::usage, {"config.toml is not the recipe", "train.groups.0.rate is 0.5, the run was trained with 0.0"},
               resumed(edited("train.groups.0.rate", "0.5")));
  expect_error(ErrorKind::usage, {"train.groups.1.pattern is \"fc1.*\", the run was trained with \"bn*\""},
               resumed(edited("train.groups.1.pattern", "fc1.*")));
  expect_error(ErrorKind::usage, {"train.groups.0.pattern is not set, the run was trained with \"conv1.*\""},
               resumed(edited("train.groups", "[]")));
  // And by flag, which the message names.
  const RecipeSource stored{"run", write_toml(was), "run/config.toml", "/"};
  EXPECT_NO_THROW(resumed_recipe(stored, {{"train.epochs", "9", "--epochs"}}));
  expect_error(ErrorKind::usage, {"--resume with --set train.groups.1.weight_decay: train.groups.1.weight_decay is 0.25 in this run"}, [&] {
    resumed_recipe(stored, {{"train.groups.1.weight_decay", "1", "--set train.groups.1.weight_decay"}});
  });
  expect_error(ErrorKind::usage, {"--resume with --set train.groups: train.groups.0.pattern is \"conv1.*\" in this run"}, [&] {
    resumed_recipe(stored, {{"train.groups", "[]", "--set train.groups"}});
  });
}

// The values of every tensor of a run's model.
std::map<std::string, std::vector<std::byte>> tensors_of(const Checkpoint& model) {
  std::map<std::string, std::vector<std::byte>> all;
  for (const StoredTensor& t : model.tensors) all[t.name] = t.bytes;
  return all;
}

TEST(RecipeGroups, AFrozenLayerStaysWhereItBegan) {
  const TemporaryFolder folder;
  Recipe r = parse(convolutional + two_groups);
  r.train.epochs = 2, r.device.kind = "cpu", r.device.threads = 1;
  const auto began = tensors_of(Trainer(build_model(r.model), options_of(r)).model());
  const TrainingPart part{.out = folder / "run", .data = std::make_shared<const DatasetPair>(load_data(r.data))};
  EXPECT_EQ(run_part(r, part).epochs.size(), 2U);
  const auto ended = tensors_of(load_safetensors(folder / "run/model.safetensors"));
  ASSERT_EQ(ended.size(), began.size());
  for (const char* name : {"conv1.weight", "conv1.bias", "bn1.running_mean", "bn1.running_var"})
    EXPECT_TRUE(ended.at(name) == began.at(name)) << name;
  for (const char* name : {"bn1.weight", "bn1.bias", "fc1.weight", "fc1.bias"}) EXPECT_FALSE(ended.at(name) == began.at(name)) << name;

  // It goes on with its groups, and with no others.
  r.train.epochs = 3;
  EXPECT_EQ(run_part(r, part).epochs.size(), 3U);
  EXPECT_TRUE(tensors_of(load_safetensors(folder / "run/model.safetensors")).at("conv1.weight") == began.at("conv1.weight"));
  r.train.epochs = 4, r.train.groups[0].rate = 1;
  expect_error(ErrorKind::usage, {"train.groups.0.rate is 1.0, the run was trained with 0.0"}, [&] { run_part(r, part); });
}

}  // namespace
}  // namespace norma::app
