// Files of other programs: tensors of every type that the format has, and of those that it does not have yet.
#include "norma/tensor_summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"
#include "src/files/small_floats.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace norma {
namespace {

using test::expect_error;
using test::TemporaryFolder;

struct Piece {
  std::string name, dtype, shape, bytes;
};

std::filesystem::path foreign_file(const TemporaryFolder& folder, const std::vector<Piece>& pieces, const std::string& metadata = "") {
  std::string header = "{" + metadata, data;
  const char* between = metadata.empty() ? "" : ",";
  for (const Piece& p : pieces) {
    header += between + ("\"" + p.name + "\":{\"dtype\":\"" + p.dtype + "\",\"shape\":" + p.shape + ",\"data_offsets\":[") +
              std::to_string(data.size()) + "," + std::to_string(data.size() + p.bytes.size()) + "]}";
    between = ",";
    data += p.bytes;
  }
  header += "}";
  const std::uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  write_file(folder / "foreign.safetensors", file + header + data);
  return folder / "foreign.safetensors";
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.begin(), bytes.size());
  return bytes;
}

TEST(TensorSummary, HasTheFiguresOfEveryType) {
  const TemporaryFolder folder;
  const auto u8 = [](std::initializer_list<std::uint8_t> v) { return raw(v); };
  const std::vector<Piece> pieces = {
      {"bool", "BOOL", "[4]", u8({0, 1, 1, 1})},
      {"u8", "U8", "[2]", u8({0, 255})},
      {"i8", "I8", "[2]", raw<std::int8_t>({-128, 127})},
      {"u16", "U16", "[2]", raw<std::uint16_t>({0, 65535})},
      {"i16", "I16", "[2]", raw<std::int16_t>({-32768, 32767})},
      {"u32", "U32", "[2]", raw<std::uint32_t>({0, 4294967295u})},
      {"i32", "I32", "[2]", raw<std::int32_t>({-7, 9})},
      {"u64", "U64", "[2]", raw<std::uint64_t>({0, std::uint64_t{1} << 63})},
      {"i64", "I64", "[]", raw<std::int64_t>({-5})},
      {"f16", "F16", "[2]", raw<std::uint16_t>({0x3c00, 0xc000})},
      {"bf16", "BF16", "[2]", raw<std::uint16_t>({0x3f80, 0xc000})},
      {"f32", "F32", "[2,1]", raw<float>({1, -2})},
      {"f64", "F64", "[2]", raw<double>({1e300, -1})},
      {"e4m3", "F8_E4M3", "[4]", u8({0x7e, 0xfe, 0x7f, 0x38})},  // 448, -448, NaN, 1
      {"e5m2", "F8_E5M2", "[3]", u8({0x7b, 0x7c, 0xbc})},        // 57344, infinity, -1
      {"e8m0", "F8_E8M0", "[2]", u8({127, 130})},                // 1, 8
      {"f4", "F4", "[2,2]", u8({0x72, 0xf1})},                   // 1, 6, 0.5, -6
  };
  const auto file = foreign_file(folder, pieces, R"("__metadata__":{"config":"{\"layers\":[1,{\"a\":2}]}"})");
  EXPECT_EQ(foreign_types(file), (std::set<std::string>{"BOOL", "F4", "F8_E4M3", "F8_E5M2", "F8_E8M0", "I16", "I8", "U16", "U32", "U64"}));
  struct Expected {
    double low, high;
    std::int64_t count = 2, not_finite = 0;
  };
  const std::vector<Expected> expected = {{0, 1, 4},   {0, 255},          {-128, 127},       {0, 65535}, {-32768, 32767}, {0, 4294967295.0},
                                          {-7, 9},     {0, 0x1p63},       {-5, -5, 1},       {-2, 1},    {-2, 1},         {-2, 1},
                                          {-1, 1e300}, {-448, 448, 4, 1}, {-1, 57344, 3, 1}, {1, 8},     {-6, 6, 4}};
  const std::vector<TensorSummary> all = summarize_safetensors(file);
  ASSERT_EQ(all.size(), expected.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(pieces[i].name);
    EXPECT_EQ(all[i].name, pieces[i].name);
    EXPECT_EQ(all[i].dtype, pieces[i].dtype);
    EXPECT_TRUE(all[i].numbers);
    EXPECT_EQ(all[i].low, expected[i].low);
    EXPECT_EQ(all[i].high, expected[i].high);
    EXPECT_EQ(all[i].count, expected[i].count);
    EXPECT_EQ(all[i].not_finite, expected[i].not_finite);
  }
  EXPECT_EQ(all[11].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(all[11].mean, -0.5);
  EXPECT_EQ(all[11].deviation, 1.5);
  EXPECT_EQ(all[11].norm, std::sqrt(5.0));
  expect_error(ErrorKind::data, "tensor 'bool': dtype 'BOOL' is not supported", [&] { load_safetensors(file); });
}

TEST(TensorSummary, ListsTypesWithoutKnownNumbers) {
  const TemporaryFolder folder;
  const auto file =
      foreign_file(folder, {{"six", "F6_E2M3", "[4]", "abc"}, {"complex", "C64", "[1]", "01234567"}, {"later", "F3_X", "[5]", "ab"}});
  const std::vector<TensorSummary> all = summarize_safetensors(file);
  ASSERT_EQ(all.size(), 3u);
  for (const TensorSummary& t : all) {
    EXPECT_FALSE(t.numbers) << t.name;
    EXPECT_EQ(t.count, 0) << t.name;
  }
  EXPECT_EQ(all[2].dtype, "F3_X");
  EXPECT_EQ(all[2].bytes, 2u);
  EXPECT_EQ(foreign_types(file), (std::set<std::string>{"C64", "F3_X", "F6_E2M3"}));
}

TEST(TensorSummary, TakesEmptyTensorsAndEmptyFiles) {
  const TemporaryFolder folder;
  const auto file = foreign_file(folder, {{"none", "F8_E4M3", "[0,3]", ""}, {"nothing", "F4", "[0]", ""}});
  const std::vector<TensorSummary> all = summarize_safetensors(file);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].shape, (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(all[0].count, 0);
  EXPECT_EQ(all[0].low, 0);
  foreign_file(folder, {});
  EXPECT_TRUE(foreign_types(file).empty());
  EXPECT_TRUE(summarize_safetensors(file).empty());
}

TEST(TensorSummary, FindsNothingForeignInNormasOwnFiles) {
  const TemporaryFolder folder;
  Checkpoint c;
  const float values[] = {1, 2};
  const std::int64_t count[] = {3};
  c.tensors = {StoredTensor::from("w", {2}, values), StoredTensor::from("bn.num_batches_tracked", {}, count)};
  save_safetensors(folder / "own", c);
  EXPECT_TRUE(foreign_types(folder / "own").empty());
  const auto cast = foreign_file(folder, {{"bn.num_batches_tracked", "U8", "[]", "\3"}, {"bn2.num_batches_tracked", "I8", "[]", "\3"}});
  EXPECT_TRUE(foreign_types(cast).empty());
  EXPECT_EQ(load_safetensors(cast).tensors.size(), 2u);
}

TEST(TensorSummary, RefusesWhatIsNoFileOfTheFormat) {
  const TemporaryFolder folder;
  for (const auto& [dtype, shape, bytes, words] : std::initializer_list<std::tuple<std::string, std::string, std::string, std::string>>{
           {"F8_E4M3", "[3]", "ab", "takes 3 bytes, data_offsets give it 2"},
           {"F4", "[3]", "ab", "does not end at a whole byte"},
           {"F6_E3M2", "[9223372036854775807]", "ab", "is larger than any file"}}) {
    const auto file = foreign_file(folder, {{"w", dtype, shape, bytes}});
    expect_error(ErrorKind::data, words, [&] { summarize_safetensors(file); });
    expect_error(ErrorKind::data, words, [&] { foreign_types(file); });
  }
  const auto nested = foreign_file(folder, {{"w", "BOOL", "[1]", "a"}}, R"("__metadata__":{"a":{"b":"c"}})");
  expect_error(ErrorKind::data, "__metadata__: values must be text", [&] { foreign_types(nested); });
  expect_error(ErrorKind::data, "no such file", [&] { foreign_types(folder / "absent"); });
}

// Every value of eight and four bits against the formula of its format: (-1)^s 2^(e - bias) (1 + m / 2^bits), without the 1 where e is 0.
TEST(TensorSummary, SmallFloatsHaveTheValuesOfTheirFormats) {
  const auto formula = [](int bits, int exponent_bits, int mantissa_bits, int bias) {
    const int mantissa = bits & ((1 << mantissa_bits) - 1), exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
    const double share = mantissa / std::ldexp(1.0, mantissa_bits);
    const double value = exponent == 0 ? std::ldexp(share, 1 - bias) : std::ldexp(1 + share, exponent - bias);
    return bits >> (exponent_bits + mantissa_bits) & 1 ? -value : value;
  };
  for (int b = 0; b < 256; ++b) {
    const auto byte = static_cast<std::uint8_t>(b);
    const float e4m3 = of_f8_e4m3(byte), e5m2 = of_f8_e5m2(byte);
    EXPECT_TRUE((b & 0x7f) == 0x7f ? std::isnan(e4m3) : e4m3 == formula(b, 4, 3, 7)) << b;
    EXPECT_TRUE((b & 0x7c) == 0x7c ? !std::isfinite(e5m2) && std::isinf(e5m2) == ((b & 3) == 0) : e5m2 == formula(b, 5, 2, 15)) << b;
  }
  for (int b = 0; b < 255; ++b) EXPECT_EQ(of_f8_e8m0(static_cast<std::uint8_t>(b)), std::ldexp(1.0, b - 127)) << b;
  EXPECT_TRUE(std::isnan(of_f8_e8m0(255)));
  for (int b = 0; b < 16; ++b) EXPECT_EQ(of_f4(b), formula(b, 2, 1, 1)) << b;
}

}  // namespace
}  // namespace norma
