// Weights that other programs wrote: what fits without doubt is read and said, everything else is refused by name.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;
using test::TemporaryFolder;

const Checkpoint& trained() {
  static const Checkpoint model = [] {
    Trainer t{net, options()};
    t.fit(bars(80), nullptr, {.epochs = 1});
    return t.model();
  }();
  return model;
}

Checkpoint renamed(const std::function<std::string(const std::string&)>& f) {
  Checkpoint c = trained();
  for (StoredTensor& t : c.tensors) t.name = f(t.name);
  return c;
}

std::size_t index_of(const Checkpoint& c, const std::string& name) {
  for (std::size_t i = 0; i < c.tensors.size(); ++i)
    if (c.tensors[i].name == name) return i;
  throw std::runtime_error(name);
}

// The notes; the model is then the trained one.
std::string notes_of(const Checkpoint& c) {
  Trainer t{net, options()};
  std::string all;
  for (const std::string& note : t.load_model(c)) all += note + "\n";
  EXPECT_EQ(bytes_of(t.model()), bytes_of(trained()));
  return all;
}

TEST(ForeignWeights, OwnWeightsNeedNoNote) { EXPECT_EQ(notes_of(trained()), ""); }

TEST(ForeignWeights, OnePrefixOfAllNamesIsLeftOut) {
  for (const std::string prefix : {"module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "model.", "net.model.", "conv1."}) {
    const std::string notes = notes_of(renamed([&](const std::string& name) { return prefix + name; }));
    EXPECT_NE(notes.find(prefix + "conv1.weight is read as conv1.weight"), std::string::npos) << notes;
  }
}

TEST(ForeignWeights, WrappersInsideOfPathsAreLeftOut) {
  const std::string notes =
      notes_of(renamed([](const std::string& name) { return name.starts_with("conv1.") ? "conv1.module." + name.substr(6) : name; }));
  EXPECT_NE(notes.find("conv1.module.weight is read as conv1.weight"), std::string::npos) << notes;
  notes_of(renamed([](const std::string& name) {
    const std::size_t dot = name.find('.');
    return "model." + name.substr(0, dot) + "._orig_mod" + name.substr(dot);
  }));
}

TEST(ForeignWeights, WhatDoesNotFitWhollyIsRefusedWithTheNamesThatAreThere) {
  Trainer t{net, options()};
  const std::string before = bytes_of(t.model());
  const auto refused = [&](const Checkpoint& c, std::initializer_list<std::string> words) {
    expect_error(ErrorKind::data, words, [&] { t.load_model(c); });
  };
  Checkpoint one_more = renamed([](const std::string& name) { return "module." + name; });
  one_more.tensors.push_back(StoredTensor::from("step", {1}, std::vector<float>(1)));
  refused(one_more, {"conv1.weight", "module.conv1.weight", "others"});
  refused(renamed([](const std::string& name) { return name.starts_with("bn2") ? name : "net." + name; }), {"net.conv1.weight"});
  refused(renamed([](const std::string& name) { return name == "fc1.weight" ? "fc1.wieght" : name; }),
          {"fc1.weight", "nearest: fc1.wieght"});
  refused(renamed([](const std::string& name) { return name.starts_with("fc") ? "head" + name.substr(2) : name; }),
          {"fc1.weight, fc1.bias, fc2.weight and 1 other", "head1.weight"});
  Checkpoint twice = trained();
  twice.tensors.push_back(twice.tensors.front());
  refused(twice, {"conv1.weight twice"});
  Checkpoint both = renamed([](const std::string& name) { return name == "conv1.weight" ? "conv1.module.bias" : name; });
  refused(both, {"conv1.weight", "conv1.module.bias"});
  refused({}, {"conv1.weight"});
  Checkpoint cut = trained();
  cut.tensors[0].bytes.resize(4);
  refused(cut, {"conv1.weight has 4 bytes"});
  EXPECT_EQ(bytes_of(t.model()), before);
}

TEST(ForeignWeights, ACounterMayBeMissingOrOfAnotherIntegerForm) {
  const std::string name = "bn1.num_batches_tracked";
  Trainer t{net, options()};
  Checkpoint c = trained();
  const std::int64_t batches = c.find(name)->integers().at(0);
  c.tensors[index_of(c, name)] = StoredTensor::from(name, {1}, std::span<const std::int64_t>{&batches, 1});
  EXPECT_EQ(notes_of(c), "");
  const auto narrow = static_cast<std::int32_t>(batches);
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{}, {1}, {1, 1}}) {
    const auto bytes = std::as_bytes(std::span(&narrow, 1));
    c.tensors[index_of(c, name)] = {name, DType::i32, shape, {bytes.begin(), bytes.end()}};
    EXPECT_EQ(notes_of(c), "");
  }
  for (const std::int64_t bad : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    c.tensors[index_of(c, name)] = StoredTensor::from(name, {}, std::span<const std::int64_t>{&bad, 1});
    expect_error(ErrorKind::data, {name, std::to_string(bad)}, [&] { t.load_model(c); });
  }
  const std::vector<std::int64_t> two{1, 2};
  c.tensors[index_of(c, name)] = StoredTensor::from(name, {2}, std::span<const std::int64_t>(two));
  expect_error(ErrorKind::data, {name, "(2)"}, [&] { t.load_model(c); });

  c = trained();
  std::erase_if(c.tensors, [](const StoredTensor& s) { return s.name.ends_with("num_batches_tracked"); });
  const std::vector<std::string> notes = t.load_model(c);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0], "the checkpoint has no bn1.num_batches_tracked, bn2.num_batches_tracked, read as 0");
  EXPECT_EQ(t.read(name).at(0), 0.f);
  for (StoredTensor& s : c.tensors) s.name = "module." + s.name;
  EXPECT_EQ(t.load_model(c).size(), 2u);

  Trainer averages{nn::Sequential{nn::BatchNorm{.momentum = {}}, nn::Flatten{}, nn::Linear{.out = 3}}, options()};
  Checkpoint cumulative = averages.model();
  std::erase_if(cumulative.tensors, [](const StoredTensor& s) { return s.name.ends_with("num_batches_tracked"); });
  const std::vector<std::string> said = averages.load_model(cumulative);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[1].find("cumulative"), std::string::npos);
}

TEST(ForeignWeights, AVarianceBelowZeroIsRefusedByName) {
  Trainer t{net, options()};
  const std::string before = bytes_of(t.model());
  for (const float bad : {-0.5f, -1e-30f, -std::numeric_limits<float>::infinity()}) {
    Checkpoint c = trained();
    std::vector<float> values = c.find("bn1.running_var")->floats();
    values[3] = bad;
    c.tensors[index_of(c, "bn1.running_var")] = StoredTensor::from("bn1.running_var", {5}, std::span<const float>(values));
    expect_error(ErrorKind::data, {"bn1.running_var", "at 3"}, [&] { t.load_model(c); });
  }
  EXPECT_EQ(bytes_of(t.model()), before);
}

// ---- other types of numbers

template <class T>
std::string file_of(const std::string& dtype, const std::vector<T>& values) {
  const std::string header = R"({"w":{"dtype":")" + dtype + R"(","shape":[)" + std::to_string(values.size()) + R"(],"data_offsets":[0,)" +
                             std::to_string(values.size() * sizeof(T)) + "]}}";
  std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

Checkpoint read(const std::string& bytes) {
  const TemporaryFolder folder;
  std::ofstream(folder / "f", std::ios::binary) << bytes;
  return load_safetensors(folder / "f");
}

// A count alone, as {k: v.half()} and the like leave it.
template <class T>
Checkpoint count_of(const std::string& dtype, T value) {
  const std::string name = "bn1.num_batches_tracked";
  const std::string header =
      R"({")" + name + R"(":{"dtype":")" + dtype + R"(","shape":[],"data_offsets":[0,)" + std::to_string(sizeof value) + "]}}";
  const std::uint64_t length = header.size();
  return read(std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
              std::string(reinterpret_cast<const char*>(&value), sizeof value));
}

TEST(ForeignWeights, ACountOfAnyTypeIsReadWhereItIsAWholeNumber) {
  const auto expect = [](const Checkpoint& c, std::int64_t value, const std::string& dtype) {
    EXPECT_EQ(c.tensors.at(0).dtype, DType::i64) << dtype;
    EXPECT_EQ(c.tensors.at(0).integers(), std::vector<std::int64_t>{value}) << dtype;
    EXPECT_EQ(c.notes, std::vector<std::string>{"'bn1.num_batches_tracked' of " + dtype + " is read as I64"});
  };
  expect(count_of("F32", 40.0f), 40, "F32");
  expect(count_of("F32", -0.0f), 0, "F32");
  expect(count_of("F64", 0x1p53 + 2), (std::int64_t{1} << 53) + 2, "F64");
  expect(count_of("F16", std::uint16_t{0x5100}), 40, "F16");
  expect(count_of("BF16", std::uint16_t{0x4220}), 40, "BF16");
  expect(count_of("U8", std::uint8_t{200}), 200, "U8");
  expect(count_of("I8", std::int8_t{100}), 100, "I8");
  expect(count_of("I16", std::int16_t{300}), 300, "I16");
  expect(count_of("U16", std::uint16_t{65535}), 65535, "U16");
  expect(count_of("U32", ~std::uint32_t{0}), 0xffffffff, "U32");
  expect(count_of("U64", std::uint64_t{1} << 40), std::int64_t{1} << 40, "U64");

  Trainer t{net, options()};
  Checkpoint whole = trained();
  const std::string name = "bn1.num_batches_tracked";
  const auto batches = static_cast<float>(whole.find(name)->integers().at(0));
  whole.tensors[index_of(whole, name)] = count_of("F32", batches).tensors.at(0);
  EXPECT_EQ(notes_of(whole), "");

  const auto refused = [&](const std::string& dtype, auto value, const std::string& shown) {
    expect_error(ErrorKind::data, {name, "is " + dtype + " and holds " + shown, "whole number"}, [&] { count_of(dtype, value); });
  };
  refused("F32", 5.5f, "5.5");
  refused("F32", std::nanf(""), "nan");
  refused("F64", double{INFINITY}, "inf");
  refused("F64", 0x1p63, "9223372036854775808");
  refused("F16", std::uint16_t{0x7c00}, "inf");
  refused("BF16", std::uint16_t{0xbf80}, "-1");
  refused("I16", std::int16_t{-3}, "-3");
  refused("U64", ~std::uint64_t{0}, "18446744073709551615");
  expect_error(ErrorKind::data, {"'w'", "'I16' is not supported"}, [] { read(file_of("I16", std::vector<std::int16_t>{1})); });
}

TEST(ForeignWeights, AFileOfAnotherKindIsCalledWhatItIs) {
  using namespace std::string_literals;
  const std::string more(600, 'x');
  const std::pair<std::string, std::string> kinds[] = {
      {"PK\3\4\0\0\x08\x08"s, "torch.save"},
      {"PK\3\4\0\0\x08\x08"s, "safetensors.torch.save_file(state_dict"},
      {"\x80\x02}q\x00(X\x05"s, "a Python pickle: load it with torch"},
      {"\x80\x04\x95\x10\0\0\0\0"s, "a Python pickle"},
      {"\x93NUMPY\1\0v\0"s, "a NumPy array (.npy): norma reads weights as safetensors.torch.save_file"},
      {"\x89HDF\r\n\x1a\n"s, "an HDF5 file"},
      {"\x08\x07\x12\x07pytorch"s, "an ONNX model"},
      {"GGUF\3\0\0\0"s, "a GGUF file"},
      {"\x1f\x8b\x08\0\0\0\0\0"s, "a gzip file: unpack it first"},
      {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"<!DOCTYPE html><html>", "an HTML page"},
  };
  for (const auto& [begin, words] : kinds)
    for (const std::string& file : {begin, begin + more, begin + std::string(1'000'000, 'x')})
      expect_error(ErrorKind::data, {"is not a safetensors file but", words}, [&] { read(file); });
  expect_error(ErrorKind::data, {"cut short"}, [&] { read(file_of("F32", std::vector<float>(9)).substr(0, 30)); });
}

std::vector<std::uint16_t> all_sixteen_bits() {
  std::vector<std::uint16_t> all;
  for (std::uint32_t i = 0; i < 65536; ++i) all.push_back(static_cast<std::uint16_t>(i));
  return all;
}

TEST(ForeignWeights, EveryHalfIsReadExactly) {
  const Checkpoint c = read(file_of("F16", all_sixteen_bits()));
  ASSERT_EQ(c.notes, std::vector<std::string>{"'w' of F16 is read as F32"});
  const std::vector<float> values = c.tensors.at(0).floats();
  ASSERT_EQ(values.size(), 65536u);
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const int sign = i >> 15 ? -1 : 1, exponent = static_cast<int>(i >> 10 & 31), fraction = static_cast<int>(i & 1023);
    if (exponent == 31 && fraction) {
      ASSERT_TRUE(std::isnan(values[i])) << i;
      continue;
    }
    const double expected = exponent == 31  ? INFINITY
                            : exponent == 0 ? std::ldexp(fraction, -24)
                                            : std::ldexp(1024 + fraction, exponent - 25);
    ASSERT_EQ(static_cast<double>(values[i]), sign * expected) << i;
    ASSERT_EQ(std::signbit(values[i]), sign < 0) << i;
  }
}

TEST(ForeignWeights, EveryBrainFloatIsReadExactly) {
  const Checkpoint c = read(file_of("BF16", all_sixteen_bits()));
  const std::vector<std::byte>& bytes = c.tensors.at(0).bytes;
  ASSERT_EQ(bytes.size(), 65536u * 4);
  for (std::uint32_t i = 0; i < 65536; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * 4, 4);
    ASSERT_EQ(bits, i << 16);
  }
}

TEST(ForeignWeights, DoublesAreRoundedToNearestAndNeverToInfinity) {
  const std::vector<double> values{1.0, 1 + 0x1p-24, 1 + 3 * 0x1p-24, 0.1, -0.0, 1e-46, 0x1.fffffep127, -INFINITY, std::nan("")};
  std::vector<double> many(20000, 0.5);  // more than a block of the reader
  many.insert(many.end(), values.begin(), values.end());
  const std::vector<float> f = read(file_of("F64", many)).tensors.at(0).floats();
  ASSERT_EQ(f.size(), many.size());
  for (std::size_t i = 0; i + 1 < many.size(); ++i) ASSERT_EQ(f[i], static_cast<float>(many[i])) << i;
  EXPECT_EQ(f[20001], 1.0f);  // to even
  EXPECT_TRUE(std::isnan(f.back()));
  for (const double bad : {1e39, -1e308, 0x1.ffffffp127})
    expect_error(ErrorKind::data, {"'w'", "F64"}, [&] { read(file_of("F64", std::vector<double>{1, bad})); });
}

TEST(ForeignWeights, ANetInHalvesIsReadWithItsNotes) {
  std::string header = "{", data;
  for (const StoredTensor& t : trained().tensors) {
    std::string bytes;
    const bool half = t.dtype == DType::f32;
    if (half)
      for (const float v : t.floats()) {
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(v) >> 16;
        bytes += static_cast<char>(bits & 255), bytes += static_cast<char>(bits >> 8);
      }
    else bytes.assign(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
    std::string shape;
    for (const std::int64_t d : t.shape) shape += (shape.empty() ? "" : ",") + std::to_string(d);
    header += (header.size() > 1 ? ",\"" : "\"") + t.name + R"(":{"dtype":")" + (half ? "BF16" : "I64") + R"(","shape":[)" + shape +
              R"(],"data_offsets":[)" + std::to_string(data.size()) + "," + std::to_string(data.size() + bytes.size()) + "]}";
    data += bytes;
  }
  header += "}";
  std::string length(8, '\0');
  const std::uint64_t n = header.size();
  std::memcpy(length.data(), &n, 8);
  const Checkpoint c = read(length + header + data);
  Trainer t{net, options()};
  const std::vector<std::string> notes = t.load_model(c);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0], "'conv1.weight' and 13 more tensors of BF16 are read as F32");
  EXPECT_EQ(t.read("fc2.weight"), c.find("fc2.weight")->floats());
}

}  // namespace
}  // namespace norma
