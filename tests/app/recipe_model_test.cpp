// The meaning of a recipe: the net it builds, that net without its batch norms, the samples it takes of a set.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"
#include "norma/graph.h"
#include "tests/support/expect_error.h"
#include "tests/support/idx_files.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using test::expect_error;
using test::TemporaryFolder;

Recipe parsed(const std::string& text) { return parse_recipe({"test", text, "test.toml", "/recipes"}); }

std::vector<std::string> paths(const ModelSection& model) {
  std::vector<std::string> all;
  const Graph graph = trace(Module(build_model(model)), Shape{2, 1, 28, 28});
  for (const Node& n : graph.nodes) all.push_back(n.path);
  return all;
}

TEST(RecipeModel, RepeatsTheLayersOfASequential) {
  const Recipe r = parsed(R"([data]
name = "digits"
[model]
layers = [{ type = "flatten" },
  { type = "sequential", name = "hidden", repeat = 3, layers = [{ type = "linear", out = 7 }, { type = "tanh", name = "squash" }] }]
)");
  EXPECT_EQ(paths(r.model), (std::vector<std::string>{"x", "flatten1", "hidden/fc1", "hidden/squash1", "hidden/fc2", "hidden/squash2",
                                                      "hidden/fc3", "hidden/squash3"}));
}

// Folding takes norms out of the layers as they really stand: repeated, within a residual, on either side of the activation.
TEST(RecipeModel, WithoutSomeNormsTheOthersKeepTheirPaths) {
  Recipe r = parsed(R"([data]
name = "digits"
[model]
norm_position = "after"
layers = [{ type = "flatten" },
  { type = "sequential", name = "hidden", repeat = 2, layers = [{ type = "linear", out = 7, bias = false }, { type = "batch_norm" }] },
  { type = "residual", body = [{ type = "linear", out = 7, bias = false }, { type = "batch_norm" }] },
  { type = "norm" }, { type = "activation" }, { type = "linear", out = 10 }]
)");
  const std::vector<std::string> before = paths(r.model);
  const std::set<std::string> gone{"hidden/bn1", "residual1/body/bn1"}, biased{"hidden/fc1", "residual1/body/fc1"};
  std::vector<std::string> expected;
  for (const std::string& path : before)
    if (!gone.contains(path)) expected.push_back(path);
  EXPECT_EQ(expected.size() + 2, before.size());
  r.model = without_norms(r.model, gone, biased);
  EXPECT_EQ(paths(r.model), expected);
  EXPECT_EQ(paths(parsed(write_toml(r)).model), expected);
  std::set<std::string> with_bias;
  for (const ParameterInfo& p : trace(Module(build_model(r.model)), Shape{2, 1, 28, 28}).parameters())
    if (p.name.find("fc") != std::string::npos && p.name.ends_with(".bias")) with_bias.insert(p.name);
  EXPECT_EQ(with_bias, (std::set<std::string>{"fc1.bias", "hidden.fc1.bias", "residual1.body.fc1.bias"}));
}

TEST(RecipeData, TakesAsManyOfTheFirstSamplesAsItSays) {
  const TemporaryFolder folder;
  test::write_bytes(folder / "images", test::idx_images(12, 3, 2));
  test::write_bytes(folder / "labels", test::idx_labels(12, 4));
  DataSection d;
  d.source = DataSection::Source::idx;
  d.train_images = d.test_images = folder / "images";
  d.train_labels = d.test_labels = folder / "labels";
  const DatasetPair all = load_data(d);
  EXPECT_EQ(all.train.size(), 12);
  d.first_train = 5;
  const DatasetPair part = load_data(d);
  EXPECT_EQ(part.train.size(), 5);
  EXPECT_EQ(part.train.bytes, std::vector<std::uint8_t>(all.train.bytes.begin(), all.train.bytes.begin() + 5 * 6));
  EXPECT_EQ(part.train.classes.size(), 4U);
  EXPECT_EQ(part.test.size(), 12);
  d.first_test = 13;
  expect_error(ErrorKind::usage, {"data.test_samples is 13", "12 samples"}, [&] { load_data(d); });
}

TEST(RecipeData, AFileThatIsNotThereIsNamedWithTheFieldThatNamesAnother) {
  const TemporaryFolder folder;
  test::write_bytes(folder / "images", test::idx_images(6, 2, 2));
  test::write_bytes(folder / "labels", test::idx_labels(6, 3));
  DataSection d;
  d.source = DataSection::Source::idx;
  d.train_images = d.test_images = folder / "images";
  d.train_labels = d.test_labels = folder / "labels";
  EXPECT_EQ(load_data(d).test.size(), 6);
  const std::string gone = (folder / "gone").string();
  DataSection moved = d;
  moved.train_images = gone;
  expect_error(ErrorKind::data, {gone, "if the files have moved: --set data.train_images=FILE"}, [&] { load_data(moved); });
  EXPECT_EQ(load_split(moved, false).size(), 6);
  d.test_labels = gone;
  expect_error(ErrorKind::data, {gone, "--set data.test_labels=FILE"}, [&] { load_split(d, false); });
  test::write_bytes(d.test_labels, "broken");
  try {
    load_split(d, false);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find("moved"), std::string::npos) << e.what();
  }
}

TEST(RecipeData, AFolderOfIdxFilesIsRefusedWithWhatToUseInstead) {
  const std::vector<Override> overrides{{"data.name", "\"idx\"", ""},       {"data.train_images", "\"a\"", ""},
                                        {"data.train_labels", "\"a\"", ""}, {"data.test_images", "\"a\"", ""},
                                        {"data.test_labels", "\"a\"", ""},  {"data.dir", "\".\"", "--data-dir"}};
  expect_error(ErrorKind::usage, {"--data-dir: idx files are named one by one: --set data.train_images=FILE"}, [&] {
    parse_recipe({"test", "[model]\nlayers = [{ type = \"flatten\" }]\n", "test.toml", "/recipes"}, overrides);
  });
}

// The header says all: neither the images behind it nor any other file is read.
TEST(RecipeData, OfIdxFilesTheHeaderGivesShapeAndCount) {
  const TemporaryFolder folder;
  std::string packed = test::gzip(test::idx_images(5000, 9, 8), 0);
  packed.back() ^= 1;  // the length in the trailer
  test::write_bytes(folder / "images", packed);
  DataSection d;
  d.source = DataSection::Source::idx;
  d.train_images = folder / "images";
  EXPECT_EQ(sample_shape(d), (Shape{1, 9, 8}));
  EXPECT_EQ(training_samples(d), 5000);
  d.first_train = 7;
  EXPECT_EQ(training_samples(d), 7);
  test::write_bytes(folder / "images", test::idx_images(5000, 9, 8).substr(0, 1000));
  expect_error(ErrorKind::data, {"cut short"}, [&] { sample_shape(d); });
}

}  // namespace
}  // namespace norma::app
