// Limits of a recipe (numbers within float's range, layers, bytes), and the order of two flags for one field.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <vector>

#include "apps/norma/compare/comparison.h"
#include "apps/norma/recipe/flags.h"
#include "tests/support/recipe_texts.h"

namespace norma::app {
namespace {

TEST(Recipe, NumbersThatAreNoFloatsAreRefusedByField) {
  const std::string batch_norm = R"({ type = "batch_norm" })", dropout = R"({ type = "dropout" })";
  const std::string net = "[data]\nname = \"digits\"\n[model]\nlayers = [" + batch_norm + ", " + dropout +
                          R"(, { type = "flatten" }, { type = "linear", out = 10, weight_init = { kind = "normal" } }])";
  const std::vector<std::vector<Override>> before{{},
                                                  {{"optimizer.kind", "\"adam\"", ""}},
                                                  {{"schedule.kind", "\"step\"", ""}},
                                                  {{"schedule.kind", "\"cosine\"", ""}},
                                                  {{"schedule.kind", "\"one_cycle\"", ""}}};
  const auto refuse = [&](const std::string& key, const std::string& value, std::size_t kind = 0) {
    std::vector<Override> o = before[kind];
    o.push_back({key, value, "--set " + key});
    const std::string message = refusal(net, o);
    EXPECT_TRUE(contains(message, key)) << value;
    EXPECT_TRUE(contains(message, "must be")) << value;
    EXPECT_TRUE(contains(message, "float") || contains(message, "at most") || contains(message, "below")) << message;
  };
  for (const std::string tiny : {"1e-50", "1e-40"}) {
    for (const char* key :
         {"data.mean", "data.std", "model.layers.0.eps", "model.layers.0.momentum", "model.layers.0.initial_running_var",
          "model.layers.1.p", "model.layers.3.weight_init.mean", "model.layers.3.weight_init.std", "model.batch_norm.eps", "optimizer.lr",
          "optimizer.momentum", "optimizer.dampening", "optimizer.weight_decay", "schedule.warmup_start", "loss.label_smoothing"})
      refuse(key, tiny);
    for (const char* key : {"optimizer.beta1", "optimizer.beta2", "optimizer.eps"}) refuse(key, tiny, 1);
    refuse("schedule.gamma", tiny, 2), refuse("schedule.final_factor", tiny, 3), refuse("schedule.pct_start", tiny, 4);
  }
  for (const char* key :
       {"data.mean", "data.std", "model.layers.0.eps", "model.layers.0.initial_running_var", "optimizer.lr", "optimizer.weight_decay"})
    refuse(key, "1e39");
  refuse("schedule.div_factor", "1e39", 4);
  refuse("optimizer.beta2", "0.99999999999", 1), refuse("model.layers.1.p", "0.99999999999");
}

TEST(Recipe, RepetitionsAreCountedBeforeTheyAreMade) {
  const std::string a_thousand_thousand =
      R"({type="sequential",repeat=1000,layers=[{type="sequential",repeat=1000,layers=[{type="relu"}]}]})";
  const std::string message = refusal(minimal, {{"model.layers.0", a_thousand_thousand, "--set model.layers.0"}});
  EXPECT_TRUE(contains(message, "1001002 layers with all repetitions")) << message;
  EXPECT_TRUE(contains(message, "100000")) << message;
  std::string deep = R"({type="relu"})";
  for (int i = 0; i < 30; ++i) deep = "{type=\"sequential\",repeat=10000,layers=[" + deep + "]}";
  EXPECT_TRUE(contains(refusal(minimal, {{"model.layers.0", deep, "--set"}}), "layers with all repetitions"));
}

// toml++ recurses once a part.
TEST(Recipe, KeysOfManyPartsAreRefusedByLine) {
  std::string parts;
  for (int i = 0; i < 50'000; ++i) parts += "a.";
  for (const std::string& deep : {parts + "b = 1", "[" + parts + "b]", "[[" + parts + "b]]", "x = { y = 1, " + parts + "b = 2 }",
                                  "x = [\n{ " + parts + "b = 2 }]", "x = \"\"\"\n\\\"\"\"\" # \"\n" + parts + "b = 1"}) {
    const std::string message = refusal("# " + parts + "\nname = '" + parts + "'\n" + deep, {});
    const std::string line = std::to_string(3 + std::count(deep.begin(), deep.end(), '\n'));
    EXPECT_TRUE(message.starts_with("test.toml:" + line + ":")) << message;
    EXPECT_TRUE(contains(message, "a key of more than 256 parts")) << message;
  }
  std::string nested = "1";  // each within what one key may have
  for (int i = 0; i < 200; ++i) nested = "[\n{" + parts.substr(0, 400) + "b = " + nested + "}]";
  EXPECT_TRUE(contains(refusal("x = " + nested, {}), "a key of more than 256 parts"));
  EXPECT_TRUE(
      contains(refusal(minimal, {{"model.batch_norm", "{ " + parts + "b = 1 }", "--set model.batch_norm"}}), "more than 256 parts"));
  EXPECT_TRUE(contains(refusal(minimal, {{parts + "b", "1", "--set " + parts + "b"}}), "more than 256 parts"));
  EXPECT_TRUE(contains(message_of([&] { parse_comparison({"c", "recipe = 'x'\n" + parts + "b = 1", "c.toml", "/"}); }), "c.toml:2:"));
  std::string numbers = "mean = [0.5";
  for (int i = 0; i < 1000; ++i) numbers += i % 10 ? ", 0.5" : ",\n 0.5";
  EXPECT_TRUE(contains(refusal("[data]\nname = \"digits\"\n" + numbers + "]\n", {}), "\"model\" is missing"));
}

TEST(Recipe, AWarmUpLongerThanAnyRunIsRefused) {
  EXPECT_TRUE(contains(refusal(minimal, {{"schedule.warmup_epochs", "1e38", "--set schedule.warmup_epochs"}}), "from 0 to 1000000"));
  EXPECT_EQ(parse(minimal, {{"schedule.warmup_epochs", "30", ""}}).schedule.warmup_epochs, 30);  // a run's first part may be shorter
}

TEST(Recipe, AFileWithoutEndIsRefused) {
  EXPECT_TRUE(contains(message_of([] { find_recipe("/dev/zero"); }), "/dev/zero"));
}

TEST(RecipeFlags, TheLastOfTheCommandLineCounts) {
  const auto parsed = [](std::vector<std::string> arguments, FlagScope scope = FlagScope::all) {
    CLI::App app;
    std::vector<Override> overrides;
    add_recipe_flags(app, scope, overrides);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    return parse(minimal, overrides);
  };
  const auto lr = [](const Recipe& r) { return learning_rate(r.optimizer); };
  EXPECT_EQ(lr(parsed({"--set", "optimizer.lr=0.25", "--lr", "0.5"})), 0.5);
  EXPECT_EQ(lr(parsed({"--lr", "0.5", "--set", "optimizer.lr=0.25"})), 0.25);
  EXPECT_EQ(lr(parsed({"--set=optimizer.lr=0.25", "--set=optimizer.lr=1", "--lr=0.5", "--epochs=2", "--lr=0.125"})), 0.125);
  EXPECT_FALSE(parsed({"--shuffle", "--no-shuffle"}).train.shuffle);
  EXPECT_TRUE(parsed({"--no-shuffle", "--shuffle"}).train.shuffle);
  EXPECT_TRUE(parsed({"--no-shuffle", "--set", "train.shuffle=true"}).train.shuffle);
  EXPECT_EQ(parsed({"--set", "train.epochs=7", "--epochs", "3"}).train.epochs, 3);
  EXPECT_THROW(parsed({"--epochs", "3"}, FlagScope::step), CLI::ExtrasError);
  EXPECT_THROW(parsed({"--batch-size", "3"}, FlagScope::evaluation), CLI::ExtrasError);
}

}  // namespace
}  // namespace norma::app
