// A comparison's file: found, read strictly, and written back.
#include "apps/norma/compare/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "apps/norma/recipe/reader.h"
#include "norma/text.h"

namespace norma::app {
namespace {

constexpr std::pair<const char*, Check::Kind> check_names[] = {
    {"better", Check::Kind::better}, {"sooner", Check::Kind::sooner}, {"further", Check::Kind::further}, {"oftener", Check::Kind::oftener}};

// A value on one line, numbers as short as they read back.
std::string toml_text(const toml::node& node) {
  std::string out;
  const auto list = [&](const auto& all, auto text) {
    for (const auto& one : all) out += (out.empty() ? "" : ", ") + text(one);
  };
  if (const toml::array* a = node.as_array()) {
    list(*a, [](const toml::node& n) { return toml_text(n); });
    return "[" + out + "]";
  }
  if (const toml::table* t = node.as_table()) {
    list(*t, [](const auto& entry) { return std::string(entry.first.str()) + " = " + toml_text(entry.second); });
    return "{ " + out + " }";
  }
  if (const auto* s = node.as_string()) return toml_string(**s);
  if (const auto* f = node.as_floating_point()) {
    out = fmt::format("{}", **f);
    return out.find_first_of(".en") == std::string::npos ? out + ".0" : out;
  }
  std::ostringstream text;
  node.visit([&](const auto& v) { text << v; });
  return text.str();
}

// Calls f(dotted key, node) for all of the section that is no table; an inline one is a value.
template <class F>
void for_each_field(const toml::table& table, const RecipeOrigin& origin, const std::string& section, F f, const std::string& path = "") {
  for (const auto& [key, node] : table) {
    const std::string name = path + std::string(key.str());
    const auto of_name = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; };
    if (key.empty() || !std::all_of(key.begin(), key.end(), of_name))
      origin.fail(section, key.source(),
                  fmt::format("a recipe's field is letters, digits, _ and -, with dots between them and without quotes; "
                              "got \"{}\"",
                              name));
    if (const toml::table* inner = node.as_table(); inner && !inner->is_inline()) for_each_field(*inner, origin, section, f, name + ".");
    else f(name, node);
  }
}

// The keys of a table of the file; what is not asked for is refused.
class Keys {
 public:
  Keys(const toml::table& table, const RecipeOrigin& origin, std::string path) : table_(table), origin_(origin), path_(std::move(path)) {}

  const toml::node* find(const char* key) {
    known_.emplace_back(key);
    return table_.get(key);
  }
  std::string text(const char* key, bool required = false) {
    const toml::node* n = find(key);
    if (!n && required) fail(key, table_.source(), "is missing");
    if (!n) return {};
    if (!n->is_string()) fail(key, n->source(), "must be a string, got " + describe(*n));
    return **n->as_string();
  }
  double number(const char* key, double otherwise) {
    const toml::node* n = find(key);
    if (!n) return otherwise;
    if (!n->is_number()) fail(key, n->source(), "must be a number, got " + describe(*n));
    return n->is_integer() ? static_cast<double>(**n->as_integer()) : **n->as_floating_point();
  }
  const toml::table* table(const char* key) {
    const toml::node* n = find(key);
    if (n && !n->is_table()) fail(key, n->source(), "must be a table, got " + describe(*n));
    return n ? n->as_table() : nullptr;
  }
  // A TOML value as it stands, as text.
  std::string value(const char* key, bool required) {
    const toml::node* n = find(key);
    if (!n && required) fail(key, table_.source(), "is missing");
    return n ? toml_text(*n) : std::string();
  }
  [[noreturn]] void fail(const std::string& key, const toml::source_region& at, const std::string& message) const {
    origin_.fail(path_.empty() ? key : path_ + "." + key, at, message);
  }
  void finish() const {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) == known_.end())
        fail(name, key.source(), fmt::format("unknown key \"{}\"{} (known: {})", name, did_you_mean(name, known_), join(known_)));
    }
  }

 private:
  const toml::table& table_;
  const RecipeOrigin& origin_;
  std::string path_;
  std::vector<std::string> known_;
};

std::vector<std::string> texts(Keys& keys, const char* key) {
  const toml::node* n = keys.find(key);
  if (!n) return {};
  if (n->is_string()) return {**n->as_string()};
  const toml::array* a = n->as_array();
  if (!a || a->empty() || !a->is_homogeneous(toml::node_type::string))
    keys.fail(key, n->source(), "must be a string or an array of strings, got " + describe(*n));
  std::vector<std::string> all;
  for (const toml::node& one : *a) all.push_back(**one.as_string());
  return all;
}

Check check_of(const toml::node& node, const RecipeOrigin& origin, std::size_t number, const Comparison& comparison) {
  const std::string path = fmt::format("check.{}", number);
  if (!node.is_table()) origin.fail(path, node.source(), "must be a table, got " + describe(node));
  Keys keys(*node.as_table(), origin, path);
  Check c;
  std::vector<std::string> known;
  for (const auto& [name, kind] : check_names) known.emplace_back(name);
  const std::string kind = keys.text("kind", true);
  c.kind = check_names[choose(path + ".kind", kind, known)].second;
  c.field = keys.text("field", true);
  c.value = keys.value("value", true);
  c.against = keys.value("against", false);
  const auto varied = [&](const char* key, const std::string& field) -> const Variation* {
    if (field == recipe_field) return nullptr;
    const auto found = std::find_if(comparison.vary.begin(), comparison.vary.end(), [&](const Variation& v) { return v.field == field; });
    if (found == comparison.vary.end()) keys.fail(key, node.source(), fmt::format("{} is not varied", field));
    return &*found;
  };
  const auto taken = [&](const char* key, const std::string& field, const std::string& value) {
    const Variation* v = varied(key, field);
    if (v && std::find(v->values.begin(), v->values.end(), value) == v->values.end())
      keys.fail(key, node.source(), fmt::format("{} never is {} (it is {})", field, value, join(v->values)));
  };
  taken("value", c.field, c.value);
  if (!c.against.empty()) taken("against", c.field, c.against);
  if (const toml::table* at = keys.table("at"))
    for_each_field(*at, origin, path + ".at", [&](const std::string& key, const toml::node& n) {
      c.at[key] = toml_text(n);
      taken("at", key, c.at[key]);
    });
  if (const std::string measure = keys.text("measure"); !measure.empty()) c.measure = info(measure_called(measure, path + ".measure")).name;
  const bool works = c.kind == Check::Kind::further || c.kind == Check::Kind::oftener;
  if (works) c.works = keys.number("works", 0);
  if (c.kind == Check::Kind::further) varied("over", c.over = keys.text("over", true));
  keys.finish();
  return c;
}

}  // namespace

std::optional<RecipeSource> find_comparison(const std::string& path_or_name) {
  if (path_or_name.ends_with(".toml")) {
    const RecipeSource source = find_recipe(path_or_name);
    // A recipe has a model.
    const bool recipe = source.text.find("[model]") != std::string::npos || source.text.find("layers") != std::string::npos;
    return recipe ? std::nullopt : std::optional(source);
  }
  for (const EmbeddedRecipe& e : embedded_comparisons())
    if (e.name == path_or_name)
      return RecipeSource{path_or_name, std::string(e.text), "comparison " + path_or_name + " (built in)", std::filesystem::current_path()};
  return {};
}

Comparison parse_comparison(const RecipeSource& source) {
  const RecipeOrigin origin{source.origin, source.folder, {}};
  toml::table table;
  try {
    table = parse_toml(source.text);
  } catch (const toml::parse_error& e) {
    origin.fail("", e.source(), std::string(e.description()));
  }
  Keys keys(table, origin, "");
  Comparison c;
  c.name = keys.text("name");
  if (c.name.empty()) c.name = source.name;
  c.claim = keys.text("claim");
  c.description = keys.text("description");
  c.recipes = texts(keys, "recipe");
  if (c.recipes.empty()) keys.fail("recipe", table.source(), "is missing");
  const double seeds = keys.number("seeds", static_cast<double>(c.seeds));
  if (!(seeds >= 1 && seeds <= 1000 && seeds == std::floor(seeds))) keys.fail("seeds", table.source(), "must be a whole number in 1..1000");
  c.seeds = static_cast<std::int64_t>(seeds);
  if (const std::string measure = keys.text("measure"); !measure.empty()) c.measure = measure_called(measure, source.origin + ": measure");
  if (const toml::table* set = keys.table("set"))
    for_each_field(*set, origin, "set", [&](const std::string& key, const toml::node& node) {
      c.set.push_back({key, toml_text(node), source.origin + ": set." + key});
    });
  if (const toml::table* vary = keys.table("vary"))
    for_each_field(*vary, origin, "vary", [&](const std::string& key, const toml::node& node) {
      const toml::array* a = node.as_array();
      if (!a || a->empty()) origin.fail("vary." + key, node.source(), "must be an array of values, got " + describe(node));
      Variation v{key, {}};
      for (const toml::node& one : *a) v.values.push_back(toml_text(one));
      c.vary.push_back(std::move(v));
    });
  // A table of toml++ is sorted by key; what is varied stays in the file's order.
  const auto line = [&](const Variation& v) { return table.at_path("vary." + v.field).node()->source().begin.line; };
  if (table.contains("vary"))
    std::stable_sort(c.vary.begin(), c.vary.end(), [&](const Variation& a, const Variation& b) { return line(a) < line(b); });
  if (const toml::node* checks = keys.find("check")) {
    const toml::array* a = checks->as_array();
    if (!a) origin.fail("check", checks->source(), "must be an array of tables, [[check]], got " + describe(*checks));
    for (std::size_t i = 0; i < a->size(); ++i) c.checks.push_back(check_of(*a->get(i), origin, i, c));
  }
  keys.finish();
  return c;
}

std::string write_toml(const Comparison& c) {
  const auto list = [](const std::vector<std::string>& values) {
    std::string out;
    for (const std::string& v : values) out += (out.empty() ? "" : ", ") + v;
    return "[" + out + "]";
  };
  std::vector<std::string> recipes;
  for (const std::string& r : c.recipes) recipes.push_back(toml_string(r));
  std::string out = "# What was compared: norma compare <this file> does it again.\n";
  for (const auto& [key, value] : {std::pair{"name", c.name}, {"claim", c.claim}, {"description", c.description}})
    if (!value.empty()) out += fmt::format("{} = {}\n", key, toml_string(value));
  out += fmt::format("recipe = {}\nseeds = {}\nmeasure = \"{}\"\n", list(recipes), c.seeds, info(c.measure).name);
  if (!c.set.empty()) out += "\n[set]\n";
  for (const Override& o : c.set) out += fmt::format("{} = {}\n", o.key, o.value);
  if (!c.vary.empty()) out += "\n[vary]\n";
  for (const Variation& v : c.vary) out += fmt::format("{} = {}\n", v.field, list(v.values));
  for (const Check& check : c.checks) {
    out += "\n[[check]]\n";
    for (const auto& [name, kind] : check_names)
      if (kind == check.kind) out += fmt::format("kind = \"{}\"\n", name);
    out += fmt::format("field = {}\nvalue = {}\n", toml_string(check.field), check.value);
    if (!check.against.empty()) out += fmt::format("against = {}\n", check.against);
    std::string at;
    for (const auto& [key, value] : check.at) at += fmt::format("{}{} = {}", at.empty() ? "" : ", ", key, value);
    if (!at.empty()) out += fmt::format("at = {{ {} }}\n", at);
    if (!check.over.empty()) out += fmt::format("over = {}\n", toml_string(check.over));
    if (!check.measure.empty()) out += fmt::format("measure = \"{}\"\n", check.measure);
    if (check.kind == Check::Kind::further || check.kind == Check::Kind::oftener) out += fmt::format("works = {}\n", check.works);
  }
  return out;
}

}  // namespace norma::app
