// Names of anybody's making: on a terminal, in JSON, in a recipe, in a shell.
#include "norma/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/norma/files/json_lines.h"
#include "apps/norma/recipe/recipe.h"
#include "apps/norma/system/log.h"
#include "apps/norma/system/terminal.h"
#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;
using test::expect_error;
using test::TemporaryFolder;

// Every byte by itself and between letters, and what UTF-8 and terminals make something of.
std::vector<std::string> odd_names() {
  std::vector<std::string> names{"caf\xc3\xa9",
                                 "\xe6\x97\xa5\xe6\x9c\xac",
                                 "-x",
                                 "--out=x",
                                 "it's",
                                 "$HOME `id` \"x\" \\",
                                 "~",
                                 "a b",
                                 "*?[]{}!#&;|<>()",
                                 "\xe2\x80\xae"
                                 "gnp.exe",
                                 "\xc2\x9b"
                                 "31m",
                                 "\xe2\x80\xa8",
                                 "\xc3",
                                 "\xe9t\xe9",
                                 "\xed\xa0\x80",
                                 "\xf4\x90\x80\x80",
                                 "\x1b]0;title\x07",
                                 "two\nlines",
                                 "1\x01"
                                 "2",
                                 "%s%n",
                                 "=ls",
                                 "a\\033b",
                                 "\xf3\xa0\x81\x81"};
  for (int byte = 1; byte < 256; ++byte) {
    names.emplace_back(1, static_cast<char>(byte));
    names.push_back("a" + std::string(1, static_cast<char>(byte)) + "1");
  }
  return names;
}

bool harmless(const std::string& text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  for (const char* mark : {"\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8", "\xf3\xa0\x81\x81"})
    if (text.find(mark) != std::string::npos) return false;
  return is_utf8(text);
}

TEST(Text, PrintableShowsEveryByteAndIsHarmless) {
  EXPECT_EQ(printable("conv1.weight \xc3\xa9 \xe6\x97\xa5"), "conv1.weight \xc3\xa9 \xe6\x97\xa5");
  EXPECT_EQ(printable("a\x1b[31m\n\t\r\x7f"), "a\\x1b[31m\\n\\t\\r\\x7f");
  EXPECT_EQ(printable("caf\xe9 \xc3"), "caf\\xe9 \\xc3");
  EXPECT_EQ(printable("\xe2\x80\xae\xc2\x9b\xf3\xa0\x81\x81"), "\\u202e\\u009b\\U000e0041");
  EXPECT_EQ(printable(std::string("\0x", 2)), "\\x00x");
  EXPECT_EQ(printable_lines("a\nb\x1b\n"), "a\nb\\x1b\n");
  for (const std::string& name : odd_names()) EXPECT_TRUE(harmless(printable(name))) << printable(name);
}

TEST(Text, ShellWordsAreOneWordOfAShell) {
  EXPECT_EQ(shell_word("runs/try-1"), "runs/try-1");
  EXPECT_EQ(shell_word("my runs/it's"), "'my runs/it'\\''s'");
  EXPECT_EQ(shell_word("-x"), "./-x");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("caf\xe9 \n"), "$'caf\\351 \\012'");
  const TemporaryFolder folder;
  std::string script;
  for (const std::string& name : odd_names()) {
    EXPECT_TRUE(harmless(shell_word(name))) << printable(name);
    script += "printf '%s\\0' " + shell_word(name) + "\n";
  }
  std::ofstream(folder / "words.sh") << script;
  const std::string command = "bash '" + (folder / "words.sh").string() + "' >'" + (folder / "words").string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream in(folder / "words", std::ios::binary);
  for (const std::string& name : odd_names()) {
    std::string word;
    ASSERT_TRUE(std::getline(in, word, '\0'));
    EXPECT_EQ(word, (name.starts_with('-') ? "./" : "") + name) << printable(name);
  }
}

TEST(Text, FiguresHaveDecimalPrefixes) {
  EXPECT_EQ(with_prefix(0, "B"), "0 B");
  EXPECT_EQ(with_prefix(512, "B"), "512 B");
  EXPECT_EQ(with_prefix(999.4, "B"), "999 B");
  EXPECT_EQ(with_prefix(999.6, "B"), "1.0 kB");
  EXPECT_EQ(with_prefix(47'040'016, "B"), "47.0 MB");
  EXPECT_EQ(with_prefix(12.34e6, ""), "12.3 M");
  EXPECT_EQ(with_prefix(2e18, "FLOP"), "2000.0 PFLOP");
  EXPECT_STREQ(prefixed(-47'040'016).prefix, "M");
  EXPECT_DOUBLE_EQ(prefixed(-47'040'016).value, -47.040016);
}

TEST(Text, JsonHoldsEveryName) {
  for (const std::string& name : odd_names()) {
    const ordered_json value{{"path", name}, {"list", {name, 1}}};
    for (const int indent : {-1, 2}) {
      const std::string text = json_text(value, indent);
      EXPECT_TRUE(indent > 0 || harmless(text)) << printable(name);
      EXPECT_EQ(ordered_json::parse(text)["path"], is_utf8(name) ? name : printable(name));
    }
  }
}

TEST(Text, ADocumentBeginsWithTheSchema) {
  EXPECT_EQ(json_schema, 1);
  EXPECT_EQ(json_document({{"a", 1}}), "{\"schema\":1,\"a\":1}\n");
  EXPECT_EQ(json_document({{"a", {{"b", 1}}}}, 1), "{\n \"schema\": 1,\n \"a\": {\n  \"b\": 1\n }\n}\n");
  EXPECT_EQ(json_document(ordered_json::array({{{"a", 1}}, {{"b", 2}}})), "[{\"schema\":1,\"a\":1},{\"schema\":1,\"b\":2}]\n");
  EXPECT_EQ(json_document(ordered_json::object()), "{\"schema\":1}\n");
  EXPECT_EQ(json_document(ordered_json::array()), "[]\n");
  ordered_json older{{"a", 1}};
  take_schema(older);
  EXPECT_EQ(older.dump(), "{\"a\":1}");
}

TEST(Text, TheLogCannotBeMadeToSayMore) {
  set_up_log({}, false);
  testing::internal::CaptureStderr();
  log_error("a\nnorma: error: b\x1b[2J: no such file\n  looked in c");
  log_warning("caf\xe9");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "norma: error: a\\nnorma: error: b\\x1b[2J: no such file\n  looked in c\nnorma: warning: caf\\xe9\n");
}

// A name that moves the cursor, colors what follows, or ends the line and begins another.
TEST(Text, NoErrorHandsANameToATerminalAsItIs) {
  const std::string name =
                        "a\x1b[2J\xc2\x9b"
                        "31m\nb\xe9",
                    shown = printable(name);
  const TemporaryFolder folder;
  const std::filesystem::path file = folder / name;
  const auto point = [&](std::vector<float> features, std::int32_t label) {
    return Dataset{.name = name, .sample = {2}, .bytes = {}, .floats = std::move(features), .labels = {label}, .classes = {}};
  };
  const Dataset good = point({1, 2}, 1), large = point({3e38f, 3e38f}, 1);
  const auto trainer = [&] { return Trainer{nn::Sequential{{name, nn::Linear{.out = 2}}}, {.input = {2}, .batch = 1}}; };
  const std::function<void()> calls[] = {
      [&] {
        trainer().fit(point({1, 2, 3}, 0), nullptr, {});
      },
      [&] {
        trainer().fit(point({1, 2}, 7), nullptr, {});
      },
      [&] {
        trainer().fit(point({1, INFINITY}, 0), nullptr, {});
      },
      [&] { trainer().fit(point({}, 0), nullptr, {}); },
      [&] { trainer().fit(large, nullptr, {.epochs = 2}); },
      [&] {
        trainer().evaluate(point({1, 2}, -100));
      },
      [&] {
        trainer().predict(large), trainer().predict(point({INFINITY, 1}, 0));
      },
      [&] { trainer().recalibrate(good, 2); },
      [&] { trainer().observe(Mode::eval, good, std::vector<std::string>{name}, 5); },
      [&] { trainer().observe(Mode::eval, good, std::vector<std::string>{name + "?"}); },
      [&] { trainer().observe(Mode::eval, good, std::vector<ObserveRequest>{{.name = name, .samples = -1}}); },
      [&] { trainer().read(name); },
      [&] { trainer().time_steps(good, 5, 1); },
      [&] { trainer().load_model({.tensors = {StoredTensor::from(name, {1}, std::vector<float>{1})}, .metadata = {}}); },
      [&] {
        trainer().load_training({.tensors = {}, .metadata = {{"norma.optimizer", name}}});
      },
      [&] { load_safetensors(file); },
      [&] { load_idx(file, file); },
      [&] { dataset_classes(name); },
      [&] { find_dataset(name + "/"); },
      [&] { check_dataset_file("mnist", name, file); },
      [&] { sha256_of_file(file); },
      [&] { write_file(file / "x", std::string_view("x")); },
      [&] { save_safetensors(file / "x", {}); },
      [&] { Device::parse(name); },
      [&] { make_executor(Device::cpu(), {.isa = name}); },
  };
  for (std::size_t i = 0; i < std::size(calls); ++i) {
    try {
      calls[i]();
      ADD_FAILURE() << "call " << i << " throws nothing";
    } catch (const Error& e) {
      const std::string text = e.what();
      EXPECT_NE(text.find(shown), std::string::npos) << i << ": " << text;
      EXPECT_TRUE(harmless(text)) << i << ": " << printable(text);
    }
  }
}

TEST(Text, ResultsCannotMoveTheCursor) {
  testing::internal::CaptureStdout();
  print_result("one\ntwo\x1b[A\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "one\ntwo\\x1b[A\n");
}

constexpr const char* recipe = R"(
[data]
name = "mnist"
[model]
layers = [{ type = "flatten" }, { type = "linear", out = 10 }]
)";

TEST(Text, APathOfARecipeIsReadableAgainOrRefused) {
  for (const std::string& name : odd_names()) {
    const Override dir{"data.dir", is_utf8(name) ? toml_string("/x/y" + name) : "/x/y" + name, "--data-dir"};
    const auto parse = [&] { return parse_recipe({"r", recipe, "r.toml", "/"}, std::span(&dir, 1)); };
    if (is_utf8(name)) EXPECT_EQ(parse_recipe({"r", write_toml(parse()), "r.toml", "/"}).data.dir, "/x/y" + name) << printable(name);
    else expect_error(ErrorKind::usage, {"is not UTF-8"}, parse);
  }
  // A relative path in a recipe whose folder is not UTF-8.
  expect_error(ErrorKind::usage, {"data.dir", "/caf\xe9/here", "is not UTF-8"}, [] {
    parse_recipe({"r", "[data]\nname = \"mnist\"\ndir = \"here\"\n[model]\nlayers = [{ type = \"flatten\" }]", "r.toml", "/caf\xe9"});
  });
}

}  // namespace
}  // namespace norma::app
