// Files of torch.save: those that PyTorch wrote (tests/golden/torch_files.py) are read value by value, or refused by name.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "norma/file_kind.h"
#include "norma/weights.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/torch_files.h"

namespace norma {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using test::torch_file;
using Shape64 = std::vector<std::int64_t>;

std::string notes_of(const Checkpoint& c) {
  std::string all;
  for (const std::string& note : c.notes) all += note + "\n";
  return all;
}

void refused(const std::string& name, std::initializer_list<std::string> words, std::string_view key = {}) {
  expect_error(ErrorKind::data, words, [&] { load_pt(torch_file(name), key); });
}

std::vector<float> eighths(std::initializer_list<int> values) {
  std::vector<float> all;
  for (const int v : values) all.push_back(static_cast<float>(v) / 8);
  return all;
}

TEST(PtFile, AStateDictAmongOtherValuesIsRead) {
  const Checkpoint c = load_pt(torch_file("checkpoint.pt"));
  ASSERT_EQ(c.tensors.size(), 2u);
  EXPECT_EQ(c.tensors[0].name, "weight");
  EXPECT_EQ(c.tensors[0].shape, (Shape64{2, 3}));
  EXPECT_EQ(c.tensors[0].floats(), eighths({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(c.tensors[1].floats(), eighths({0, 1}));
  EXPECT_NE(notes_of(c).find("those of the file's 'model'"), std::string::npos) << notes_of(c);
  EXPECT_TRUE(c.metadata.empty());
}

TEST(PtFile, OfSeveralStateDictsOneIsChosen) {
  refused("two.pt", {"two.pt", "several state_dicts, 'model', 'ema'", "choose one by its key"});
  EXPECT_EQ(load_pt(torch_file("two.pt"), "ema").tensors.size(), 2u);
  refused("two.pt", {"has no state_dict 'net'; it has 'model', 'ema'"}, "net");
  EXPECT_EQ(load_pt(torch_file("nested.pt")).tensors.size(), 2u);
  EXPECT_EQ(load_pt(torch_file("nested.pt"), "checkpoint.model").tensors.size(), 2u);
  refused("nested.pt", {"no state_dict 'checkpoint'"}, "checkpoint");
  refused("sequential.pt", {"'.', 'model'"});
  const Checkpoint around = load_pt(torch_file("sequential.pt"), ".");
  ASSERT_EQ(around.tensors.size(), 2u);
  EXPECT_EQ(around.tensors[0].name, "input");
  EXPECT_NE(notes_of(around).find("passed over, since they are no tensors: 'model'"), std::string::npos) << notes_of(around);
}

TEST(PtFile, EveryTypeIsReadAndSaid) {
  const Checkpoint c = load_pt(torch_file("types.pt"));
  ASSERT_EQ(c.tensors.size(), 8u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(c.tensors[i].floats(), eighths({0, 1, 2, 3, 4, 5})) << c.tensors[i].name;
    EXPECT_STREQ(c.tensors[i].cast_from ? c.tensors[i].cast_from : "none", i == 0 ? "F16" : i == 1 ? "BF16" : i == 2 ? "none" : "F64");
  }
  EXPECT_EQ(c.tensors[4].integers(), (Shape64{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(c.tensors[5].dtype, DType::i32);
  EXPECT_EQ(c.tensors[5].integers(), (Shape64{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(c.tensors[6].dtype, DType::u8);
  EXPECT_EQ(std::to_integer<int>(c.tensors[6].bytes.at(5)), 5);
  EXPECT_EQ(c.tensors[7].integers(), Shape64{5});  // a count of batches, of int16
  EXPECT_NE(notes_of(c).find("'float16' of F16 is read as F32"), std::string::npos);
  EXPECT_NE(notes_of(c).find("'bn.num_batches_tracked' of I16 is read as I64"), std::string::npos);
}

TEST(PtFile, ViewsAreReadInTheirOwnOrder) {
  const Checkpoint c = load_pt(torch_file("views.pt"));
  const auto expect = [&](const char* name, const Shape64& shape, const std::function<int(std::size_t)>& eighth) {
    const StoredTensor* const t = c.find(name);
    ASSERT_TRUE(t) << name;
    EXPECT_EQ(t->shape, shape) << name;
    const std::vector<float> values = t->floats();
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], static_cast<float>(eighth(i)) / 8) << name << " " << i;
  };
  const auto number = [](std::size_t i) { return static_cast<int>(i); };
  expect("whole", {4, 6}, number);
  expect("transposed", {6, 4}, [](std::size_t i) { return static_cast<int>(i % 4 * 6 + i / 4); });
  expect("row", {6}, [](std::size_t i) { return static_cast<int>(12 + i); });
  expect("column", {4}, [](std::size_t i) { return static_cast<int>(6 * i + 1); });
  expect("block", {2, 3}, [](std::size_t i) { return static_cast<int>((1 + i / 3) * 6 + 2 + i % 3); });
  expect("permuted", {4, 2, 3}, [](std::size_t i) { return static_cast<int>(i / 3 % 2 * 12 + i % 3 * 4 + i / 6); });
  expect("every_other", {2, 2}, [](std::size_t i) { return static_cast<int>(i / 2 * 12 + i % 2 * 3); });
  expect("expanded", {3, 4}, [](std::size_t i) { return static_cast<int>(i / 4); });
  expect("scalar", {}, [](std::size_t) { return 4; });
  expect("empty", {0, 3}, number);
  expect("parameter", {3}, number);
  expect("channels_last", {1, 2, 3, 2}, number);
}

TEST(PtFile, WhatNormaDoesNotReadIsRefusedByName) {
  refused("bool.pt", {"tensor 'mask'", "torch.BoolStorage", "float32"});
  refused("complex.pt", {"tensor 'w'", "torch.ComplexFloatStorage"});
  refused("windows.pt", {"tensor 'w'", "lie over each other", "clone()"});
  refused("module.pt", {"holds __main__.Counted, code that unpickling would execute", "torch.save(model.state_dict(), FILE)"});
  refused("tensor.pt", {"holds a tensor, and no state_dict"});
  refused("numbers.pt", {"no dictionary of tensors"});
  refused("protocol4.pt", {"pickle of protocol 4"});
  refused("legacy.pt", {"before PyTorch 1.6", "save the state_dict anew"});
  refused("script.pt", {"TorchScript", "torch.jit.load", "torch.save(model.state_dict(), FILE)"});
  refused("no such.pt", {"no such.pt", "cannot be read"});
}

TEST(PtFile, LoadWeightsTellsTheKindsApart) {
  EXPECT_EQ(load_weights(torch_file("checkpoint.pt")).tensors.size(), 2u);
  EXPECT_EQ(load_weights(torch_file("two.pt"), "ema").tensors.size(), 2u);
  expect_error(ErrorKind::data, "before PyTorch 1.6", [] { load_weights(torch_file("legacy.pt")); });
  const TemporaryFolder folder;
  save_safetensors(folder / "model.safetensors", load_pt(torch_file("checkpoint.pt")));
  EXPECT_EQ(load_weights(folder.path()).tensors.size(), 2u);
  EXPECT_EQ(load_weights(folder / "model.safetensors").tensors.size(), 2u);
  expect_error(ErrorKind::usage, "has no keys", [&] { load_weights(folder / "model.safetensors", "model"); });
  expect_error(ErrorKind::data, "no such file", [&] { load_weights(folder / "none"); });
  std::ofstream(folder / "text") << "weights";
  expect_error(ErrorKind::data, "text", [&] { load_weights(folder / "text"); });
  expect_error(ErrorKind::data, {"is text, and no file of torch.save"}, [&] { load_pt(folder / "text"); });
}

TEST(PtFile, SafetensorsReadersNameIt) {
  expect_error(ErrorKind::data, {"is not a safetensors file but weights of torch.save", "norma convert", "load_pt"},
               [] { load_safetensors(torch_file("checkpoint.pt")); });
  expect_error(ErrorKind::data, {"before PyTorch 1.6"}, [] { load_safetensors(torch_file("legacy.pt")); });
}

TEST(PtFile, WideSizesAreRead) {
  const TemporaryFolder folder;
  for (const bool zip64 : {false, true}) {
    std::ofstream(folder / "f.pt", std::ios::binary) << test::small_torch_file(zip64);
    const Checkpoint c = load_pt(folder / "f.pt");
    ASSERT_EQ(c.tensors.size(), 2u);
    EXPECT_EQ(c.tensors[0].floats(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(c.tensors[1].floats(), (std::vector<float>{6, 7, 8}));
  }
}

}  // namespace
}  // namespace norma
