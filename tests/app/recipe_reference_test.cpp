// The reference page is the program's, complete, and the source of what --help says.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "apps/norma/recipe/flags.h"
#include "apps/norma/recipe/recipe.h"
#include "apps/norma/recipe/reference.h"
#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

const TableReference& table(TableReference::Of of, const std::string& name) {
  const std::vector<TableReference>& all = recipe_reference();
  const auto found = std::find_if(all.begin(), all.end(), [&](const TableReference& t) { return t.of == of && t.name == name; });
  if (found == all.end()) throw std::logic_error("no table " + name);
  return *found;
}

std::vector<FieldReference> rows(const TableReference& t, const std::string& key) {
  std::vector<FieldReference> found;
  for (const FieldReference& f : t.fields)
    if (f.key == key) found.push_back(f);
  return found;
}

TEST(RecipeReference, ThePageIsWhatTheProgramPrints) {
  const char* source = std::getenv("NORMA_SOURCE_DIR");
  if (!source) GTEST_SKIP() << "NORMA_SOURCE_DIR is not set: it names the checkout, whose page is compared; ctest sets it";
  EXPECT_TRUE(read_file(std::string(source) + "/apps/recipes/reference.md", ErrorKind::failure) == reference_page())
      << "apps/recipes/reference.md is old. Renew it: build/norma explain recipe > apps/recipes/reference.md";
}

TEST(RecipeReference, EveryFieldHasAMeaning) {
  for (const TableReference& t : recipe_reference())
    for (const FieldReference& f : t.fields) {
      EXPECT_FALSE(f.help.empty()) << t.name << ": " << f.key;
      EXPECT_EQ(f.help.find_first_of("|\n"), std::string::npos) << f.help << " breaks the table";
      EXPECT_FALSE(f.values.empty()) << t.name << ": " << f.key;
    }
}

// A key that a run's config.toml can have is on the page, and the defaults are those that are read.
TEST(RecipeReference, HasWhatIsWritten) {
  for (const char* set : {"data.name=circles", "optimizer.kind=adam", "optimizer.kind=adamw", "schedule.kind=step", "schedule.kind=cosine",
                          "schedule.kind=one_cycle", "loss.kind=mse", "data.name=digits"}) {
    const std::string text = set;
    const std::size_t equals = text.find('=');
    const std::string key = text.substr(0, equals), word = text.substr(equals + 1), section = key.substr(0, key.find('.'));
    const std::vector<Override> overrides{{key, word, "--set"}};
    const Recipe r = parse_recipe({"test", "[data]\nname='mnist'\n[model]\nlayers=[{type='flatten'}]\n", "test.toml", "/"}, overrides);
    for (const auto& [path, value] : flatten(r)) {
      if (path.starts_with("model.layers") || path == "name") continue;
      const std::size_t dot = path.rfind('.');
      bool agrees = false;
      for (const FieldReference& f : rows(table(TableReference::Of::section, path.substr(0, dot)), path.substr(dot + 1))) {
        const bool given = path == key || f.otherwise.empty();
        const bool with =
            f.with.empty() || path.substr(0, dot) != section || std::count(f.with[0].second.begin(), f.with[0].second.end(), word) > 0;
        agrees |= with && (given || f.otherwise == value);
      }
      const bool is_init = path.ends_with("_init");  // written as a table
      EXPECT_TRUE(agrees || is_init) << set << ": " << path << " = " << value;
    }
  }
}

TEST(RecipeReference, AlternativesAreToldApart) {
  const TableReference& optimizer = table(TableReference::Of::section, "optimizer");
  const auto decays = rows(optimizer, "weight_decay");
  ASSERT_EQ(decays.size(), 2U);
  EXPECT_EQ(decays[0].otherwise, "0.0");
  EXPECT_EQ(decays[1].otherwise, "0.01");
  EXPECT_EQ(decays[1].with.at(0), (std::pair<std::string, std::vector<std::string>>{"kind", {"adamw"}}));
  ASSERT_EQ(rows(optimizer, "kind").size(), 1U);
  EXPECT_TRUE(rows(optimizer, "kind")[0].with.empty());
  const TableReference& data = table(TableReference::Of::section, "data");
  EXPECT_EQ(rows(data, "dir").at(0).with.at(0).second, (std::vector<std::string>{"mnist", "fashion-mnist"}));
  EXPECT_TRUE(rows(data, "train_images").at(0).required);
  EXPECT_TRUE(rows(table(TableReference::Of::layer, "group_norm"), "groups").at(0).required);
  EXPECT_EQ(rows(table(TableReference::Of::section, "model.group_norm"), "groups").at(0).otherwise, "2");
  EXPECT_TRUE(rows(table(TableReference::Of::section, "train.groups"), "pattern").at(0).required);
  EXPECT_EQ(rows(table(TableReference::Of::section, "train.groups"), "rate").at(0).values, "a number of at least 0");
  EXPECT_EQ(rows(table(TableReference::Of::layer, "conv2d"), "kernel").at(0).values, "an integer of at least 1, or [height, width]");
}

TEST(RecipeReference, FlagsSayWhatThePageSays) {
  CLI::App app;
  std::vector<Override> overrides;
  add_recipe_flags(app, FlagScope::all, overrides);
  const auto help = [&](const char* flag) { return app.get_option(flag)->get_description(); };
  EXPECT_EQ(help("--lr"), field_reference("optimizer.lr").help);
  EXPECT_EQ(help("--optimizer").find(field_reference("optimizer.kind").help + ": sgd, adam, "), 0U) << help("--optimizer");
  EXPECT_NE(help("--nesterov").find("--no-nesterov"), std::string::npos) << help("--nesterov");
  EXPECT_EQ(app.get_option("--data-dir")->get_type_name(), "DIR");
  EXPECT_EQ(app.get_option("--epochs")->get_type_name(), "N");
  EXPECT_EQ(app.get_option("--lr")->get_type_name(), "X");
  EXPECT_EQ(app.get_option("--isa")->get_type_name(), "NAME");
  EXPECT_THROW(field_reference("optimizer.no_such_key"), std::logic_error);
}

}  // namespace
}  // namespace norma::app
