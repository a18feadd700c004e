// A comparison: recipes, and variations of their fields, run side by side. It is data: a TOML file (apps/recipes/comparisons/) or flags of
// `norma compare`. The list of runs follows from it.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/norma/compare/measures.h"
#include "apps/norma/recipe/recipe.h"

namespace norma::app {

// A field of the recipe and the values it takes, as TOML ("0.1", "\"batch\"", "[0.5, 0.5]").
struct Variation {
  std::string field;
  std::vector<std::string> values;
};

// One condition of a claim. It compares the runs whose `field` is `value` with those that have another value.
struct Check {
  enum class Kind : std::uint8_t {
    better,   // their measure is better, at the fields of `at`, by more than the spread over seeds explains
    sooner,   // they reach the others' last value of the measure in fewer epochs, for every seed
    further,  // they work up to a larger value of the field `over`: the largest at which their mean measure is at least `works`
    oftener,  // they work (measure at least `works`) with more of the combinations of all other fields
  };
  Kind kind = Kind::better;
  std::string field{}, value{};
  std::string against{};  // one other value; empty: each of them
  std::map<std::string, std::string> at{};
  std::string over{};
  std::string measure{};  // empty: the comparison's
  double works = 0;
};

struct Comparison {
  std::string name{}, claim{}, description{};
  std::vector<std::string> recipes{};
  std::vector<Override> set{};  // of all runs
  std::vector<Variation> vary{};
  std::int64_t seeds = 3;
  Measure measure = Measure::test_accuracy;
  std::vector<Check> checks{};
};

// The field that stands for the recipe where there are several.
inline constexpr const char* recipe_field = "recipe";

// One training run of it.
struct PlannedRun {
  std::string name;                                         // of its folder: "norm=batch,lr=0.1,seed=2"
  std::size_t variant = 0;                                  // all but the seed: index into Plans::variants
  std::vector<std::pair<std::string, std::string>> fields;  // what is varied -> value, as in Comparison::vary; recipe_field first
  std::uint64_t seed = 0;
  Recipe recipe;
};

// The differences between variants in words: "batch, 0.1". `named` puts the last part of each field's name before its value.
std::string label(const std::vector<std::pair<std::string, std::string>>& fields, bool named = false);
// A word as a TOML string, as --set takes it; anything else as it is.
std::string toml_value(const std::string& text);
// "\"batch\"" -> "batch"
std::string plain(const std::string& toml_value);
// "model.norm" -> "norm"
std::string last_part(const std::string& field);

// Finds a comparison by its name in apps/recipes/comparisons (built in), or by a path that ends in .toml and has no [model]. Returns
// nothing where no comparison has that name.
std::optional<RecipeSource> find_comparison(const std::string& path_or_name);
std::span<const EmbeddedRecipe> embedded_comparisons();

// Strict as parse_recipe. Throws Error(usage) with file, line and column.
Comparison parse_comparison(const RecipeSource& source);
// The file from which parse_comparison reads the same again.
std::string write_toml(const Comparison& comparison);

// "model.norm=none,batch" -> a Variation; commas within brackets or quotes do not separate. Throws Error(usage).
Variation parse_variation(const std::string& text);

// Every combination, seed by seed, so that an interrupted comparison has whole rows. Each recipe has been parsed and its net traced. Throws
// Error(usage) naming the variant, before anything runs: unknown field, value out of range, impossible net.
std::vector<PlannedRun> planned_runs(const Comparison& comparison);

}  // namespace norma::app
