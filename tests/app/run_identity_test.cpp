// A run resumes with an equal recipe, data and net, or an error names the difference.
#include "apps/norma/run/run_identity.h"

#include <gtest/gtest.h>

#include "apps/norma/recipe/recipe.h"
#include "norma/graph.h"
#include "tests/support/expect_error.h"

namespace norma::app {
namespace {

using test::expect_error;

constexpr const char* recipe_text = R"([data]
name = "idx"
train_images = "a.img"
train_labels = "a.lab"
test_images = "b.img"
test_labels = "b.lab"
[model]
layers = [{ type = "flatten" }, { type = "linear", out = 3 }]
[optimizer]
kind = "sgd"
lr = 0.5
[train]
epochs = 2
)";

Recipe recipe(const std::vector<Override>& overrides = {}) { return parse_recipe({"r", recipe_text, "r.toml", "/data"}, overrides); }

Dataset split(std::int64_t n) {
  Dataset d;
  d.name = "x";
  d.sample = {1, 2, 2};
  d.classes = {"0", "1", "2"};
  for (std::int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) d.bytes.push_back(static_cast<std::uint8_t>(i * 4 + k));
    d.labels.push_back(static_cast<std::int32_t>(i % 3));
  }
  return d;
}
DatasetPair pair() { return {split(12), split(6), "here"}; }

Graph net_of(const Recipe& r) { return trace(Module(build_model(r.model)), {4, 1, 2, 2}); }

void check(const std::map<std::string, std::string>& saved, const Recipe& r, const DatasetPair& data) {
  check_identity(saved, r, data_identity(r.data, data), net_of(r), "run/training.safetensors", "run/config.toml");
}
std::map<std::string, std::string> saved() {
  const Recipe r = recipe();
  return identity_metadata(r, data_identity(r.data, pair()), net_of(r));
}

TEST(RunIdentity, WhereAndHowLongMayDiffer) {
  EXPECT_NO_THROW(check(saved(), recipe(), pair()));
  EXPECT_NO_THROW(check(saved(),
                        recipe({{"train.epochs", "9", ""},
                                {"train.save_every", "3", ""},
                                {"train.log_every", "2", ""},
                                {"train.health", "false", ""},
                                {"train.log_loss", "true", ""},
                                {"device.threads", "3", ""},
                                {"device.kind", "cpu", ""},
                                {"data.train_images", "elsewhere/a.img", ""},
                                {"data.test_labels", "elsewhere/b.lab", ""}}),
                        pair()));
}

TEST(RunIdentity, EveryFieldThatCountsIsNamedWithBothValues) {
  const auto refused = [](const std::string& key, const std::string& value, std::initializer_list<std::string> words) {
    expect_error(ErrorKind::usage, words, [&] { check(saved(), recipe({{key, value, ""}}), pair()); });
  };
  refused("optimizer.lr", "0.25", {"run/config.toml", "optimizer.lr is 0.25", "trained with 0.5", "restore it there"});
  refused("train.batch_size", "16", {"train.batch_size is 16", "trained with 256"});
  refused("train.seed", "1", {"train.seed is 1", "trained with 0"});
  refused("optimizer.momentum", "0.9", {"optimizer.momentum is 0.9"});
  refused("data.mean", "[0.5]", {"data.mean is [0.5]"});
  refused("data.train_samples", "6", {"data.train_samples is 6"});
  refused("train.shuffle", "false", {"train.shuffle is false"});
  refused("train.precision", "bf16", {"train.precision is \"bf16\""});
  refused("model.layers.1.bias", "false", {"model.layers.1.bias is false", "true"});
  refused("loss.label_smoothing", "0.1", {"loss.label_smoothing is 0.1"});
  refused("device.fuse", "false", {"device.fuse is false", "trained with true"});
  refused("schedule.kind", "cosine", {"schedule.kind is \"cosine\""});
}

TEST(RunIdentity, OtherDataAreNamedByTheirFile) {
  const auto refused = [](void (*change)(DatasetPair&), std::initializer_list<std::string> words) {
    DatasetPair other = pair();
    change(other);
    expect_error(ErrorKind::data, words, [&] { check(saved(), recipe(), other); });
  };
  refused([](DatasetPair& d) { d.train.bytes[13] = 200; },
          {"data.train_images holds other images than the run was trained on", "--set data.train_images=FILE"});
  refused([](DatasetPair& d) { d.train.labels[3] = 2; }, {"data.train_labels holds other labels"});
  refused([](DatasetPair& d) { d.test.bytes.back() = 200; }, {"data.test_images holds other images"});
  refused([](DatasetPair& d) { std::swap(d.test.labels[0], d.test.labels[1]); }, {"data.test_labels holds other labels"});
  refused([](DatasetPair& d) { d.train = split(9); },
          {"data.train_images holds 9 samples, the run was trained on 12", "data.train_labels"});
  refused(
      [](DatasetPair& d) {
        d.test.sample = {1, 4, 1};
      },
      {"data.test_images holds samples (1, 4, 1), the run was trained on (1, 2, 2)"});
  refused([](DatasetPair& d) { d.train.classes.push_back("3"); }, {"4 classes, the run was trained on 3"});
}

TEST(RunIdentity, PublishedSetsAreKnownByTheirName) {
  DataSection mnist;
  EXPECT_EQ(data_identity(mnist, pair()).at("train.images"), "as published");
  EXPECT_EQ(data_identity(mnist, pair()).at("train.samples"), "12");
}

TEST(RunIdentity, AnotherNetOfTheSameRecipeIsRefused) {
  auto all = saved();
  all["norma.net"] = std::string(64, '0');
  expect_error(ErrorKind::data, {"run/training.safetensors", "net"}, [&] { check(all, recipe(), pair()); });
}

// Runs of the first edition go on; what was kept is compared all the same.
TEST(RunIdentity, WhatWasNotKeptIsNotCompared) {
  EXPECT_NO_THROW(check({}, recipe({{"optimizer.lr", "0.25", ""}}), pair()));
  auto all = saved();
  all.erase("norma.data");
  EXPECT_NO_THROW(check(all, recipe(), {split(3), split(2), ""}));
  expect_error(ErrorKind::usage, {"optimizer.lr"}, [&] { check(all, recipe({{"optimizer.lr", "0.25", ""}}), pair()); });
}

TEST(RunIdentity, ForgedMetadataIsRefused) {
  for (const std::string& forged :
       {std::string("nonsense"), std::string("[train]\nepochs = -1\n"), std::string(2 << 20, 'x'), std::string()}) {
    auto all = saved();
    all["norma.recipe"] = forged;
    expect_error(ErrorKind::data, {"run/training.safetensors", "norma.recipe"}, [&] { check(all, recipe(), pair()); });
  }
  for (const std::string& forged : {std::string("nonsense"), std::string("[1]"), std::string("{\"train.images\":3}"),
                                    std::string("\"\xff\""), std::string(2 << 20, '['), std::string()}) {
    auto all = saved();
    all["norma.data"] = forged;
    expect_error(ErrorKind::data, {"run/training.safetensors", "norma.data"}, [&] { check(all, recipe(), pair()); });
  }
}

// The identity leaves out the data's location: the bytes of a path need not be UTF-8, as metadata must be.
TEST(RunIdentity, NoPathIsKept) {
  Recipe r = recipe();
  r.data.train_images = "/mnt/\xe9/a.img";
  r.name = "\xe9";
  for (const auto& [key, value] : identity_metadata(r, data_identity(r.data, pair()), net_of(r))) {
    EXPECT_EQ(value.find("mnt"), std::string::npos) << key;
    EXPECT_EQ(value.find('\xe9'), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace norma::app
