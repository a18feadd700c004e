// Recipes with overrides, and comparisons.
#include <algorithm>

#include "apps/norma/compare/comparison.h"
#include "apps/norma/recipe/recipe.h"
#include "tests/fuzz/fuzz.h"

namespace norma::fuzz {
namespace {

app::RecipeSource source(std::string text) { return {"fuzz", std::move(text), "fuzz.toml", folder()}; }

// A recipe, then "field=value" for each --set, between bytes of 0. An accepted recipe is written as a file with an equal meaning.
void run_recipe(Bytes input) {
  const std::vector<std::string> given = parts(input);
  std::vector<app::Override> overrides;
  for (std::size_t i = 1; i < given.size(); ++i) {
    const std::size_t equals = std::min(given[i].find('='), given[i].size());
    const std::string key = given[i].substr(0, equals);
    overrides.push_back({key, equals < given[i].size() ? given[i].substr(equals + 1) : "", "--set " + key});
  }
  app::Recipe recipe;
  if (!refused_or_read({ErrorKind::usage}, [&] { recipe = app::parse_recipe(source(given[0]), overrides); })) return;
  const std::string written = app::write_toml(recipe);
  app::Recipe again;
  expect(refused_or_read({ErrorKind::usage}, [&] { again = app::parse_recipe(source(written)); }), "a recipe refused once it was written");
  expect(app::flatten(again) == app::flatten(recipe), "another recipe once written and read again");
}

void recipe_seeds(const std::function<void(const std::string&)>& add) {
  for (const app::EmbeddedRecipe& r : app::embedded_recipes()) add(std::string(r.text));
  using namespace std::string_literals;
  const std::string overrides = "\0optimizer.kind=adamw\0model.layers.0.out=3\0data.mean=[0.5]\0train.groups=[{pattern=\"*\",rate=0.5}]"s;
  for (const app::EmbeddedRecipe& r : app::embedded_recipes().first(1)) add(std::string(r.text) + overrides);
}

void run_comparison(Bytes input) {
  app::Comparison comparison;
  if (!refused_or_read({ErrorKind::usage}, [&] { comparison = app::parse_comparison(source(std::string(text(input)))); })) return;
  const std::string written = app::write_toml(comparison);
  app::Comparison again;
  expect(refused_or_read({ErrorKind::usage}, [&] { again = app::parse_comparison(source(written)); }),
         "a comparison refused once it was written");
  expect(app::write_toml(again) == written, "another comparison once written and read again");
  std::size_t runs = comparison.recipes.size() * static_cast<std::size_t>(std::clamp<std::int64_t>(comparison.seeds, 0, 100));
  for (const app::Variation& v : comparison.vary) runs = std::min<std::size_t>(runs * v.values.size(), 100);
  if (runs > 4) return;  // each one's net is traced
  refused_or_read({ErrorKind::usage, ErrorKind::data}, [&] { (void)app::planned_runs(comparison); });
}

void comparison_seeds(const std::function<void(const std::string&)>& add) {
  for (const app::EmbeddedRecipe& c : app::embedded_comparisons()) add(std::string(c.text));
  add("claim = \"c\"\nrecipe = \"circles\"\nseeds = 1\n[set]\ntrain.epochs = 1\n[vary]\nmodel.norm = [\"none\", \"batch\"]\n");
}

}  // namespace

const Fuzzer recipe{"recipe", "recipes and what is set on the command line", run_recipe, recipe_seeds};
const Fuzzer comparison{"comparison", "files of comparisons", run_comparison, comparison_seeds};

}  // namespace norma::fuzz
