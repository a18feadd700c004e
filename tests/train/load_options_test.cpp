// Weights under other names: renamed, matched by order, missing or too many. What could be read in two ways is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/peak_memory.h"
#include "tests/support/torch_files.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;
using How = LoadedTensor::How;
using Missing = LoadOptions::Missing;
using Extra = LoadOptions::Extra;

const Checkpoint& given() {
  static const Checkpoint model = [] {
    Trainer t{net, options()};
    t.fit(bars(80), nullptr, {.epochs = 1});
    return t.model();
  }();
  return model;
}

Checkpoint called(const std::function<std::string(const std::string&)>& f) {
  Checkpoint c = given();
  for (StoredTensor& t : c.tensors) t.name = f(t.name);
  return c;
}

// "conv1.weight" under the layer's name in `layers`.
Checkpoint with_layers(const std::map<std::string, std::string>& layers) {
  return called([&](const std::string& name) {
    const std::size_t dot = name.find('.');
    const auto found = layers.find(name.substr(0, dot));
    return found == layers.end() ? name : found->second + name.substr(dot);
  });
}

// PyTorch's names of this net's layers in an nn.Sequential.
const std::map<std::string, std::string> numbers{{"conv1", "0"}, {"bn1", "1"}, {"fc1", "5"}, {"bn2", "6"}, {"fc2", "9"}};

LoadReport read(const Checkpoint& c, const LoadOptions& how = {}, bool whole = true) {
  Trainer t{net, options()};
  const LoadReport report = t.load_model(c, how);
  if (whole) {
    EXPECT_EQ(bytes_of(t.model()), bytes_of(given()));
  }
  return report;
}

std::map<How, int> counts(const LoadReport& report) {
  std::map<How, int> all;
  for (const LoadedTensor& t : report.tensors) ++all[t.how];
  return all;
}

std::string first_note(const LoadReport& report) { return report.notes.empty() ? "" : report.notes[0]; }

TEST(LoadOptions, OwnNamesAreAsIs) {
  const LoadReport report = read(given());
  EXPECT_TRUE(report.notes.empty());
  EXPECT_EQ(counts(report), (std::map<How, int>{{How::as_is, static_cast<int>(given().tensors.size())}}));
  EXPECT_EQ(report.tensors[0].file, "conv1.weight");
  EXPECT_EQ(report.tensors[0].net, "conv1.weight");
  EXPECT_EQ(report.tensors[0].shape, (std::vector<std::int64_t>{5, 2, 3, 3}));
}

TEST(LoadOptions, PatternsRename) {
  const Checkpoint c =
      with_layers({{"conv1", "stem.conv"}, {"bn1", "stem.norm"}, {"fc1", "head.0"}, {"fc2", "head.3"}, {"bn2", "head.norm"}});
  const LoadReport report = read(c, {.rename = {{"stem.conv.*", "conv1.*"},
                                                {"stem.norm.*", "bn1.*"},
                                                {"head.0.weight", "fc1.weight"},
                                                {"head.0.bias", "fc1.bias"},
                                                {"h*d.3.*", "fc2.*"},  // a later pattern counts
                                                {"*.3.*", "fc2.wrong"},
                                                {"head.3.b*", "fc2.b*"},
                                                {"head.3.w*", "fc2.w*"},
                                                {"*.norm.*", "bn2.*"},
                                                {"*.norm.*", "*.norm.*"},
                                                {"stem.norm.*", "bn1.*"},
                                                {"head.norm.*", "bn2.*"}}});
  EXPECT_EQ(report.tensors[0].file, "stem.conv.weight");
  EXPECT_EQ(report.tensors[0].how, How::renamed);
  EXPECT_TRUE(report.notes.empty());
  Checkpoint moved = c;
  rename_tensors(moved, std::vector<Rename>{Rename::parse("stem.conv.*=conv1.*"),
                                            Rename::parse("stem.norm.*=bn1.*"),
                                            {"head.0.*", "fc1.*"},
                                            {"head.3.*", "fc2.*"},
                                            {"head.norm.*", "bn2.*"}});
  EXPECT_EQ(counts(read(moved)), (std::map<How, int>{{How::as_is, static_cast<int>(given().tensors.size())}}));
}

TEST(LoadOptions, AStarTakesAsLittleAsItCan) {
  Checkpoint c;
  c.tensors.push_back(StoredTensor::from("a.b.c.d", {1}, std::vector<float>{1}));
  rename_tensors(c, std::vector<Rename>{{"*.*.d", "*|*"}});
  EXPECT_EQ(c.tensors[0].name, "a|b.c");
  rename_tensors(c, std::vector<Rename>{{"*", "x*x"}});
  EXPECT_EQ(c.tensors[0].name, "xa|b.cx");
  rename_tensors(c, std::vector<Rename>{{"*x", "*"}});
  EXPECT_EQ(c.tensors[0].name, "xa|b.c");
}

TEST(LoadOptions, RenamingThatCannotBeMeantIsRefused) {
  const auto refused = [](const std::vector<Rename>& r, std::initializer_list<std::string> words) {
    Trainer t{net, options()};
    expect_error(ErrorKind::usage, words, [&] { t.load_model(given(), {.rename = r}); });
    expect_error(ErrorKind::usage, words, [&] {
      Checkpoint c = given();
      rename_tensors(c, r);
    });
  };
  refused({{"cnov1.*", "x.*"}}, {"rename \"cnov1.*=x.*\" fits no tensor", "did you mean \"conv1.*\""});
  refused({{"conv1.wieght", "x"}}, {"did you mean \"conv1.weight\""});
  refused({{"#*", "x"}}, {"each '*' stands for any text"});
  refused({{"conv1.*", "*.*"}}, {"more '*' in the new name"});
  refused({{"fc*.weight", "w"}}, {"'fc1.weight' and 'fc2.weight' one name, 'w'"});
  refused({{"conv1.bias", "bn1.bias"}}, {"'conv1.bias' and 'bn1.bias' one name"});
  refused({{"conv1.weight", ""}}, {"without a name"});
  for (const char* text : {"", "=", "a", "a=", "=b"}) expect_error(ErrorKind::usage, "OLD=NEW", [&] { Rename::parse(text); });
  EXPECT_EQ(Rename::parse("a=b=c").name, "b=c");
}

TEST(LoadOptions, LayersOfSequentialAreMatchedByOrder) {
  for (const std::string prefix : {"", "features.", "module.", "_orig_mod.features."}) {
    std::map<std::string, std::string> names = numbers;
    for (auto& [layer, number] : names) number.insert(0, prefix);
    const LoadReport report = read(with_layers(names));
    EXPECT_EQ(counts(report), (std::map<How, int>{{How::by_order, static_cast<int>(given().tensors.size())}})) << prefix;
    EXPECT_NE(first_note(report).find("is read as conv1"), std::string::npos) << first_note(report);
    EXPECT_EQ(report.tensors[0].file, prefix + "0.weight");
  }
}

TEST(LoadOptions, PartsOfANetMayBeSequential) {
  const LoadReport report = read(with_layers({{"conv1", "features.0"}, {"bn1", "features.1"}, {"fc2", "classifier.2.head"}}));
  EXPECT_EQ(counts(report)[How::by_order], 2 + 5 + 2);
  EXPECT_EQ(counts(report)[How::as_is], 2 + 5);
}

TEST(LoadOptions, TheOrderInTheFileDoesNotMatter) {
  Checkpoint c = with_layers(numbers);
  std::ranges::reverse(c.tensors);
  EXPECT_EQ(counts(read(c))[How::by_order], static_cast<int>(given().tensors.size()));
}

// Two convolutions of one shape, and two linear layers of one: only numbers tell them apart.
const nn::Sequential twins{nn::Conv2d{.out = 2, .kernel = 3, .padding = 1},
                           nn::Conv2d{.out = 2, .kernel = 3, .padding = 1},
                           nn::ReLU{},
                           nn::Flatten{},
                           nn::Linear{.out = 4},
                           nn::Linear{.out = 4},
                           nn::Linear{.out = 4}};

Checkpoint twin_weights(const std::map<std::string, std::string>& layers) {
  Checkpoint c = Trainer{twins, options()}.model();
  for (StoredTensor& t : c.tensors) {
    const std::size_t dot = t.name.find('.');
    if (const auto found = layers.find(t.name.substr(0, dot)); found != layers.end()) t.name = found->second + t.name.substr(dot);
  }
  return c;
}

TEST(LoadOptions, LayersOfOneShapeFollowTheirNumbers) {
  const Checkpoint c = twin_weights({{"conv1", "0"}, {"conv2", "2"}, {"fc1", "8"}, {"fc2", "9"}, {"fc3", "10"}});
  TrainerOptions other = options();
  other.seed = 99;
  Trainer t{twins, other};
  t.load_model(c);
  EXPECT_EQ(bytes_of(t.model()), bytes_of(Trainer{twins, options()}.model()));
}

TEST(LoadOptions, NumbersAreNumbers) {
  Trainer t{twins, options()};
  // "01" and "1" are one number, so neither comes first.
  expect_error(ErrorKind::data, {"layers 01 and 1 have the same shapes"}, [&] {
    t.load_model(twin_weights({{"conv1", "01"}, {"conv2", "1"}}));
  });
  EXPECT_NO_THROW(t.load_model(twin_weights({{"conv1", "2"}, {"conv2", "10"}, {"fc1", "1a.0"}})));
}

TEST(LoadOptions, WhatCouldBeReadInTwoWaysIsRefusedWithALineToPaste) {
  Trainer t{twins, options()};
  const std::string before = bytes_of(t.model());
  const auto refused = [&](const Checkpoint& c, std::initializer_list<std::string> words) {
    expect_error(ErrorKind::data, words, [&] { t.load_model(c, {.rename_word = "--rename"}); });
    EXPECT_EQ(bytes_of(t.model()), before);
  };
  refused(twin_weights({{"conv1", "a.0"}, {"conv2", "b.0"}, {"fc1", "5"}, {"fc2", "6"}, {"fc3", "7"}}),
          {"layers a.0 and b.0 have the same shapes, and no number says which comes first",
           "--rename 'a.0.*=conv1.*' --rename 'b.0.*=conv2.*'"});
  refused(twin_weights({{"conv1", "c"}}), {"conv1.weight, conv1.bias", "--rename 'c.*=conv1.*'"});
  refused(twin_weights({{"fc1", "5.a"}, {"fc2", "6.a"}, {"fc3", "head"}}), {"--rename '5.a.*=fc1.*'"});
  // The convolutions' order is not the net's.
  expect_error(ErrorKind::data, {"rename '7.*=conv1.*'"}, [&] {
    Trainer own{net, options()};
    own.load_model(with_layers({{"conv1", "7"}, {"bn1", "1"}, {"fc1", "5"}}));
  });
}

// "2" of the file is the net's "1", though the net has a "2" of that shape.
TEST(LoadOptions, ANumberThatStandsForAnotherLayerIsRefused) {
  const auto layers = [](const std::vector<std::string>& names) {
    std::vector<std::int64_t> last{2, 10};
    Checkpoint c;
    for (const std::string& name : names) {
      const std::vector<float> weight(name == names.back() ? 20 : 100, 1), bias(name == names.back() ? 2 : 10, 1);
      c.tensors.push_back(StoredTensor::from(name + ".weight", name == names.back() ? last : std::vector<std::int64_t>{10, 10}, weight));
      c.tensors.push_back(StoredTensor::from(name + ".bias", {static_cast<std::int64_t>(bias.size())}, bias));
    }
    return c;
  };
  const nn::Linear wide{.out = 10};
  Trainer t{nn::Sequential{{"0", wide}, {"1", wide}, {"2", wide}, {"3", wide}, {"out", nn::Linear{.out = 2}}}, {.input = {10}}};
  expect_error(ErrorKind::data, {"checkpoint has no tensor"}, [&] { t.load_model(layers({"0", "2", "4", "6", "8"}), LoadOptions{}); });
  EXPECT_EQ(counts(t.load_model(layers({"0", "1", "2", "3", "8"}), LoadOptions{})),
            (std::map<How, int>{{How::as_is, 8}, {How::by_order, 2}}));
}

// A file's order need not be the net's, so layers of one shape are no proposal.
TEST(LoadOptions, ProposesOnlyWhatIsCertain) {
  const auto named = [](const std::vector<std::string>& names) {
    Checkpoint c;
    for (const std::string& name : names) c.tensors.push_back(StoredTensor::from(name + ".weight", {3, 3}, std::vector<float>(9, 1)));
    c.tensors.push_back(StoredTensor::from("head.weight", {2, 3}, std::vector<float>(6, 1)));
    return c;
  };
  const nn::Linear plain{.out = 3, .bias = false};
  Trainer t{nn::Sequential{{"one", plain}, {"two", plain}, {"out", nn::Linear{.out = 2, .bias = false}}}, {.input = {3}}};
  try {
    t.load_model(named({"after", "before"}), LoadOptions{});
    FAIL() << "names that are not the net's are refused";
  } catch (const Error& e) {
    const std::string said = e.what();
    EXPECT_NE(said.find("rename 'head.*=out.*'"), std::string::npos) << said;
    EXPECT_EQ(said.find("after.*"), std::string::npos) << said;
  }
}

TEST(LoadOptions, NamesOfManyPartsTakeNoMemory) {
  std::string name;
  for (int i = 0; i < 20'000; ++i) name += "a.";
  Checkpoint c;
  c.tensors.push_back(StoredTensor::from(name + "w", {1}, std::vector<float>{1}));
  Trainer t{net, options()};
  if (!test::forget_peak_memory()) GTEST_SKIP() << "this kernel does not forget a peak of memory";
  const std::int64_t before = test::peak_memory();
  expect_error(ErrorKind::data, {"checkpoint has no tensor"}, [&] { t.load_model(c, LoadOptions{}); });
  EXPECT_LT(test::peak_memory() - before, 100'000);
}

TEST(LoadOptions, NumbersWithOtherShapesAreNoMatch) {
  Trainer t{net, options()};
  Checkpoint one_more = with_layers(numbers);
  one_more.tensors.push_back(StoredTensor::from("11.weight", {3, 3}, std::vector<float>(9)));
  expect_error(ErrorKind::data, {"conv1.weight", "rename '0.*=conv1.*'"}, [&] { t.load_model(one_more); });
  Checkpoint smaller = with_layers(numbers);
  std::erase_if(smaller.tensors, [](const StoredTensor& s) { return s.name.starts_with("9."); });
  expect_error(ErrorKind::data, {"conv1.weight"}, [&] { t.load_model(smaller); });
  Checkpoint counted = with_layers(numbers);
  counted.tensors.push_back(StoredTensor::from("5.num_batches_tracked", {}, std::vector<std::int64_t>{1}));
  expect_error(ErrorKind::data, {"conv1.weight"}, [&] { t.load_model(counted); });
}

TEST(LoadOptions, MissingTensorsAreKeptWhereAskedFor) {
  Checkpoint c = given();
  std::erase_if(c.tensors, [](const StoredTensor& s) { return s.name.starts_with("fc2") || s.name.starts_with("bn2"); });
  TrainerOptions other = options();
  other.seed = 5;
  Trainer t{net, other};
  const Checkpoint own = t.model();
  expect_error(ErrorKind::data, "bn2.weight", [&] { t.load_model(c, {}); });
  const LoadReport report = t.load_model(c, {.missing = Missing::keep});
  EXPECT_EQ(counts(report), (std::map<How, int>{{How::as_is, 2 + 5 + 2}, {How::kept, 5 + 2}}));
  EXPECT_NE(first_note(report).find("has no bn2.weight, bn2.bias, bn2.running_mean and 4 others, kept as the net has it"),
            std::string::npos)
      << first_note(report);
  for (const StoredTensor& tensor : t.model().tensors)
    EXPECT_EQ(tensor.bytes, (tensor.name.starts_with("fc2") || tensor.name.starts_with("bn2") ? own : given()).find(tensor.name)->bytes)
        << tensor.name;
}

TEST(LoadOptions, ExtraTensorsAreIgnoredWhereAskedFor) {
  Checkpoint c = called([](const std::string& name) { return "module." + name; });
  c.tensors.push_back(StoredTensor::from("ema.step", {1}, std::vector<float>{3}));
  Trainer t{net, options()};
  expect_error(ErrorKind::data, "module.conv1.weight", [&] { t.load_model(c, {}); });
  const LoadReport report = read(c, {.extra = Extra::ignore});
  EXPECT_EQ(counts(report), (std::map<How, int>{{How::renamed, static_cast<int>(given().tensors.size())}, {How::ignored, 1}}));
  EXPECT_EQ(report.tensors.back().file, "ema.step");
  EXPECT_EQ(report.tensors.back().net, "");
  EXPECT_NE(report.notes.back().find("the net has no ema.step, ignored"), std::string::npos);
}

TEST(LoadOptions, ANewHeadBeginsAnew) {
  Checkpoint c = given();
  for (StoredTensor& s : c.tensors)
    if (s.name == "fc2.weight") s = StoredTensor::from("fc2.weight", {10, 12}, std::vector<float>(120));
  Trainer t{net, options()};
  const LoadOptions lenient{.missing = Missing::keep, .extra = Extra::ignore};
  expect_error(ErrorKind::data, "fc2.weight is (10, 12), the net needs (3, 12)", [&] { t.load_model(c, lenient); });
  const LoadReport report = t.load_model(c, {.rename = {{"fc2.*", "old.*"}}, .missing = Missing::keep, .extra = Extra::ignore});
  EXPECT_EQ(counts(report)[How::kept], 2);
  EXPECT_EQ(counts(report)[How::ignored], 2);
}

TEST(LoadOptions, ANetOfWhichNothingFitsIsRefusedAllTheSame) {
  Trainer t{net, options()};
  const LoadOptions lenient{.missing = Missing::keep, .extra = Extra::ignore};
  const Checkpoint other = called([](const std::string& name) { return "x" + name; });
  expect_error(ErrorKind::data, {"conv1.weight", "xconv1.weight"}, [&] { t.load_model(other, lenient); });
  expect_error(ErrorKind::data, "conv1.weight", [&] { t.load_model({}, lenient); });
  Checkpoint twice = given();
  twice.tensors.push_back(twice.tensors.front());
  expect_error(ErrorKind::data, "conv1.weight twice", [&] { t.load_model(twice, lenient); });
}

TEST(LoadOptions, ACountThatIsMissingIsZero) {
  Checkpoint c = given();
  std::erase_if(c.tensors, [](const StoredTensor& s) { return s.name.ends_with("num_batches_tracked"); });
  for (const Missing missing : {Missing::refuse, Missing::keep}) {
    const LoadReport report = read(c, {.missing = missing}, false);
    EXPECT_EQ(counts(report)[How::zero], 2);
    EXPECT_EQ(counts(report)[How::kept], 0);
  }
}

TEST(LoadOptions, PyTorchsSequentialGivesPyTorchsOutputs) {
  const Checkpoint model = load_pt(test::torch_file("sequential.pt"), "model"), around = load_pt(test::torch_file("sequential.pt"), ".");
  const nn::Sequential same{nn::Conv2d{.out = 2, .kernel = 3},
                            nn::BatchNorm{},
                            nn::ReLU{},
                            nn::Flatten{},
                            nn::Linear{.out = 4},
                            nn::BatchNorm{},
                            nn::ReLU{},
                            nn::Linear{.out = 3}};
  TrainerOptions of_floats{.input = {1, 6, 6}, .sample_type = DType::f32, .batch = 2};
  Trainer t{same, of_floats};
  t.load_model(model);
  Dataset set;
  set.name = "inputs";
  set.sample = {1, 6, 6};
  set.floats = around.find("input")->floats();
  set.labels = {0, 0};
  const std::vector<float> expected = around.find("output")->floats();
  const std::vector<float> predicted = t.predict(set);
  const std::vector<float> alone =
      Predictor{same, model, {.input = {1, 6, 6}, .sample_type = DType::f32}}.predict(std::span<const float>(set.floats));
  ASSERT_EQ(predicted.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(predicted[i], expected[i], 1e-5f);
    EXPECT_NEAR(alone[i], expected[i], 1e-5f);
  }
}

TEST(LoadOptions, ModelsSayThatTheyArePyTorchs) {
  Trainer t{net, options()};
  EXPECT_EQ(t.model().metadata.at("format"), "pt");
  EXPECT_EQ(read(given()).tensors.size(), given().tensors.size());
}

}  // namespace
}  // namespace norma
