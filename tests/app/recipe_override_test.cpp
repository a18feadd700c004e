// Recipes: what is refused, with its place; what flags override; where a recipe is found.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "norma/dataset.h"
#include "tests/support/recipe_texts.h"

namespace norma::app {
namespace {

TEST(RecipeError, UnknownKeyHasPlaceAndSuggestion) {
  const std::string m = refusal(minimal + "[optimizer]\nlr = 0.1\nmomentun = 0.9\n");
  EXPECT_TRUE(contains(m, "test.toml:10:1: "));
  EXPECT_TRUE(contains(m, "did you mean \"momentum\"?"));
  EXPECT_TRUE(contains(refusal(minimal + "[optimizer]\nlearning_rate = 0.1\n"), "did you mean \"lr\"?"));
  EXPECT_TRUE(contains(refusal(minimal + "[trian]\nepochs = 1\n"), "test.toml:8:2: trian: unknown key \"trian\"; did you mean \"train\"?"));
  EXPECT_TRUE(contains(refusal("[data]\nname='digits'\n[model]\nlayers=[{type='linear', out=1, kernel=2}]"), "of type \"linear\""));
  EXPECT_TRUE(contains(refusal(minimal + "[optimizer]\nkind='adam'\nmomentum=0.9\n"), "of kind \"adam\""));
}

TEST(RecipeError, WrongTypeOrRangeHasLineAndColumn) {
  const struct {
    const char *text, *place, *part;
  } cases[] = {
      {"[train]\nepochs = 0\n", "test.toml:9:10: train.epochs: ", "from 1 to 1000000, got 0"},
      {"[train]\nepochs = 1.5\n", "test.toml:9:10: ", "must be an integer"},
      {"[train]\nepochs = \"5\"\n", "test.toml:9:10: ", "got the string \"5\""},
      {"[train]\nseed = -1\n", "test.toml:9:8: ", "at least 0, got -1"},
      {"[train]\nlog_every = 0\n", "test.toml:9:13: ", "from 1 to 1000000, got 0"},
      {"[model.batch_norm]\ninitial_running_var = -1\n", "test.toml:9:23: ", "at least 0, got -1"},
      {"[train]\nshuffle = 1\n", "test.toml:9:11: ", "must be true or false"},
      {"[optimizer]\nlr = -1\n", "test.toml:9:6: optimizer.lr: ", "at least 0, got -1"},
      {"[optimizer]\nlr = nan\n", "test.toml:9:6: ", "at least 0, got nan"},
      {"[optimizer]\nlr = inf\n", "test.toml:9:6: ", "got inf"},
      {"[optimizer]\nkind = \"addam\"\n", "test.toml:9:8: ", "did you mean \"adam\"?"},
      {"[optimizer]\nkind = 3\n", "test.toml:9:8: ", "must be one of sgd, adam, adamw, rmsprop"},
      {"[optimizer]\nnesterov = true\n", "test.toml:", "nesterov"},
      {"[loss]\nlabel_smoothing = 1.5\n", "test.toml:9:19: ", "from 0 to 1, got 1.5"},
      {"[device]\nkind = \"gpu\"\n", "test.toml:9:8: ", "unknown device"},
      {"[device]\nthreads = 5000\n", "test.toml:9:11: ", "from 0 to 4096"},
      {"train = 3\n", "test.toml:", "unknown key"},  // lands in [model]
  };
  for (const auto& c : cases) {
    const std::string m = refusal(minimal + c.text);
    EXPECT_TRUE(contains(m, c.place)) << c.text;
    EXPECT_TRUE(contains(m, c.part)) << c.text;
  }
}

TEST(RecipeError, LayersAreChecked) {
  const auto with = [](const std::string& layers) { return "[data]\nname = \"digits\"\n[model]\nlayers = " + layers + "\n"; };
  EXPECT_TRUE(contains(refusal(with("[]")), "at least one layer"));
  EXPECT_TRUE(contains(refusal(with("3")), "must be an array of layers, got 3"));
  EXPECT_TRUE(contains(refusal(with("[3]")), "model.layers.0: must be a table"));
  EXPECT_TRUE(contains(refusal(with("[{out=3}]")), "\"type\" is missing"));
  EXPECT_TRUE(contains(refusal(with("[{type='linear'}]")), "model.layers.0: \"out\" is missing"));
  EXPECT_TRUE(contains(refusal(with("[{type='conv2', out=1, kernel=1}]")), "did you mean \"conv2d\"?"));
  EXPECT_TRUE(
      contains(refusal(with("[{type='conv2d', out=1, kernel=[1,2,3]}]")), "model.layers.0.kernel: must be an integer or [height, width]"));
  EXPECT_TRUE(contains(refusal(with("[{type='conv2d', out=1, kernel=[1,0]}]")), "model.layers.0.kernel.1: "));
  EXPECT_TRUE(contains(refusal(with("[{type='dropout', p=1.5}]")), "model.layers.0.p: "));
  EXPECT_TRUE(contains(refusal(with("[{type='linear', out=1, weight_init={kind='normal', sd=1}}]")), "did you mean \"std\"?"));
  EXPECT_TRUE(contains(refusal(with("[{type='linear', out=1, weight_init='he'}]")), "must be one of standard"));
  EXPECT_TRUE(contains(refusal(with("[{type='linear', out=1, name='a.b'}]")), "parameter names"));
  EXPECT_TRUE(contains(refusal(with("[{type='residual', body=[]}]")), "model.layers.0.body: must hold at least one layer"));
}

TEST(RecipeError, SyntaxAndMissingSections) {
  EXPECT_TRUE(contains(refusal("[data\nname=1"), "test.toml:1:"));
  EXPECT_TRUE(contains(refusal("a = 1\na = 2\n"), "test.toml:2:"));
  EXPECT_TRUE(contains(refusal("[data]\nname=\"digits\"\n"), "\"model\" is missing"));
  EXPECT_TRUE(contains(refusal(""), "\"data\" is missing"));
  EXPECT_TRUE(contains(refusal("[data]\nname=\"idx\"\n[model]\nlayers=[{type='flatten'}]"), "\"train_images\" is missing"));
}

TEST(RecipeError, TheCirclesSeedIsThatOfNumpy) {
  const std::string circles = "[data]\nname='circles'\nseed=4294967296\n[model]\nlayers=[{type='linear', out=2}]";
  EXPECT_TRUE(contains(refusal(circles), "test.toml:3:6: data.seed: must be an integer from 0 to 4294967295, got 4294967296"));
}

TEST(RecipeOverride, SetsAnyField) {
  const Recipe r = parse_recipe(find_recipe("mnist-lenet-bn"), std::vector<Override>{{"optimizer.lr", "0.5", "--lr"},
                                                                                     {"model.activation", "tanh", "--set model.activation"},
                                                                                     {"model.layers[0].out", "12", "--set"},
                                                                                     {"model.layers.4.kernel", "[5, 3]", "--set"},
                                                                                     {"schedule.gamma", "0.5", "--set"},
                                                                                     {"schedule.kind", "\"step\"", "--set"},
                                                                                     {"data.std", "[0.25]", "--set"}});
  EXPECT_EQ(learning_rate(r.optimizer), 0.5);
  EXPECT_EQ(r.model.activation, Activation::tanh);
  EXPECT_EQ(std::get<nn::Conv2d>(r.model.layers[0].layer).out, 12);
  EXPECT_EQ(std::get<nn::Conv2d>(r.model.layers[4].layer).kernel, Size2(5, 3));
  EXPECT_EQ(r.schedule.gamma, 0.5);
  EXPECT_EQ(r.data.transform.stddev, std::vector<double>{0.25});
}

// The table of sources is right about published sets: their classes are known, and data.dir is their folder.
TEST(RecipeOverride, EveryPublishedSetKeepsItsFolder) {
  for (const DataSource& s : data_sources) {
    const std::string text = "[data]\nname = \"mnist\"\ndir = \"/somewhere\"\n[model]\nlayers = [{ type = \"flatten\" }]\n";
    if (s.own_files) continue;  // dir is refused, with the four keys
    const Recipe r = parse(text, {{"data.name", s.name, "--data"}});
    EXPECT_EQ(r.data.dir, s.published ? "/somewhere" : "") << s.name;
    EXPECT_EQ(std::string(name_of(r.data.source)), s.name);
    if (!s.published) continue;
    EXPECT_EQ(dataset_classes(s.name).size(), 10u) << s.name;
  }
}

TEST(RecipeOverride, AnotherKindStartsItsSectionAnew) {
  const std::string text = minimal + "[optimizer]\nkind='sgd'\nlr=0.5\nmomentum=0.9\n";
  const Recipe r = parse(text, {{"optimizer.kind", "adam", "--optimizer"}});
  EXPECT_EQ(learning_rate(r.optimizer), 1e-3);
  // An unchanged kind changes nothing.
  EXPECT_EQ(learning_rate(parse(text, {{"optimizer.kind", "sgd", "--optimizer"}}).optimizer), 0.5);
  // Flags come after it, wherever they stand.
  EXPECT_EQ(learning_rate(parse(text, {{"optimizer.lr", "0.25", "--lr"}, {"optimizer.kind", "adamw", "--optimizer"}}).optimizer), 0.25);
  // Another data set keeps the transform.
  const Recipe d = parse_recipe(find_recipe("mnist-lenet-bn"), std::vector<Override>{{"data.name", "digits", "--data"}});
  EXPECT_EQ(d.data.source, DataSection::Source::digits);
  EXPECT_EQ(d.data.transform.mean, std::vector<double>{0.5});
}

TEST(RecipeOverride, ErrorsNameTheFlag) {
  EXPECT_TRUE(contains(refusal(minimal, {{"train.epochs", "abc", "--epochs"}}), "--epochs: must be an integer"));
  EXPECT_TRUE(contains(refusal(minimal, {{"optimizer.lr", "-1", "--lr"}}), "--lr: must be a number of at least 0, got -1"));
  EXPECT_TRUE(contains(refusal(minimal, {{"optimizer.lrr", "1", "--set optimizer.lrr"}}), "--set optimizer.lrr: unknown key \"lrr\""));
  EXPECT_TRUE(contains(refusal(minimal, {{"optimiser.lr", "1", "--set optimiser.lr"}}), "--set optimiser.lr: unknown key \"optimiser\""));
  EXPECT_TRUE(contains(refusal(minimal, {{"model.layers.12.out", "1", "--set"}}), "\"12\" is not an index of the 2 entries"));
  EXPECT_TRUE(contains(refusal(minimal, {{"data.name.x", "1", "--set"}}), "not a table"));
  EXPECT_TRUE(contains(refusal(minimal, {{"train.epochs", "", "--epochs"}}), "--epochs: nothing is not a TOML value"));
  EXPECT_TRUE(contains(refusal(minimal, {{"train.epochs", "[1", "--epochs"}}), "--epochs: [1 is not a TOML value"));
  EXPECT_TRUE(contains(refusal(minimal, {{"train.epochs", "1\nlr = 2", "--epochs"}}), "--epochs: "));
  EXPECT_TRUE(contains(refusal(minimal, {{".lr", "1", "--set"}}), "is not a key"));
}

TEST(RecipeOverride, PathsOfAFileStartAtTheFileThoseOfAFlagHere) {
  const std::string text =
      "[data]\nname='idx'\ntrain_images='a/i'\ntrain_labels='/b'\ntest_images='../"
      "c'\ntest_labels='d'\n[model]\nlayers=[{type='flatten'}]\n";
  const Recipe r = parse(text, {{"data.test_labels", "e", "--set"}});
  EXPECT_EQ(r.data.train_images, "/recipes/a/i");
  EXPECT_EQ(r.data.train_labels, "/b");
  EXPECT_EQ(r.data.test_images, "/c");
  EXPECT_EQ(r.data.test_labels, std::filesystem::current_path() / "e");
}

TEST(FindRecipe, UnknownNameListsAndSuggests) {
  const std::string m = message_of([] { find_recipe("mnist-lenet"); });
  EXPECT_TRUE(contains(m, "unknown recipe \"mnist-lenet\"; did you mean \"mnist-lenet-bn\"?"));
  EXPECT_TRUE(contains(m, "fashion-lenet-bn-sigmoid"));
  EXPECT_TRUE(contains(message_of([] { find_recipe("./no/such.toml"); }), "./no/such.toml: cannot be read: No such file"));
  EXPECT_TRUE(contains(message_of([] { find_recipe("/"); }), "is a folder"));
}

TEST(FindRecipe, FolderOfTheEnvironmentComesFirst) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "norma_recipe_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "mnist-lenet-bn.toml") << minimal;
  setenv("NORMA_RECIPE_DIR", folder.c_str(), 1);
  const RecipeSource found = find_recipe("mnist-lenet-bn");
  unsetenv("NORMA_RECIPE_DIR");
  std::filesystem::remove_all(folder);
  EXPECT_EQ(found.text, minimal);
  EXPECT_EQ(found.folder, folder);
}

}  // namespace
}  // namespace norma::app
