// Predictor::load: nets of every kind from the file alone; files that are damaged, forged, or say too little.
#include <gtest/gtest.h>

#include <array>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::expect_error;
using test::net;
using test::options;

// A net with every kind of node that a file holds. Options are not the defaults, so that one that is lost is seen.
Module every_node() {
  return nn::Sequential{
      nn::Conv2d{.out = 6, .kernel = {3, 2}, .stride = {1, 2}, .padding = 1, .dilation = {2, 1}, .groups = 2, .bias = false},
      nn::BatchNorm{.eps = 1e-2, .momentum = 0.5, .affine = false},
      nn::LeakyReLU{.negative_slope = 0.2},
      nn::ConvTranspose2d{
          .out = 4, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1, .dilation = {1, 2}, .groups = 2, .bias = false},
      nn::Residual{nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3, .padding = 1},
                                  nn::InstanceNorm{.eps = 1e-2, .momentum = 0.5, .affine = true, .track_running_stats = true}}},
      nn::GroupNorm{.groups = 2, .eps = 1e-2, .affine = false},
      nn::MaxPool2d{.kernel = 3, .stride = 2, .padding = 1, .dilation = {2, 1}, .ceil_mode = true},
      nn::GELU{nn::GELU::Approximate::tanh},
      nn::AvgPool2d{.kernel = 3, .stride = Size2{2, 1}, .padding = 1, .ceil_mode = true, .count_include_pad = false},
      nn::LayerNorm{.eps = 1e-2, .bias = false},
      nn::LayerNorm{.elementwise_affine = false},
      nn::Dropout{.p = 0.25},
      {"end", nn::Sequential{nn::GlobalAvgPool2d{}, nn::Flatten{}, nn::Linear{.out = 3, .bias = false}}}};
}

TEST(Predictor, LoadsWhatTrainerSaved) {
  const test::TemporaryFolder folder;
  const Dataset data = bars(30);
  TrainerOptions o = options();
  o.transform.resize = Size2{11, 12};
  for (const bool fold : {true, false}) {
    Trainer trainer{every_node(), o};
    trainer.fit(data, nullptr, {.epochs = 1});
    save_safetensors(folder / "model.safetensors", trainer.model());
    const std::optional<Module> read = read_model_net(trainer.model().metadata, "m");
    ASSERT_TRUE(read);
    EXPECT_EQ(trace(*read, {o.batch, 2, 11, 12}).print(), trainer.unfused_graph().print());
    for (const auto& path : {folder / "model.safetensors", folder / "."}) {
      const Predictor predictor = Predictor::load(path, {.fold = fold});
      EXPECT_EQ(to_string(predictor.input()), "(2, 9, 8)");
      EXPECT_EQ(predictor.sample_type(), DType::u8);
      EXPECT_EQ(predictor.classes(), data.classes);
      const std::vector<float> expected = trainer.predict(data), y = predictor.predict(data.bytes);
      ASSERT_EQ(y.size(), expected.size());
      for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], fold ? 1e-5 : 0) << i;
    }
  }
  // A folded net is another net, and its file says so.
  Trainer trainer{net, options()};
  const FoldedBatchNorms folded = fold_batch_norms(trainer.unfused_graph(), trainer.model());
  save_safetensors(folder / "folded.safetensors", folded.model);
  const Predictor of_folded = Predictor::load(folder / "folded.safetensors", {.fold = false}),
                  own{net, trainer.model(), {.input = options().input, .transform = options().transform}};
  EXPECT_EQ(of_folded.predict(data.bytes), own.predict(data.bytes));
}

TEST(Predictor, LoadRefusesFilesByName) {
  const test::TemporaryFolder folder;
  const auto file = folder / "model.safetensors";
  const auto refused = [&](ErrorKind kind, std::initializer_list<std::string> words) {
    expect_error(kind, words, [&] { Predictor::load(file); });
  };
  refused(ErrorKind::data, {"model.safetensors"});
  expect_error(ErrorKind::data, "model.safetensors", [&] { Predictor::load(folder / "."); });
  const Checkpoint good = Trainer(net, options()).model();
  const auto save = [&](const char* key, const std::string& text) {
    Checkpoint c = good;
    c.metadata[key] = text;
    if (text.empty()) c.metadata.erase(key);
    save_safetensors(file, c);
  };
  save("norma.net", "");
  refused(ErrorKind::data, {"model.safetensors does not say what its net is", "Predictor's constructor"});
  save("norma.input", "");
  refused(ErrorKind::data, {"does not say what its input is"});
  const std::string text = good.metadata.at("norma.net");
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string other = text;
    const std::size_t at = other.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return other.replace(at, from.size(), to);
  };
  for (const auto& [from, to, what] :
       std::vector<std::array<std::string, 3>>{{"{\"nodes\"", "\"nodes\"", "is not JSON"},
                                               {"\"nodes\"", "\"knots\"", "has no list of nodes"},
                                               {"\"op\":\"conv2d\"", "\"op\":\"conv3d\"", "node 1, does nothing that this norma knows"},
                                               {"\"op\":\"conv2d\"", "\"op\":\"\"", "node 1, does nothing that this norma knows"},
                                               {"\"op\":\"conv2d\"", "\"op\":7", "node 1, does nothing"},
                                               {"\"op\":\"conv2d\"", "\"op\":\"input\"", "node 1, has no valid inputs"},
                                               {"\"path\":\"conv1\"", "\"path\":\"\"", "node 1, has no path"},
                                               {"\"inputs\":[0]", "\"inputs\":[1]", "node 1, reads a node that does not come before it"},
                                               {"\"inputs\":[0]", "\"inputs\":[-1]", "node 1, reads a node"},
                                               {"\"inputs\":[0]", "\"inputs\":[0,0]", "node 1, has no valid inputs"},
                                               {"\"out\":5", "\"out\":-5", "node 1, has no valid out"},
                                               {"\"out\":5", "\"out\":5e300", "node 1, has no valid out"},
                                               {"\"out\":5", "\"in\":5", "node 1, has no valid out"},
                                               {"\"kernel\":[3,3]", "\"kernel\":[3]", "node 1, has no valid kernel"},
                                               {"\"bias\":true", "\"bias\":1", "node 1, has no valid bias"},
                                               {"\"eps\":1e-05", "\"eps\":\"x\"", "node 2, has no valid eps"},
                                               {"\"function\":\"relu\"", "\"function\":\"rely\"", "node 3, has no valid function"},
                                               {"\"output\":10", "\"output\":11", "output, has no valid output"},
                                               {"\"output\":10", "\"output\":-1", "output, has no valid output"},
                                               // A net that can be read, of which something else is wrong.
                                               {"\"kernel\":[3,3]", "\"kernel\":[30,30]", "[conv1]"},
                                               {"\"out\":5", "\"out\":6", "conv1.weight"},
                                               {"\"stride\":[1,1]", "\"stride\":[0,1]", "[conv1]"}}) {
    save("norma.net", changed(from, to));
    refused(ErrorKind::data, {"model.safetensors", what});
  }
  save("norma.net", std::string(3 << 20, ' '));
  refused(ErrorKind::data, {"model.safetensors", "holds 3145728 bytes"});
  save("norma.classes", R"(["a","b","c","d"])");
  refused(ErrorKind::data, {"model.safetensors", "names 4 classes and its net has 3 outputs"});
  save("norma.net", text);
  expect_error(ErrorKind::usage, "\"sse\" is not available", [&] { Predictor::load(file, {.isa = "sse"}); });
  // A file says nothing of an operation of one's own.
  nn::Operation own;
  own.forward = [](const auto& v) { v.output[0] = v.inputs[0][0]; };
  own.backward = [](const auto&) {};
  Trainer trainer{nn::Sequential{nn::Linear{.out = 1}, own}, {.input = {1}, .loss = MeanSquared{}}};
  EXPECT_FALSE(trainer.model().metadata.contains("norma.net"));
}

}  // namespace
}  // namespace norma
