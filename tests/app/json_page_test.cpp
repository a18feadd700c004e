// apps/norma/JSON.md against the program: every object has the schema number, and the keys of a command and of a file are those of the
// page.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "apps/norma/files/json_lines.h"
#include "tests/support/sanitizers.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// How each command is run here: quickly, and to its end.
struct Sample {
  const char *command, *arguments;
  int code = 0;
};
constexpr Sample samples[] = {
    {"train", "train tiny.toml --out run"},
    {"eval", "eval run"},
    {"predict", "predict run cell.png"},
    {"convert", "convert run out.safetensors"},
    {"compare", "compare claim.toml --out lab"},
    {"plan", "plan tiny.toml --device cpu"},
    {"verify", "verify tiny.toml --device cpu"},
    {"bench step", "bench step tiny.toml --threads 1 --steps 2 --rounds 1"},
    {"bench calls", "bench calls tiny.toml --threads 1 --steps 2"},
    {"bench epoch", "bench epoch tiny.toml --epochs 2 --runs 1 --device cpu"},
    {"bench bn", "bench bn lenet/bn1 --threads 1 --seconds 0"},
    {"bench latency", "bench latency --rounds 1"},
    {"bench ops", "bench ops fc3 --seconds 0"},
    {"bench predict", "bench predict tiny.toml --samples 1 --rounds 1 --seconds 0"},
    {"inspect", "inspect run"},
    {"export", "export run cell.c"},
    {"export", "export run cell.c --weights int8 --check --force"},
    {"export", "export run cell.onnx"},
    {"bn-recalibrate", "bn-recalibrate run --out exact"},
    {"bn-fold", "bn-fold run --out folded"},
    {"explain recipe", "explain recipe"},
    {"explain batchnorm", "explain batchnorm"},
    {"data verify", "data verify --data-dir broken mnist", 3},
    {"doctor", "doctor"},
};
constexpr int no_gpu = 4;

std::string whole_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The texts in `code`, but for those in parentheses, which are values.
std::vector<std::string> codes(std::string text) {
  text = std::regex_replace(text, std::regex(R"(\([^()]*\))"), "");
  std::vector<std::string> all;
  const std::regex code("`([^`]*)`");
  for (std::sregex_iterator i(text.begin(), text.end(), code), end; i != end; ++i) all.push_back((*i)[1]);
  return all;
}

struct PageRow {
  std::string first, second;  // cells
};
std::vector<PageRow> rows_of(const std::string& wanted) {
  std::vector<PageRow> all;
  std::istringstream page(whole_file(fs::path(std::getenv("NORMA_SOURCE_DIR")) / "apps/norma/JSON.md"));
  std::string section;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("#")) section = line.substr(line.find(' ') + 1);
    std::smatch cells;
    if (section == wanted && std::regex_match(line, cells, std::regex(R"(\| (.*) \| (.*) \|)"))) all.push_back({cells[1], cells[2]});
  }
  return all;
}

using Keys = std::set<std::string>;

struct Documented {
  Keys always, all;
};

// A file's keys are the first cells of its section.
Documented of_file(const std::string& section) {
  Documented d;
  for (const PageRow& row : rows_of(section))
    for (const std::string& key : codes(row.first)) {
      d.all.insert(key);
      if (row.second.find("where") == std::string::npos) d.always.insert(key);
    }
  return d;
}

// A command's rows begin with its name, or with that of its group. A row that says on, with or where need not be there.
Documented of_command(const std::string& command) {
  Documented d;
  for (const PageRow& row : rows_of("Commands")) {
    const std::vector<std::string> names = codes(row.first);
    if (std::ranges::none_of(names, [&](const std::string& n) { return n == command || command.starts_with(n + " "); })) continue;
    const std::string words = std::regex_replace(row.first, std::regex("`[^`]*`"), "");
    const bool conditional = std::regex_search(words, std::regex(R"(\b(on|with|where)\b)"));
    for (const std::string& key : codes(row.second)) {
      if (key.ends_with(".jsonl")) {  // its keys, too
        d.all.merge(of_file(key).all);
        continue;
      }
      d.all.insert(key);
      if (!conditional) d.always.insert(key);
    }
  }
  return d;
}

// Keys whose values are maps: fields of a recipe, choices, other keys.
bool is_map(const std::string& key, const ordered_json& value) {
  return value.is_object() && (key == "fields" || key == "with" || key == "fixes");
}

void collect(const ordered_json& value, Keys& keys) {
  if (value.is_array())
    for (const ordered_json& inner : value) collect(inner, keys);
  if (!value.is_object()) return;
  for (const auto& [key, inner] : value.items()) {
    const bool of_set = key.starts_with("data: "), of_gpu = key.starts_with("gpu ");
    keys.insert(of_set ? "data: <set>" : of_gpu ? "gpu 0" : key);
    if (!is_map(key, inner)) collect(inner, keys);
  }
}

// The outermost objects of a text: one, a list of them, or one a line.
std::vector<ordered_json> objects(const std::string& text) {
  std::vector<ordered_json> all;
  if (const ordered_json one = ordered_json::parse(text, nullptr, false); one.is_array()) {
    all.assign(one.begin(), one.end());
  } else if (one.is_object()) {
    all.push_back(one);
  } else {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) all.push_back(ordered_json::parse(line));
  }
  return all;
}

void expect_documented(const std::string& text, const Documented& page) {
  Keys printed;
  const std::vector<ordered_json> all = objects(text);
  EXPECT_FALSE(all.empty());
  for (const ordered_json& o : all) {
    ASSERT_TRUE(o.is_object() && !o.empty()) << o.dump();
    EXPECT_EQ(o.begin().key(), "schema");
    EXPECT_EQ(o.begin().value(), json_schema);
    ordered_json rest = o;
    take_schema(rest);
    collect(rest, printed);
  }
  EXPECT_FALSE(printed.contains("schema")) << "it is of the outermost object alone";
  for (const std::string& key : printed) EXPECT_TRUE(page.all.contains(key)) << "the page does not have " << key;
  for (const std::string& key : page.always) EXPECT_TRUE(printed.contains(key)) << "the page has " << key << ", which was not printed";
}

class JsonPage : public ::testing::Test {
 protected:
  void SetUp() override {
    SLOW_UNDER_SANITIZERS("cli.sh runs these commands");
    if (!std::getenv("NORMA_PROGRAM") || !std::getenv("NORMA_SOURCE_DIR")) GTEST_SKIP() << "NORMA_PROGRAM or NORMA_SOURCE_DIR is not set";
    std::ofstream(folder_ / "tiny.toml") << recipe;
    std::ofstream(folder_ / "claim.toml") << "claim = \"The larger is better\"\nrecipe = \"tiny.toml\"\nseeds = 1\n[vary]\n"
                                             "optimizer.lr = [0.01, 0.02]\n[[check]]\nkind = \"better\"\nfield = \"optimizer.lr\"\n"
                                             "value = 0.02\n";
    fs::create_directories(folder_ / "broken/mnist");
    for (const char* file : {"train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"})
      std::ofstream(folder_ / "broken/mnist" / (file + std::string("-ubyte"))) << "x";
    ASSERT_EQ(run("data show digits --rows 1 --columns 1 --out cell.png"), 0) << whole_file(folder_ / "err.txt");
  }

  int run(const std::string& arguments) {
    const int status = std::system(
        ("cd " + folder_.path().string() + " && " + std::getenv("NORMA_PROGRAM") + " " + arguments + " >out.txt 2>err.txt").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // The commands that the help lists under `group`.
  std::vector<std::string> listed(const std::string& group) {
    EXPECT_EQ(run(group + " --help"), 0);
    std::istringstream help(whole_file(folder_ / "out.txt"));
    std::vector<std::string> all;
    std::smatch name;
    bool commands = false;
    for (std::string line; std::getline(help, line);) {
      if (!line.starts_with(" ")) commands = line == "Subcommands:";
      if (commands && std::regex_match(line, name, std::regex("  ([a-z][a-z-]+) +[A-Z].*")))
        all.push_back(group + (group.empty() ? "" : " ") + name[1].str());
    }
    return all;
  }

  static constexpr const char* recipe = R"([data]
name = "digits"
train_samples = 60
test_samples = 30
resize = 12
[model]
layers = [
  { type = "conv2d", out = 4, kernel = 3 }, { type = "batch_norm" }, { type = "relu" }, { type = "max_pool2d", kernel = 2 },
  { type = "flatten" }, { type = "linear", out = 10 },
]
[optimizer]
lr = 0.01
[train]
epochs = 2
batch_size = 20
[device]
kind = "cpu"
threads = 1
)";
  test::TemporaryFolder folder_;
};

TEST_F(JsonPage, HasTheKeysOfEveryCommandAndFile) {
  for (const Sample& sample : samples) {
    SCOPED_TRACE(sample.arguments);
    const int code = run(sample.arguments + std::string(" --json"));
    if (code == no_gpu && sample.command == std::string_view("bench latency")) continue;
    const bool no_onnx = !fs::exists(fs::path(std::getenv("NORMA_PROGRAM")).replace_filename("norma_onnx.so"));
    if (code == 1 && no_onnx && std::string_view(sample.arguments).ends_with(".onnx")) continue;
    ASSERT_EQ(code, sample.code) << whole_file(folder_ / "err.txt");
    expect_documented(whole_file(folder_ / "out.txt"), of_command(sample.command));
  }
  for (const char* file : {"run/environment.json", "run/metrics.jsonl", "run/health.jsonl", "lab/results.jsonl"}) {
    SCOPED_TRACE(file);
    expect_documented(whole_file(folder_ / file), of_file(fs::path(file).filename()));
  }
}

TEST_F(JsonPage, IsOfEveryCommandThatPrintsJson) {
  std::vector<std::string> all;
  for (const std::string& command : listed("")) {
    const std::vector<std::string> parts = listed(command);
    all.insert(all.end(), parts.begin(), parts.end());
    if (parts.empty()) all.push_back(command);
  }
  std::size_t print_json = 0;
  for (const std::string& command : all) {
    ASSERT_EQ(run(command + " --help"), 0);
    if (whole_file(folder_ / "out.txt").find("--json") == std::string::npos) continue;
    ++print_json;
    EXPECT_TRUE(std::ranges::any_of(
        samples, [&](const Sample& s) { return s.command == command || std::string_view(s.command).starts_with(command + " "); }))
        << "no sample of norma " << command;
  }
  EXPECT_GE(print_json, 20U);
}

}  // namespace
}  // namespace norma::app
