// The visitor that fills a section of a recipe from a TOML table, strictly. Errors: a wrong type, a value out of range, a key that no field
// asked for. They name file, line and column, or the flag.
#pragma once
#include <toml++/toml.h>

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "apps/norma/recipe/fields.h"
#include "apps/norma/system/choices.h"
#include "norma/error.h"

namespace norma::app {

// The origin of a recipe's values.
struct RecipeOrigin {
  std::string file;                          // as in messages
  std::filesystem::path folder;              // of relative paths
  std::map<std::string, std::string> flags;  // dotted path -> the flag that set it

  // The flag that set `path` or a part that holds it; null: it stands in the file.
  const std::string* flag(std::string_view path) const;
  // The start of a message about `path`: the flag that set it, or file, line, column and `path`.
  std::string place(const std::string& path, const toml::source_region& where) const;
  // Throws Error(usage).
  [[noreturn]] void fail(const std::string& path, const toml::source_region& where, const std::string& message) const;
};

// Calls toml::parse, which recurses once for every part of a key. More than most_key_parts parts on one path are a toml::parse_error that
// names the line.
toml::table parse_toml(const std::string& text);
inline constexpr std::size_t most_key_parts = 256;

// Describes a value for a message: "an integer", "a string 'abc'".
std::string describe(const toml::node& node);

class RecipeReader {
 public:
  static constexpr bool reading = true;

  RecipeReader(const toml::table& table, const RecipeOrigin& origin, std::string path)
      : table_(table), origin_(origin), path_(std::move(path)) {}

  template <class... Key>
  void require(const Key&... keys) {
    (require_one(keys), ...);
  }
  void boolean(const char* key, bool& value, const char* help);
  void boolean(const char* key, std::optional<bool>& value, const char* help);
  void text(const char* key, std::string& value, const char* help);
  void texts(const char* key, std::vector<std::string>& values, const char* help);
  void path(const char* key, std::filesystem::path& value, const char* help);
  void number(const char* key, double& value, Range range, const char* help);
  void number(const char* key, std::optional<double>& value, Range range, const char* help);
  void number_or_none(const char* key, std::optional<double>& value, Range range, const char* help);
  void numbers(const char* key, std::vector<double>& values, Range range, const char* help);
  template <class I>
  void integer(const char* key, I& value, std::int64_t low, std::int64_t high, const char*) {
    if (const toml::node* n = find(key)) value = static_cast<I>(integer_of(key, *n, low, high));
  }
  void seed(const char* key, std::uint64_t& value, std::int64_t high, const char* help) { integer(key, value, 0, high, help); }
  void size(const char* key, Size2& value, std::int64_t low, std::int64_t high, const char* help);
  void size(const char* key, std::optional<Size2>& value, std::int64_t low, std::int64_t high, const char* help);
  void init(const char* key, Init& value, const char* help);
  void layers(const char* key, std::vector<LayerSpec>& value, std::size_t least, const char* help);
  void groups(const char* key, std::vector<ParameterGroup>& value, const char* help);
  template <class E, std::size_t N>
  void choice(const char* key, E& value, const Names<E, N>& names, const char*) {
    std::array<std::string, N> known;
    for (std::size_t i = 0; i < N; ++i) known[i] = names[i].first;
    if (const toml::node* n = find(key)) value = names[choice_of(key, *n, known)].second;
  }
  template <class S>
  void section(const char* key, S& value, const char*) {
    if (const toml::node* n = find(key)) {
      RecipeReader inner = table_reader(key, *n);
      fields(inner, value);
      inner.finish();
    }
  }
  // An option that only the library can judge.
  template <class F>
  void check(const char* key, F f) {
    try {
      f();
    } catch (const Error& e) {
      const toml::node* n = table_.get(key);
      origin_.fail(path_of(key), n ? n->source() : table_.source(), e.what());
    }
  }
  // A key that is there is an error.
  void refuse(const char* key, const std::string& why) const {
    if (const toml::node* n = table_.get(key)) fail(key, *n, why);
  }
  // Every key must have been asked for.
  void finish() const;

 private:
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  [[noreturn]] void fail(const std::string& key, const toml::node& at, const std::string& message) const {
    origin_.fail(path_of(key), at.source(), message);
  }
  const toml::node* find(const char* key);
  void require_one(const char* key) const;
  RecipeReader table_reader(const std::string& key, const toml::node& node) const;
  // Reads an array of tables into `value`; of: what they are, in the plural.
  template <class T>
  const toml::array* tables(const char* key, std::vector<T>& value, const char* of);
  double number_of(const std::string& key, const toml::node& node, Range range) const;
  std::int64_t integer_of(const std::string& key, const toml::node& node, std::int64_t low, std::int64_t high) const;
  std::size_t choice_of(const std::string& key, const toml::node& node, std::span<const std::string> known) const;

  const toml::table& table_;
  const RecipeOrigin& origin_;
  std::string path_;
  std::vector<std::string> known_;  // keys asked for, in order
};

}  // namespace norma::app
