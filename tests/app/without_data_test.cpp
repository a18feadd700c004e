// The program where a model's training data have moved, are gone or are others, and where a net is broken.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/norma/draw/png.h"
#include "norma/checkpoint.h"
#include "norma/files.h"
#include "tests/support/idx_files.h"
#include "tests/support/temporary_folder.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TemporaryFolder;

struct Answer {
  int code = -1;
  std::string out, err;
};

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A folder with a recipe over IDX files of 12x12 pictures, and the program.
class WithoutData : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::getenv("NORMA_PROGRAM")) GTEST_SKIP() << "NORMA_PROGRAM is not set";
    data("data");
    std::ofstream(folder_ / "data/tiny.toml") << recipe;
  }

  // Pictures whose bytes begin at `first`.
  void data(const std::string& name, char first = 0) {
    std::string train = test::idx_images(48, 12, 12), test = test::idx_images(20, 12, 12);
    train[16 + 7] = static_cast<char>(train[16 + 7] + first);
    test::write_bytes(folder_ / name / "train.img", train);
    test::write_bytes(folder_ / name / "train.lab", test::idx_labels(48, 3));
    test::write_bytes(folder_ / name / "test.img", test);
    test::write_bytes(folder_ / name / "test.lab", test::idx_labels(20, 3));
  }

  Answer norma(const std::string& args) {
    const std::string in = "cd " + folder_.path().string() + " && ";
    const int status = std::system((in + std::getenv("NORMA_PROGRAM") + " " + args + " >out.txt 2>err.txt").c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(folder_ / "out.txt"), text_of(folder_ / "err.txt")};
  }
  void expect(int code, const std::string& word, const std::string& args) {
    const Answer a = norma(args);
    EXPECT_EQ(a.code, code) << args << "\n" << a.out << a.err;
    EXPECT_NE((a.out + a.err).find(word), std::string::npos) << "no \"" << word << "\" from " << args << ": " << a.out << a.err;
  }
  void set(const std::string& file, const std::string& tensor, float value) {
    Checkpoint c = load_safetensors(folder_ / file);
    for (StoredTensor& t : c.tensors)
      if (t.name == tensor) std::memcpy(t.bytes.data(), &value, sizeof value);
    save_safetensors(folder_ / file, c);
  }
  static std::string at(const std::string& folder) {
    std::string all;
    for (const char* key : {"train_images=", "train_labels=", "test_images=", "test_labels="})
      all += std::string(" --set data.") + key + folder + (std::string(key).starts_with("train") ? "/train" : "/test") +
             (std::string(key).find("images") == std::string::npos ? ".lab" : ".img");
    return all;
  }

  static constexpr const char* recipe = R"([data]
name = "idx"
train_images = "train.img"
train_labels = "train.lab"
test_images = "test.img"
test_labels = "test.lab"
mean = [0.3]
std = [0.2]
[model]
layers = [{ type = "conv2d", out = 4, kernel = 3, bias = false }, { type = "batch_norm" }, { type = "relu" }, { type = "flatten" },
          { type = "linear", out = 3 }]
[optimizer]
kind = "adam"
lr = 0.01
[train]
epochs = 2
batch_size = 16
[device]
kind = "cpu"
threads = 1
)";
  TemporaryFolder folder_;
};

TEST_F(WithoutData, AModelAloneGivesTheSamePredictions) {
  ASSERT_EQ(norma("train data/tiny.toml --out run --quiet").code, 0);
  app::Image picture{.height = 12, .width = 12, .pixels = {}};
  for (int i = 0; i < 144; ++i) picture.pixels.push_back(static_cast<std::uint8_t>(i * i % 256));
  write_file(folder_ / "a.png", app::encode_png(picture));
  const Answer there = norma("predict run a.png --json --quiet");
  ASSERT_EQ(there.code, 0) << there.err;
  const Answer folded_there = norma("bn-fold run --out folded --json --quiet");
  ASSERT_EQ(folded_there.code, 0) << folded_there.err;
  EXPECT_EQ(json::parse(folded_there.out).at("compared_on"), "test.img");

  fs::rename(folder_ / "data", folder_ / "gone");
  EXPECT_EQ(norma("predict run a.png --json --quiet").out, there.out);
  // The file and its recipe, elsewhere; the recipe by flag, one that says another transform: the model's own counts.
  fs::create_directories(folder_ / "alone");
  fs::copy_file(folder_ / "run/model.safetensors", folder_ / "alone/m.safetensors");
  fs::copy_file(folder_ / "run/config.toml", folder_ / "alone/config.toml");
  EXPECT_EQ(norma("predict alone/m.safetensors a.png --json --quiet").out, there.out);
  fs::remove(folder_ / "alone/config.toml");
  EXPECT_EQ(norma("predict alone/m.safetensors a.png --recipe gone/tiny.toml --json --quiet").out, there.out);
  std::string other = recipe;
  other.replace(other.find("mean = [0.3]"), 12, "mean = [0.1]");
  std::ofstream(folder_ / "other.toml") << other;
  EXPECT_EQ(norma("predict alone/m.safetensors a.png --recipe other.toml --json --quiet").out, there.out);
  expect(0, "the file's own values are used", "predict alone/m.safetensors a.png --recipe other.toml");
  EXPECT_NE(norma("predict run a.png --set 'data.mean=[0.1]' --json --quiet").out, there.out);  // what was asked for

  // The model is folded, and its outputs are compared with the net's on the samples at hand. The folded model knows its input, too.
  const Answer folded = norma("bn-fold run --out folded2 --json --quiet");
  ASSERT_EQ(folded.code, 0) << folded.err;
  EXPECT_EQ(json::parse(folded.out).at("compared_on"), "256 random inputs");
  EXPECT_TRUE(json::parse(folded.out).at("before").is_null());
  EXPECT_LT(json::parse(folded.out).at("largest_relative_difference"), 1e-5);
  expect(0, "of the largest, over 256 random inputs\n", "bn-fold run --out folded3");
  EXPECT_EQ(text_of(folder_ / "folded/model.safetensors"), text_of(folder_ / "folded2/model.safetensors"));
  EXPECT_EQ(norma("predict folded2 a.png --quiet").code, 0);
  // Test samples are all that their evaluation needs.
  expect(0, "accuracy", "eval run --quiet --set data.test_images=gone/test.img --set data.test_labels=gone/test.lab");

  // A file of the first edition says nothing: with the data as ever, without them what to give.
  Checkpoint first = load_safetensors(folder_ / "run/model.safetensors");
  first.metadata.clear();
  save_safetensors(folder_ / "run/model.safetensors", first);
  expect(3, "--set data.train_images=FILE", "predict run a.png");
  EXPECT_EQ(norma("predict run a.png --json --quiet" + at("gone")).out, there.out);
  EXPECT_EQ(norma("bn-fold run --out folded4 --quiet" + at("gone")).code, 0);
  EXPECT_EQ(text_of(folder_ / "folded4/model.safetensors"), text_of(folder_ / "folded/model.safetensors"));
}

TEST_F(WithoutData, ARunGoesOnWhereItsDataHaveMovedAndNotWithOthers) {
  ASSERT_EQ(norma("train data/tiny.toml --out whole --epochs 3 --quiet").code, 0);
  ASSERT_EQ(norma("train data/tiny.toml --out run --epochs 2 --quiet").code, 0);
  fs::rename(folder_ / "data", folder_ / "moved");
  expect(3, "if the files have moved: --set data.train_labels=FILE", "train --resume --out run --epochs 3 --quiet");
  data("data", 1);
  const std::string before = text_of(folder_ / "run/training.safetensors");
  expect(3, "data.train_images holds other images than the run was trained on", "train --resume --out run --epochs 3 --quiet");
  EXPECT_EQ(text_of(folder_ / "run/training.safetensors"), before);

  const std::string config = text_of(folder_ / "run/config.toml");
  std::string edited = config;
  edited.replace(edited.find("lr = 0.01"), 9, "lr = 0.02");
  edited.replace(edited.find("batch_size = 16"), 15, "batch_size = 24");
  std::ofstream(folder_ / "run/config.toml") << edited;
  expect(2, "optimizer.lr is 0.02, the run was trained with 0.01", "train --resume --out run --epochs 3 --quiet" + at("moved"));
  expect(2, "train.batch_size is 24, the run was trained with 16", "train --resume --out run --epochs 3 --quiet" + at("moved"));
  std::ofstream(folder_ / "run/config.toml") << config;

  expect(0, "run directory", "train --resume --out run --epochs 3 --quiet" + at("moved"));
  EXPECT_EQ(text_of(folder_ / "run/model.safetensors"), text_of(folder_ / "whole/model.safetensors"));

  // A run of the first edition goes on, and says what is not known.
  Checkpoint first = load_safetensors(folder_ / "run/training.safetensors");
  first.metadata.clear();
  save_safetensors(folder_ / "run/training.safetensors", first);
  expect(0, "they are taken to be the same", "train --resume --out run --epochs 4 --quiet");
  EXPECT_TRUE(load_safetensors(folder_ / "run/training.safetensors").metadata.contains("norma.recipe"));
}

TEST_F(WithoutData, AComparisonGoesOnOnlyWithItsData) {
  ASSERT_EQ(norma("compare data/tiny.toml --vary optimizer.lr=0.01,0.02 --seeds 1 --epochs 1 --out both --quiet").code, 0);
  fs::remove(folder_ / "both/results.jsonl");  // as if it had been stopped
  data("data", 1);
  expect(3, "data.train_images holds other images", "compare --resume --out both --quiet");
  data("data");
  expect(0, "report", "compare --resume --out both --quiet");
}

TEST_F(WithoutData, ANetThatIsNotFiniteHasNoResult) {
  ASSERT_EQ(norma("train data/tiny.toml --out run --quiet").code, 0);
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  struct Broken {
    const char* name;
    float value;
    int code;
    const char* text;
  };
  for (const auto& [name, value, code, text] : {Broken{"bn1.running_var", nan, 5, "bn1.running_var is "},
                                                {"fc1.weight", nan, 5, "fc1.weight is "},
                                                {"bn1.running_var", -1, 3, "checkpoint tensor bn1.running_var has -1"}}) {
    fs::remove_all(folder_ / "broken");
    fs::create_directories(folder_ / "broken");
    for (const char* file : {"config.toml", "model.safetensors"}) fs::copy_file(folder_ / "run" / file, folder_ / "broken" / file);
    set("broken/model.safetensors", name, value);
    for (const char* command : {"eval broken", "eval broken --json", "bn-fold broken --out f", "bn-recalibrate broken --out r"})
      expect(code, std::string("broken/model.safetensors: ") + text, std::string(command) + " --quiet");
    EXPECT_FALSE(fs::exists(folder_ / "f") || fs::exists(folder_ / "r"));
  }
  expect(3, "every label is ignore_index",
         "train data/tiny.toml --out ignored --quiet --set loss.ignore_index=0 --set data.train_samples=1 --set data.test_samples=1 "
         "--set 'model.layers=[{type=\"flatten\"},{type=\"linear\",out=3}]'");
}

// The last step of an epoch overflows: the checkpoint before it stays, and the exit code says so.
TEST_F(WithoutData, NothingThatIsNotFiniteIsSavedOverWhatIs) {
  const std::string net =
      " --set 'model.layers=[{type=\"flatten\"},{type=\"linear\",out=3}]' --set data.to_unit=false --batch-size 48 --optimizer sgd";
  expect(5, "there is no checkpoint in run: none was made before", "train data/tiny.toml --out run --epochs 1 --lr 3e38 --quiet" + net);
  EXPECT_FALSE(fs::exists(folder_ / "run/model.safetensors"));
  ASSERT_EQ(norma("train data/tiny.toml --out good --epochs 1 --lr 1e-6 --quiet" + net).code, 0);
  const std::string config = text_of(folder_ / "good/config.toml"), before = text_of(folder_ / "good/training.safetensors");
  Checkpoint c = load_safetensors(folder_ / "good/training.safetensors");
  EXPECT_EQ(first_fault(c), "");
  c.metadata.clear();  // of another norma, so that its rate may be changed by hand
  save_safetensors(folder_ / "good/training.safetensors", c);
  std::string edited = config;
  edited.replace(edited.find("lr = "), edited.find('\n', edited.find("lr = ")) - edited.find("lr = "), "lr = 3e38");
  std::ofstream(folder_ / "good/config.toml") << edited;
  expect(5, "the last checkpoint in good is as it was", "train --resume --out good --epochs 2 --quiet");
  EXPECT_EQ(load_safetensors(folder_ / "good/training.safetensors").tensors.size(), c.tensors.size());
  EXPECT_EQ(first_fault(load_safetensors(folder_ / "good/training.safetensors")), "");
  EXPECT_EQ(first_fault(load_safetensors(folder_ / "good/model.safetensors")), "");
  // A comparison counts it as a run that diverged.
  expect(0, "diverged", "compare data/tiny.toml --vary optimizer.lr=1e-6,3e38 --seeds 1 --epochs 1 --out both --jobs 1" + net);
  expect(5, "no run finished", "compare data/tiny.toml --vary optimizer.lr=2e38,3e38 --seeds 1 --epochs 1 --out none --jobs 1" + net);
  expect(5, "no run finished", "compare --resume --out none");
}

// norma saves no such values, so the rate is not at fault.
TEST_F(WithoutData, AParameterThatIsNotFiniteIsADamagedFile) {
  ASSERT_EQ(norma("train data/tiny.toml --out run --epochs 1 --quiet").code, 0);
  for (const char* tensor : {"conv1.weight", "bn1.running_var", "bn1.running_mean"}) {
    fs::remove_all(folder_ / "broken");
    fs::copy(folder_ / "run", folder_ / "broken");
    set("broken/training.safetensors", std::string("model.") + tensor, std::numeric_limits<float>::infinity());
    expect(3, std::string("broken/training.safetensors: model.") + tensor + " is inf", "train --resume --out broken --epochs 2 --quiet");
  }
}

}  // namespace
}  // namespace norma
