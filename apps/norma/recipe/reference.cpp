#include "apps/norma/recipe/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include "apps/norma/recipe/fields.h"
#include "apps/norma/system/choices.h"

namespace norma::app {
namespace {

using Field = FieldReference;
using Chosen = std::map<std::string, std::string>;  // a choice's key, and the word it gets

template <class S>
void describe_section(S section, const std::string& path, const char* help, std::vector<TableReference>& tables);

std::string shown(const Size2& v) { return v.h == v.w ? fmt::format("{}", v.h) : fmt::format("[{}, {}]", v.h, v.w); }

// Visitor that notes a section's fields. A choice in `chosen` gets that word, as if a recipe had said so. Sections in the section become
// tables of their own, where there are `tables`.
class RecipeDescriber {
 public:
  static constexpr bool reading = true;

  explicit RecipeDescriber(const Chosen& chosen, std::string path = "", std::vector<TableReference>* tables = nullptr)
      : chosen_(chosen), path_(std::move(path)), tables_(tables) {}

  template <class... Key>
  void require(const Key&... keys) {
    (required_.insert(keys), ...);
  }
  template <class F>
  void check(const char*, F) {}
  void refuse(const char*, const char*) {}
  void boolean(const char* key, bool value, const char* help) {
    add(key, Field::Kind::boolean, "true or false", value ? "true" : "false", help);
  }
  void boolean(const char* key, const std::optional<bool>&, const char* help) { add(key, Field::Kind::boolean, "true or false", "", help); }
  void text(const char* key, const std::string& value, const char* help) {
    add(key, Field::Kind::word, "a string", value.empty() ? "" : toml_string(value), help);
  }
  void texts(const char* key, const std::vector<std::string>&, const char* help) {
    add(key, Field::Kind::compound, "an array of strings", "", help);
  }
  void path(const char* key, const std::filesystem::path&, const char* help) { add(key, Field::Kind::path, "a path", "", help); }
  void number(const char* key, double value, Range range, const char* help) {
    add(key, Field::Kind::number, describe(range), decimal(value), help);
  }
  void number(const char* key, const std::optional<double>&, Range range, const char* help) {
    add(key, Field::Kind::number, describe(range), "", help);
  }
  void number_or_none(const char* key, const std::optional<double>& value, Range range, const char* help) {
    add(key, Field::Kind::number, describe(range) + ", or \"none\"", value ? decimal(*value) : "\"none\"", help);
  }
  void numbers(const char* key, const std::vector<double>&, Range range, const char* help) {
    add(key, Field::Kind::compound, describe(range) + ", or an array of such", "", help);
  }
  void integer(const char* key, std::int64_t value, std::int64_t low, std::int64_t high, const char* help) {
    add(key, Field::Kind::integer, describe_integers(low, high), fmt::format("{}", value), help);
  }
  void seed(const char* key, std::uint64_t value, std::int64_t high, const char* help) {
    integer(key, static_cast<std::int64_t>(value), 0, high, help);
  }
  void size(const char* key, const std::optional<Size2>& value, std::int64_t low, std::int64_t high, const char* help) {
    add(key, Field::Kind::compound, describe_integers(low, high) + ", or [height, width]", value ? shown(*value) : "", help);
  }
  void init(const char* key, const Init& value, const char* help) {
    for (const auto& [name, kind] : init_names)
      if (kind == value.kind) add(key, Field::Kind::compound, "an initialiser", toml_string(name), help);
  }
  void layers(const char* key, const std::vector<LayerSpec>&, std::size_t least, const char* help) {
    add(key, Field::Kind::compound, least ? "an array of layers, at least one" : "an array of layers", "", help);
  }
  void groups(const char* key, const std::vector<ParameterGroup>&, const char* help) {
    add(key, Field::Kind::compound, "an array of groups", "", help);
    if (tables_)
      describe_section(ParameterGroup{}, path_ + "." + key,
                       "A group: a table of the array, such as `groups = [{ pattern = \"conv1.*\", rate = 0 }]`", *tables_);
  }
  template <class E, std::size_t N>
  void choice(const char* key, E& value, const Names<E, N>& names, const char* help) {
    std::vector<std::string> words;
    std::string before;
    for (const auto& [name, e] : names) {
      words.emplace_back(name);
      if (e == value) before = toml_string(name);
    }
    add(key, Field::Kind::word, "one of " + join(words), before, help);
    fields_.back().choices = std::move(words);
    if (const auto at = chosen_.find(key); at != chosen_.end())
      for (const auto& [name, e] : names)
        if (name == at->second) value = e;
  }
  template <class S>
  void section(const char* key, const S& value, const char* help) {
    if (tables_) describe_section(value, path_.empty() ? key : path_ + "." + key, help, *tables_);
  }

  std::vector<Field> fields() && { return std::move(fields_); }

 private:
  void add(const char* key, Field::Kind kind, std::string values, std::string otherwise, const char* help) {
    const bool required = required_.contains(key);
    fields_.push_back({key, kind, {}, std::move(values), required ? "" : std::move(otherwise), required, help, {}});
  }

  const Chosen& chosen_;
  std::string path_;
  std::vector<TableReference>* tables_;
  std::set<std::string> required_;
  std::vector<Field> fields_;
};

bool same(const Field& a, const Field& b) {
  return a.key == b.key && a.values == b.values && a.otherwise == b.otherwise && a.required == b.required && a.help == b.help;
}

template <class S>
std::vector<Field> described(S section, const Chosen& chosen) {
  RecipeDescriber d(chosen);
  fields(d, section);
  return std::move(d).fields();
}

// Adds to `fields` those that exist for other words of the choice `selector`. Those that not every word has are marked.
template <class S>
void add_alternatives(std::vector<Field>& fields, const S& section, Chosen chosen, const Field& selector) {
  std::vector<std::vector<std::string>> words(fields.size());
  for (const std::string& word : selector.choices) {
    chosen[selector.key] = word;
    const std::vector<Field> of_word = described(section, chosen);
    const auto has = [](const std::vector<Field>& all, const Field& f) {
      return std::find_if(all.begin(), all.end(), [&](const Field& other) { return same(other, f); });
    };
    std::size_t at = 0;
    for (const Field& f : of_word) {
      const auto found = has(fields, f);
      if (found != fields.end()) {
        at = static_cast<std::size_t>(found - fields.begin());
      } else {  // behind one of that key for other words, else behind all that only other words have
        const auto last = std::find_if(fields.rbegin(), fields.rend(), [&](const Field& other) { return other.key == f.key; });
        if (last != fields.rend()) at = static_cast<std::size_t>(last.base() - fields.begin());
        else
          while (at < fields.size() && has(of_word, fields[at]) == of_word.end()) ++at;
        fields.insert(fields.begin() + static_cast<std::ptrdiff_t>(at), f);
        words.emplace(words.begin() + static_cast<std::ptrdiff_t>(at));
      }
      words[at++].push_back(word);
    }
  }
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (!words[i].empty() && words[i].size() < selector.choices.size()) fields[i].with.emplace_back(selector.key, std::move(words[i]));
}

// All fields of a section, for all words of its choices but those in `chosen`.
template <class S>
std::vector<Field> all_fields(const S& section, const Chosen& chosen, const std::vector<Field>& first) {
  std::vector<Field> all = first;
  for (const Field& f : first)
    if (!f.choices.empty() && !chosen.contains(f.key)) add_alternatives(all, section, chosen, f);
  return all;
}

template <class S>
void describe_section(S section, const std::string& path, const char* help, std::vector<TableReference>& tables) {
  const std::size_t at = tables.size();
  tables.push_back({TableReference::Of::section, path, help, {}});
  const Chosen none;
  RecipeDescriber d(none, path, &tables);
  const S standard = section;
  fields(d, section);
  tables[at].fields = all_fields(standard, none, std::move(d).fields());
}

void describe_layers(std::vector<TableReference>& tables) {
  const std::size_t common = tables.size();
  tables.push_back({TableReference::Of::layer, "", "", {}});
  for (const auto& [name, index] : layer_names.all) {
    const Chosen chosen{{"type", name}};
    TableReference table{TableReference::Of::layer, name, "", {}};
    std::vector<Field> of_all;
    for (Field& f : all_fields(LayerSpec{}, chosen, described(LayerSpec{}, chosen)))
      (f.key == "type" || f.key == "name" ? of_all : table.fields).push_back(std::move(f));
    tables[common].fields = std::move(of_all);
    tables.push_back(std::move(table));
  }
}

std::vector<TableReference> describe_recipe() {
  std::vector<TableReference> tables;
  describe_section(Recipe{}, "", "", tables);
  describe_layers(tables);
  tables.push_back({TableReference::Of::init, "", "", all_fields(Init{}, {}, described(Init{}, {}))});
  return tables;
}

// ---------------------------------------------------------------------------------------------- the page

std::string code(const std::string& text) { return "`" + text + "`"; }

std::string with_of(const Field& f) {
  std::string text;
  for (const auto& [choice, words] : f.with) {
    std::string list;
    for (const std::string& w : words) list += (list.empty() ? "" : ", ") + code(w);
    text += (text.empty() ? "" : "; ") + code(choice) + " " + list;
  }
  return text;
}

std::string values_of(const Field& f) {
  if (f.choices.empty()) return f.values;
  std::string list;
  for (const std::string& c : f.choices) list += (list.empty() ? "" : ", ") + code(c);
  return list;
}

std::string rows(const std::vector<Field>& fields) {
  const bool depends = std::any_of(fields.begin(), fields.end(), [](const Field& f) { return !f.with.empty(); });
  std::string out = depends ? "| key | only with | values | default | meaning |\n|---|---|---|---|---|\n"
                            : "| key | values | default | meaning |\n|---|---|---|---|\n";
  for (const Field& f : fields)
    out += fmt::format("| {} |{} {} | {} | {} |\n", code(f.key), depends ? " " + with_of(f) + " |" : "", values_of(f),
                       f.required            ? "required"
                       : f.otherwise.empty() ? ""
                                             : code(f.otherwise),
                       f.help);
  return out;
}

std::string layers_without_keys() {
  std::string list;
  for (const TableReference& t : recipe_reference())
    if (t.of == TableReference::Of::layer && t.fields.empty()) list += (list.empty() ? "" : ", ") + code(t.name);
  return "\nThese have no others: " + list + ".\n";
}

constexpr const char* page_begin = R"(# Recipe reference

This page lists every key of a [recipe](README.md). `norma explain recipe` prints it. Sections come first, then [layers](#layers) and
[initialisers](#initialisers).

- A key in a section can be set by a flag: `--set optimizer.lr=0.1`, `--set model.layers.0.out=12`.
- A key without a default may be left out, unless it is required.
- The column "only with" names the choices for which a key exists.
- A number must be 0 or fit a float: 1.2e-38 to 3.4e38 in size.
- A relative path starts at the folder of the recipe, or at the current folder in a flag.

## Before the first section

)";

constexpr const char* layers_begin = R"(
## Layers

A layer is a table in an array: `{ type = "linear", out = 10 }`. Every layer has these keys. The next sections list those of each type.

)";

constexpr const char* init_begin = R"(
## Initialisers

An initialiser is a table, such as `weight_init = { kind = "normal", std = 0.01 }`. Its kind alone will do: `weight_init = "he_normal"`.

)";

}  // namespace

const std::vector<TableReference>& recipe_reference() {
  static const std::vector<TableReference> tables = describe_recipe();
  return tables;
}

std::string reference_page() {
  std::string out;
  for (const TableReference& t : recipe_reference()) {
    const bool first_of_kind = t.name.empty();
    switch (t.of) {
      case TableReference::Of::section: out += first_of_kind ? page_begin : fmt::format("\n## {}\n\n{}.\n\n", code(t.name), t.help); break;
      case TableReference::Of::layer:
        if (t.fields.empty()) continue;
        out += first_of_kind ? layers_begin : fmt::format("\n### {}\n\n", code(t.name));
        break;
      case TableReference::Of::init: out += init_begin; break;
    }
    out += rows(t.fields);
    if (t.of == TableReference::Of::layer && first_of_kind) out += layers_without_keys();
  }
  return out;
}

FieldReference field_reference(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  const std::string_view section = path.substr(0, dot), key = path.substr(dot + 1);
  std::optional<FieldReference> found;
  for (const TableReference& t : recipe_reference())
    if (t.of == TableReference::Of::section && t.name == section)
      for (const FieldReference& f : t.fields) {
        if (f.key != key) continue;
        if (found) found->with.clear();
        else found = f;
      }
  if (!found) throw std::logic_error("a recipe has no " + std::string(path));
  return *found;
}

}  // namespace norma::app
