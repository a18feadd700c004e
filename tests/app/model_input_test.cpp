// A model file's description of its input comes back unchanged, and nothing else is believed.
#include "apps/norma/run/model_input.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace norma::app {
namespace {

using test::expect_error;

ModelInput pictures() {
  return {.data = "idx",
          .sample = {3, 20, 30},
          .stored = DType::u8,
          .transform = {.to_unit = false, .mean = {0.1, 0.2, 1e-30}, .stddev = {0.30000000000000004}, .resize = Size2{28, 32}},
          .classes = {"cat", "\"dog\"\n", "\u00e9"}};
}

std::map<std::string, std::string> metadata_of(const ModelInput& input) {
  std::map<std::string, std::string> all;
  write_model_input(input, all);
  return all;
}

TEST(ModelInput, ComesBackAsItWas) {
  for (const ModelInput& in :
       {pictures(), ModelInput{.data = "circles", .sample = {2}, .stored = DType::f32, .transform = {}, .classes = {}}}) {
    const std::optional<ModelInput> out = read_model_input(metadata_of(in), "m");
    ASSERT_TRUE(out);
    EXPECT_EQ(out->data, in.data);
    EXPECT_TRUE(out->sample == in.sample);
    EXPECT_EQ(out->stored, in.stored);
    EXPECT_TRUE(same(out->transform, in.transform));
    EXPECT_EQ(out->classes, in.classes);
  }
}

TEST(ModelInput, AFileOfTheFirstEditionSaysNothing) {
  EXPECT_FALSE(read_model_input({}, "m"));
  EXPECT_FALSE(read_model_input({{"format", "pt"}}, "m"));
  ModelInput large = pictures();
  large.sample = {1, 100000, 100000};
  EXPECT_TRUE(metadata_of(large).empty());
}

TEST(ModelInput, EveryValueIsChecked) {
  const std::string good = metadata_of(pictures()).at("norma.input");
  const auto refused = [&](const std::string& part, const std::string& by, const std::string& word) {
    std::string text = good;
    const std::size_t at = text.find(part);
    ASSERT_NE(at, std::string::npos) << part;
    text.replace(at, part.size(), by);
    expect_error(ErrorKind::data, {"m.safetensors", "norma.input", word}, [&] {
      read_model_input({{"norma.input", text}}, "m.safetensors");
    });
  };
  refused("\"shape\"", "\"form\"", "no shape");
  for (const char* shape : {"[]", "[3,20]", "[3,20,30,1]", "[3,0,30]", "[3,-20,30]", "[3,20.5,30]", "[3,\"20\",30]", "7", "[3,20,1e3]",
                            "[3,18446744073709551615,30]", "[4096,4096,4096]", "[2147483648,2147483648,4]"})
    refused("[3,20,30]", shape, "shape");
  for (const char* type : {"\"f16\"", "8", "null"}) refused("\"u8\"", type, "type");
  for (const char* unit : {"0", "\"false\"", "null"}) refused("false", unit, "to_unit");
  for (const char* mean : {"[0.1,0.2]", "[0.1,0.2,\"x\"]", "[0.1,0.2,1e39]", "0.1", "[0.1,0.2,null]", "[1e999]"})
    refused("[0.1,0.2,1e-30]", mean, std::string(mean).find("999") == std::string::npos ? "mean" : "JSON");
  for (const char* deviation : {"[0]", "[-1]", "[1e-50]", "[1e39]", "[null]", "[1,2]"}) refused("[0.30000000000000004]", deviation, "std");
  for (const char* size : {"[28]", "[28,0]", "[28,32,3]", "28", "[99999,99999]"}) refused("[28,32]", size, "resize");
  refused("\"idx\"", "3", "data");
  refused("{", "[", "JSON");
  refused("{", std::string(70000, ' ') + "{", "bytes");
  for (const char* text : {"[]", "3", "null", "\"x\"", "", "{"})
    expect_error(ErrorKind::data, {"norma.input"}, [&] { read_model_input({{"norma.input", text}}, "m"); });
  for (const char* names : {"{}", "[1]", "3", "[\"a\"", "[\"\xff\"]", "[[\"a\"]]"})
    expect_error(ErrorKind::data, {"norma.classes"}, [&] { read_model_input({{"norma.input", good}, {"norma.classes", names}}, "m"); });
}

}  // namespace
}  // namespace norma::app
