// Turns a comparison into its runs, and names their differences.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>

#include "apps/norma/compare/comparison.h"
#include "apps/norma/recipe/reader.h"
#include "apps/norma/system/choices.h"
#include "norma/error.h"
#include "norma/graph.h"

namespace norma::app {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// Letters, digits and what else is harmless in a path.
std::string file_name(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) || std::string_view("._=,-+").find(c) != std::string_view::npos) out += c;
    else if (c != ' ' && c != '"' && c != '\'') out += '_';
  return out;
}

// All combinations, the last field changing fastest.
std::vector<Fields> combinations(const Comparison& c) {
  std::vector<Variation> all;
  if (c.recipes.size() > 1) all.push_back({recipe_field, c.recipes});
  all.insert(all.end(), c.vary.begin(), c.vary.end());
  std::vector<Fields> made{{}};
  for (const Variation& v : all) {
    std::vector<Fields> longer;
    for (const Fields& f : made)
      for (const std::string& value : v.values) {
        longer.push_back(f);
        longer.back().emplace_back(v.field, value);
      }
    made = std::move(longer);
    if (made.size() > 10'000) throw Error(ErrorKind::usage, "more than 10000 variants: vary fewer fields, or fewer values");
  }
  return made;
}

}  // namespace

std::string plain(const std::string& toml_value) {
  if (toml_value.starts_with('{')) {  // { kind = 'normal', std = 0.01 }: normal std 0.01
    std::string out;
    for (const char c : toml_value)
      if (std::string_view("{}'\"=,").find(c) == std::string_view::npos && (c != ' ' || (!out.empty() && out.back() != ' '))) out += c;
    if (out.starts_with("kind ")) out.erase(0, 5);
    while (out.ends_with(' ')) out.pop_back();
    return out;
  }
  const bool quoted = toml_value.size() >= 2 && toml_value.front() == toml_value.back() && (toml_value[0] == '"' || toml_value[0] == '\'');
  if (!quoted) return toml_value;
  try {
    if (const std::optional<std::string> text = parse_toml("value = " + toml_value)["value"].value<std::string>()) return *text;
  } catch (const toml::parse_error&) {  // said with its place where the recipe is read
  }
  return toml_value.substr(1, toml_value.size() - 2);
}

std::string last_part(const std::string& field) { return field.substr(field.rfind('.') == std::string::npos ? 0 : field.rfind('.') + 1); }

std::string label(const Fields& fields, bool named) {
  std::string out;
  for (const auto& [field, value] : fields)
    out += (out.empty() ? "" : ", ") + (named && field != recipe_field ? last_part(field) + " " : "") + plain(value);
  return out.empty() ? "as it is" : out;
}

std::string toml_value(const std::string& text) {
  if (text.empty() || text.find_first_of("\"'[]{}\n") != std::string::npos) return text;
  try {
    parse_toml("value = " + text);
    return text;
  } catch (const toml::parse_error&) {
    return toml_string(text);
  }
}

Variation parse_variation(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Error(ErrorKind::usage, fmt::format("--vary {}: KEY=VALUE,VALUE is needed, such as --vary model.norm=none,batch", text));
  Variation v{text.substr(0, equals), {""}};
  int depth = 0;
  char quote = 0;
  for (const char c : text.substr(equals + 1)) {
    if (c == ',' && depth == 0 && !quote) {
      v.values.emplace_back();
      continue;
    }
    if (quote) quote = c == quote ? '\0' : quote;
    else if (c == '"' || c == '\'') quote = c;
    else if (c == '[' || c == '{') ++depth;
    else if (c == ']' || c == '}') --depth;
    v.values.back() += c;
  }
  std::set<std::string> seen;
  for (std::string& value : v.values) {
    if (value.empty()) throw Error(ErrorKind::usage, fmt::format("--vary {}: an empty value", text));
    if (!seen.insert(value).second) throw Error(ErrorKind::usage, fmt::format("--vary {}: {} is listed twice", text, value));
    value = toml_value(value);
  }
  return v;
}

std::vector<PlannedRun> planned_runs(const Comparison& c) {
  std::set<std::string> fields;
  for (const Variation& v : c.vary) {
    if (!fields.insert(v.field).second) throw Error(ErrorKind::usage, fmt::format("{} is varied twice", v.field));
    if (std::set<std::string>(v.values.begin(), v.values.end()).size() != v.values.size())
      throw Error(ErrorKind::usage, fmt::format("{} takes a value twice: {}", v.field, join(v.values)));
    if (v.field == "train.seed") throw Error(ErrorKind::usage, "train.seed is varied by --seeds, not by --vary");
  }
  for (const std::string& r : c.recipes)
    if (std::count(c.recipes.begin(), c.recipes.end(), r) > 1) throw Error(ErrorKind::usage, fmt::format("recipe {} is named twice", r));
  std::map<std::string, RecipeSource> sources;
  for (const std::string& r : c.recipes) sources.emplace(r, find_recipe(r));

  std::map<std::string, int> ends;  // number of fields with this last part, which a folder's name may use
  for (const std::string& f : fields) ++ends[last_part(f)];
  const std::vector<Fields> variants = combinations(c);
  std::vector<PlannedRun> runs;
  std::set<std::string> names;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    std::vector<Override> overrides = c.set;
    std::string recipe = c.recipes.front(), stem;
    for (const auto& [field, value] : variants[v]) {
      if (field == recipe_field) {
        recipe = value;
        stem = file_name(std::filesystem::path(value).stem().string());
        continue;
      }
      // A varied field overrides a set one.
      std::erase_if(overrides, [&key = field](const Override& o) { return o.key == key; });
      overrides.push_back({field, value, fmt::format("{} = {} (varied)", field, plain(value))});
      stem += (stem.empty() ? "" : ",") + file_name((ends[last_part(field)] > 1 ? field : last_part(field)) + "=" + plain(value));
    }
    constexpr std::size_t longest = 120;  // of 255 that file systems allow
    if (stem.size() > longest) stem = fmt::format("{}...{}", stem.substr(0, longest), v);
    Recipe parsed = parse_recipe(sources.at(recipe), overrides);
    try {
      compile(Module(build_model(parsed.model)), trainer_options(parsed, sample_shape(parsed.data), Device::cpu()), Mode::train);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("{}: {}", label(variants[v], true), e.what()));
    }
    for (std::int64_t s = 0; s < c.seeds; ++s) {
      PlannedRun run{stem + fmt::format("{}seed={}", stem.empty() ? "" : ",", s), v, variants[v], static_cast<std::uint64_t>(s), parsed};
      run.recipe.train.seed = run.seed;
      if (!names.insert(run.name).second) run.name += fmt::format(",variant={}", v), names.insert(run.name);
      runs.push_back(std::move(run));
    }
  }
  // Seed by seed: the first rows of an interrupted comparison are whole.
  std::stable_sort(runs.begin(), runs.end(), [](const PlannedRun& a, const PlannedRun& b) { return a.seed < b.seed; });
  return runs;
}

}  // namespace norma::app
