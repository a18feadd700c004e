// safetensors: the same bytes as the reference implementation, and a clear error for every file that is not one.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "tests/support/temporary_folder.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using test::contents;
using test::TemporaryFolder;

std::string length_prefix(std::uint64_t n) {
  std::string s(8, '\0');
  std::memcpy(s.data(), &n, 8);
  return s;
}

std::string safetensors(const std::string& header, const std::string& data) { return length_prefix(header.size()) + header + data; }

// The bytes that safetensors 0.8.0 for Python writes for the tensors of reference_checkpoint().
std::string reference_bytes() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"bn1.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("conv1.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]},)"
      R"("labels":{"dtype":"I32","shape":[2],"data_offsets":[24,32]},"pixels":{"dtype":"U8","shape":[1,3],"data_offsets":[32,35]}}     )";
  const unsigned char data[] = {0x07, 0,    0, 0, 0,    0,    0,    0, 0, 0, 0xc0, 0x3f, 0,    0,    0, 0xc0, 0,   0,
                                0x80, 0x3e, 0, 0, 0xc0, 0x7f, 0x03, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0x07};
  return safetensors(header, std::string(reinterpret_cast<const char*>(data), sizeof data));
}

template <class T>
StoredTensor tensor(const char* name, DType dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {name, dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

Checkpoint reference_checkpoint() {
  return {{tensor<std::int64_t>("bn1.num_batches_tracked", DType::i64, {}, {7}),
           tensor<float>("conv1.weight", DType::f32, {2, 2}, {1.5f, -2.f, 0.25f, std::numeric_limits<float>::quiet_NaN()}),
           tensor<float>("empty", DType::f32, {0, 3}, {}), tensor<std::int32_t>("labels", DType::i32, {2}, {3, -1}),
           tensor<std::uint8_t>("pixels", DType::u8, {1, 3}, {0, 255, 7})},
          {{"format", "pt"}}};
}

void expect_same(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_EQ(a.tensors[i].name, b.tensors[i].name);
    EXPECT_EQ(a.tensors[i].dtype, b.tensors[i].dtype) << a.tensors[i].name;
    EXPECT_EQ(a.tensors[i].shape, b.tensors[i].shape) << a.tensors[i].name;
    EXPECT_EQ(a.tensors[i].bytes, b.tensors[i].bytes) << a.tensors[i].name;
  }
}

// The error of a file with these bytes; begins with the file's name.
std::string error_of(const std::string& bytes) {
  const TemporaryFolder folder;
  const fs::path file = folder / "f";
  std::ofstream(file, std::ios::binary) << bytes;
  try {
    load_safetensors(file);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    const std::string what = e.what(), prefix = file.string() + ": ";
    EXPECT_EQ(what.substr(0, prefix.size()), prefix);
    return what.substr(std::min(what.size(), prefix.size()));
  }
  ADD_FAILURE() << "expected an error";
  return {};
}

std::string usage_error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  ADD_FAILURE() << "expected an error";
  return {};
}

TEST(Safetensors, WritesTheReferenceImplementationsBytes) {
  const TemporaryFolder folder;
  save_safetensors(folder / "f", reference_checkpoint());
  EXPECT_EQ(contents(folder / "f"), reference_bytes());
}

TEST(Safetensors, ReadsTheReferenceImplementationsBytes) {
  const TemporaryFolder folder;
  std::ofstream(folder / "f", std::ios::binary) << reference_bytes();
  const Checkpoint c = load_safetensors(folder / "f");
  expect_same(c, reference_checkpoint());
  ASSERT_TRUE(c.find("conv1.weight"));
  EXPECT_EQ(c.find("conv1.weight")->floats()[1], -2.f);
  EXPECT_TRUE(std::isnan(c.find("conv1.weight")->floats()[3]));
  EXPECT_EQ(c.find("bn1.num_batches_tracked")->integers(), std::vector<std::int64_t>{7});
  EXPECT_EQ(c.find("labels")->integers(), (std::vector<std::int64_t>{3, -1}));
  EXPECT_EQ(c.find("conv2.weight"), nullptr);
}

TEST(Safetensors, KeepsTheGivenOrderAndAlignsEveryTensor) {
  const TemporaryFolder folder;
  Checkpoint c;
  c.tensors.push_back(tensor<std::uint8_t>("z", DType::u8, {3}, {1, 2, 3}));
  const std::vector<float> floats = {1, 2, 3};
  c.tensors.push_back(StoredTensor::from("quote\" backslash\\ line\n \xc3\xa4", {3, 1}, std::span<const float>(floats)));
  const std::vector<std::int64_t> integers = {-1, 1LL << 40};
  c.tensors.push_back(StoredTensor::from("a", {2}, std::span<const std::int64_t>(integers)));
  c.metadata = {{"", "empty key"}, {"text", "a \"quoted\" \xe2\x82\xac"}};
  save_safetensors(folder / "f", c);
  expect_same(load_safetensors(folder / "f"), c);

  const std::string bytes = contents(folder / "f");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(bytes.size(), 8 + header + 3 + 12 + 16);
  EXPECT_NE(bytes.find(R"("a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]})"), std::string::npos);
  EXPECT_NE(bytes.find(R"("z":{"dtype":"U8","shape":[3],"data_offsets":[28,31]})"), std::string::npos);
}

TEST(Safetensors, EmptyCheckpointAndMetadataOnly) {
  const TemporaryFolder folder;
  save_safetensors(folder / "f", {});
  EXPECT_EQ(contents(folder / "f"), safetensors("{}      ", ""));
  expect_same(load_safetensors(folder / "f"), {});
  save_safetensors(folder / "f", {{}, {{"k", "v"}}});
  expect_same(load_safetensors(folder / "f"), {{}, {{"k", "v"}}});
}

TEST(Safetensors, TensorsMayLieInAnyOrder) {
  const TemporaryFolder folder;
  std::ofstream(folder / "f", std::ios::binary)
      << safetensors(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"e":{"shape":[0],"data_offsets":[3,3],"dtype":"F32"},)"
                     R"("b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})",
                     "bAA");
  const Checkpoint c = load_safetensors(folder / "f");
  ASSERT_EQ(c.tensors.size(), 3u);
  EXPECT_EQ(c.tensors[0].name, "a");
  EXPECT_EQ(c.tensors[0].bytes, (std::vector<std::byte>{std::byte{'A'}, std::byte{'A'}}));
  EXPECT_EQ(c.tensors[2].bytes, std::vector<std::byte>{std::byte{'b'}});
}

TEST(Safetensors, WrongDTypeIsNamed) {
  const std::vector<float> v = {1};
  const StoredTensor f = StoredTensor::from("bn1.bias", {1}, std::span<const float>(v));
  EXPECT_THROW(f.integers(), Error);
  try {
    tensor<std::int64_t>("n", DType::i64, {1}, {1}).floats();
    ADD_FAILURE() << "expected an error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_STREQ(e.what(), "tensor 'n': is i64, expected f32");
  }
}

TEST(Safetensors, RefusesToWriteWhatCouldNotBeRead) {
  const TemporaryFolder folder;
  const fs::path file = folder / "f";
  const auto save = [&](std::vector<StoredTensor> tensors) { return usage_error_of([&] { save_safetensors(file, {tensors, {}}); }); };
  const StoredTensor one = tensor<float>("w", DType::f32, {1}, {1});
  EXPECT_EQ(save({one, one}), "cannot write " + file.string() + ": tensor 'w' appears twice");
  EXPECT_EQ(save({tensor<float>("w", DType::f32, {2}, {1})}),
            "cannot write " + file.string() + ": tensor 'w' has 4 bytes, which do not fill shape [2] of F32");
  EXPECT_NE(save({tensor<float>("w", DType::f32, {-1}, {1})}).find("shape [-1]"), std::string::npos);
  EXPECT_NE(save({tensor<float>("__metadata__", DType::f32, {1}, {1})}).find("keeps for metadata"), std::string::npos);
  EXPECT_NE(save({tensor<float>("\xff", DType::f32, {1}, {1})}).find("not UTF-8"), std::string::npos);
  EXPECT_NE(save({tensor<std::uint8_t>("s", DType::bytes, {1}, {1})}).find("tensor 's' is bytes"), std::string::npos);
  EXPECT_TRUE(folder.list().empty());
  const std::vector<float> three = {1, 2, 3};
  EXPECT_EQ(usage_error_of([&] {
              StoredTensor::from("w", {2, 2}, std::span<const float>(three));
            }),
            "tensor 'w': 3 values do not fill shape [2,2]");
}

TEST(Safetensors, NotAFile) {
  const TemporaryFolder folder;
  const auto error = [](const fs::path& file) -> std::string {
    try {
      load_safetensors(file);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(error(folder / "absent"), (folder / "absent").string() + ": no such file");
  EXPECT_EQ(error(folder.path()), folder.path().string() + ": is a folder, expected a safetensors file");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error(folder / "pipe"), (folder / "pipe").string() + ": is a pipe, not a regular file");
}

TEST(Safetensors, HeaderLength) {
  EXPECT_EQ(error_of(""), "0 bytes are too few for a safetensors file, which begins with an 8-byte header length");
  EXPECT_EQ(error_of("1234567"), "7 bytes are too few for a safetensors file, which begins with an 8-byte header length");
  EXPECT_EQ(error_of(length_prefix(3) + "{}"), "a header length of 3 bytes in a file of 10 (was it cut short?)");
  EXPECT_EQ(error_of(length_prefix(100'000'001) + "{}"),
            "a header length of 100000001 bytes, the format allows 100000000 (not a safetensors file?)");
  EXPECT_EQ(error_of(std::string(64, '\xff')).substr(0, 42), "a header length of 18446744073709551615 by");
  EXPECT_EQ(error_of(length_prefix(0)), "the header must be a JSON object and begin with '{'");
}

TEST(Safetensors, HeaderThatIsNotTheFormatsJson) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "the header must be a JSON object and begin with '{'"},
      {" {}", "the header must be a JSON object and begin with '{'"},
      {"{}x", "the header is not valid JSON at byte 10"},
      {"{", "the header is not valid JSON at byte 9"},
      {R"({"a":[1]})", "tensor 'a': must be a JSON object, found an array"},
      {R"({"a":null})", "tensor 'a': must be a JSON object, found null"},
      {R"({"a":{}})", "tensor 'a': no dtype"},
      {R"({"a":{"dtype":"U8","data_offsets":[0,0]}})", "tensor 'a': no shape"},
      {R"({"a":{"dtype":"U8","shape":[0]}})", "tensor 'a': no data_offsets"},
      {R"({"a":{"dtype":1,"shape":[0],"data_offsets":[0,0]}})", "tensor 'a': dtype must be text, found the number 1"},
      {R"({"a":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}})",
       "tensor 'a': dtype 'F8_E4M3' is not supported; norma reads F32, F16, BF16, F64, U8, I32 and I64"},
      {R"({"a":{"dtype":"U8","shape":0,"data_offsets":[0,0]}})", "tensor 'a': shape must be an array, found the number 0"},
      {R"({"a":{"dtype":"U8","shape":[[0]],"data_offsets":[0,0]}})", "tensor 'a': shape must hold whole numbers from 0, found an array"},
      {R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})",
       "tensor 'a': shape must hold whole numbers from 0, found the negative number -1"},
      {R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,0]}})",
       "tensor 'a': shape must hold whole numbers from 0, found '1.5', which is no whole number below 2^64"},
      {R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,0]}})",
       "tensor 'a': shape must hold whole numbers from 0, found '99999999999999999999', which is no whole number below 2^64"},
      {R"({"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,0]}})",
       "tensor 'a': shape must hold whole numbers from 0, found the text '1'"},
      {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,true]}})",
       "tensor 'a': data_offsets must hold whole numbers from 0, found true"},
      {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"extra":1}})", "tensor 'a': unknown key 'extra'"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "tensor 'a': the key 'dtype' appears twice"},
      {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
       "the header names 'a' twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "the header names '__metadata__' twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "__metadata__: the key 'k' appears twice"},
      {R"({"__metadata__":{"k":1}})", "__metadata__: values must be text, found the number 1"},
      {R"({"__metadata__":{"k":{}}})", "__metadata__: values must be text, found an object"},
      {R"({"__metadata__":"k"})", "__metadata__: must be a JSON object, found the text 'k'"},
      {"{\"\xff\":{}}", "the header is not valid JSON at byte 10"},
  };
  for (const auto& [header, expected] : cases)
    EXPECT_EQ(error_of(safetensors(header, "")).substr(0, std::strlen(expected)), expected) << "header: " << header;
}

TEST(Safetensors, DeepNestingIsRefusedWithoutRecursion) {
  EXPECT_EQ(error_of(safetensors(R"({"a":)" + std::string(1'000'000, '['), "")), "tensor 'a': must be a JSON object, found an array");
}

TEST(Safetensors, ShapesAndOffsets) {
  const auto one = [](const std::string& shape, const std::string& offsets, const std::string& data, const char* dtype = "F32") {
    return error_of(
        safetensors(R"({"a":{"dtype":")" + std::string(dtype) + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", data));
  };
  EXPECT_EQ(one("[1]", "[0]", "1234"), "tensor 'a': data_offsets must hold two numbers, found 1");
  EXPECT_EQ(one("[1]", "[0,4,8]", "1234"), "tensor 'a': data_offsets must hold two numbers, found 3");
  EXPECT_EQ(one("[1]", "[4,0]", "1234"), "tensor 'a': data_offsets [4,0] end before they begin");
  EXPECT_EQ(one("[2]", "[0,4]", "1234"), "tensor 'a': shape [2] of F32 takes 8 bytes, data_offsets give it 4");
  EXPECT_EQ(one("[]", "[0,8]", "12345678"), "tensor 'a': shape [] of F32 takes 4 bytes, data_offsets give it 8");
  EXPECT_EQ(one("[1]", "[0,4]", "12345678", "I64"), "tensor 'a': shape [1] of I64 takes 8 bytes, data_offsets give it 4");
  EXPECT_EQ(one("[4294967296,4294967296]", "[0,0]", ""), "tensor 'a': shape [4294967296,4294967296] is larger than any file");
  EXPECT_EQ(one("[4611686018427387904,4,0]", "[0,0]", "").substr(0, 16), "tensor 'a': shap");
  EXPECT_EQ(one("[18446744073709551615]", "[0,0]", ""), "tensor 'a': a dimension of 18446744073709551615");
  EXPECT_EQ(one("[1]", "[0,4]", "123"), "tensor 'a': ends at byte 4 of the data, the file holds 3 (was it cut short?)");
  EXPECT_EQ(one("[1]", "[18446744073709551612,18446744073709551616]", "1234").substr(0, 18), "tensor 'a': data_o");
  EXPECT_EQ(one("[1]", "[18446744073709551611,18446744073709551615]", "1234"),
            "tensor 'a': begins at byte 18446744073709551611; nothing fills the gap from 0");
  EXPECT_EQ(one("[1]", "[0,4]", "12345"), "1 bytes follow the last tensor, which ends at byte 4 of the data");
  EXPECT_EQ(error_of(safetensors("{}", "x")), "1 bytes follow the last tensor, which ends at byte 0 of the data");
}

TEST(Safetensors, OverlapAndGap) {
  const auto two = [](int begin) {
    return error_of(safetensors(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[)" +
                                    std::to_string(begin) + "," + std::to_string(begin + 4) + "]}}",
                                "12345678"));
  };
  EXPECT_EQ(two(3), "tensor 'b': begins at byte 3, inside tensor 'a', which ends at 4");
  EXPECT_EQ(two(0), "tensor 'b': begins at byte 0, inside tensor 'a', which ends at 4");
  EXPECT_EQ(two(5), "tensor 'b': begins at byte 5; nothing fills the gap from 4");
}

// Every cut is an error; a file with one byte changed is read or refused, and what is read can be written and read again.
TEST(Safetensors, EveryCutAndEveryChangedByte) {
  const TemporaryFolder folder;
  const fs::path file = folder / "f", copy = folder / "g";
  const std::string whole = reference_bytes();
  const auto put = [&file](const std::string& bytes) {
    fs::remove(file);  // some file systems sync a file that is truncated and written again
    std::ofstream(file, std::ios::binary) << bytes;
  };
  for (std::size_t n = 0; n < whole.size(); ++n) {
    put(whole.substr(0, n));
    EXPECT_THROW(load_safetensors(file), Error) << "cut to " << n << " bytes";
  }
  int read = 0, refused = 0;
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (const int mask : {0x01, 0x02, 0x10, 0x20, 0x80}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ mask);
      put(changed);
      try {
        const Checkpoint c = load_safetensors(file);
        ++read;
        if (i % 32 != 0) continue;  // writing syncs the disk
        save_safetensors(copy, c);
        expect_same(load_safetensors(copy), c);
      } catch (const Error& e) {
        ++refused;
        EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
      }
    }
  EXPECT_GT(read, 35 * 5);  // the data bytes at least
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace norma
