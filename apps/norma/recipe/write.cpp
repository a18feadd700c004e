// Turns a Recipe into config.toml, and into the flat list by which two recipes are compared.
#include <fmt/format.h>

#include "apps/norma/recipe/fields.h"

namespace norma::app {
namespace {

// Visitor that writes a section's fields, in their order.
class RecipeWriter {
 public:
  static constexpr bool reading = false;
  using Flat = std::map<std::string, std::string>;

  // depth: of the array that holds this inline table, for its line breaks.
  RecipeWriter(std::string path, Flat& flat, int depth = 1) : path_(std::move(path)), flat_(flat), depth_(depth) {}

  template <class... Key>
  void require(const Key&...) {}
  template <class F>
  void check(const char*, F) {}
  void boolean(const char* key, bool value, const char*) { leaf(key, value ? "true" : "false"); }
  void boolean(const char* key, const std::optional<bool>& value, const char* help) {
    if (value) boolean(key, *value, help);
  }
  void text(const char* key, const std::string& value, const char*) {
    if (!value.empty()) leaf(key, toml_string(value));
  }
  void texts(const char* key, const std::vector<std::string>& values, const char*) {
    std::string list;
    for (const std::string& v : values) list += (list.empty() ? "" : ", ") + toml_string(v);
    if (!list.empty()) leaf(key, "[" + list + "]");
  }
  void path(const char* key, const std::filesystem::path& value, const char* help) { text(key, value.string(), help); }
  void number(const char* key, double value, Range, const char*) { leaf(key, decimal(value)); }
  void number(const char* key, const std::optional<double>& value, Range range, const char* help) {
    if (value) number(key, *value, range, help);
  }
  void number_or_none(const char* key, const std::optional<double>& value, Range, const char*) {
    leaf(key, value ? decimal(*value) : "\"none\"");
  }
  void numbers(const char* key, const std::vector<double>& values, Range, const char*) {
    std::string list;
    for (double v : values) list += (list.empty() ? "" : ", ") + decimal(v);
    leaf(key, "[" + list + "]");
  }
  void integer(const char* key, std::int64_t value, std::int64_t, std::int64_t, const char*) { leaf(key, fmt::format("{}", value)); }
  void seed(const char* key, std::uint64_t value, std::int64_t, const char*) { leaf(key, fmt::format("{}", value)); }
  void size(const char* key, const Size2& v, std::int64_t, std::int64_t, const char*) {
    leaf(key, v.h == v.w ? fmt::format("{}", v.h) : fmt::format("[{}, {}]", v.h, v.w));
  }
  void size(const char* key, const std::optional<Size2>& value, std::int64_t low, std::int64_t high, const char* help) {
    if (value) size(key, *value, low, high, help);
  }
  template <class E, std::size_t N>
  void choice(const char* key, const E& value, const Names<E, N>& names, const char*) {
    for (const auto& [name, e] : names)
      if (e == value) leaf(key, toml_string(name));
  }
  void init(const char* key, const Init& value, const char*) {
    Flat unused;  // an initialiser is compared as a whole
    RecipeWriter inner("", unused);
    fields(inner, value);
    leaf(key, inner.inline_table());
  }
  void layers(const char* key, const std::vector<LayerSpec>& value, std::size_t, const char*) {
    flat_[path_of(key)] = fmt::format("{} layers", value.size());
    tables(key, value);
  }
  void groups(const char* key, const std::vector<ParameterGroup>& value, const char*) {
    if (!value.empty()) tables(key, value);
  }
  template <class S>
  void section(const char* key, const S& value, const char*) {
    RecipeWriter inner(path_of(key), flat_);
    fields(inner, value);
    if (const std::string text = inner.document(); !text.empty()) sections_ += "\n[" + inner.path_ + "]\n" + text;
  }

  std::string document() const {
    std::string out;
    for (const auto& [key, value] : lines_) out += key + " = " + value + "\n";
    return out + sections_;
  }
  std::string inline_table() const {
    std::string out;
    for (const auto& [key, value] : lines_) out += (out.empty() ? " " : ", ") + key + " = " + value;
    return "{" + out + " }";
  }

 private:
  template <class T>
  void tables(const char* key, const std::vector<T>& value) {
    const std::string indent(static_cast<std::size_t>(2 * depth_), ' ');
    std::string list;
    for (std::size_t i = 0; i < value.size(); ++i) {
      RecipeWriter inner(fmt::format("{}.{}", path_of(key), i), flat_, depth_ + 1);
      fields(inner, value[i]);
      list += indent + inner.inline_table() + ",\n";
    }
    lines_.emplace_back(key, value.empty() ? "[]" : "[\n" + list + indent.substr(2) + "]");
  }
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  void leaf(const char* key, std::string value) {
    flat_[path_of(key)] = value;
    lines_.emplace_back(key, std::move(value));
  }

  std::string path_;
  Flat& flat_;
  int depth_;
  std::vector<std::pair<std::string, std::string>> lines_;
  std::string sections_;
};

}  // namespace

std::string decimal(double value) {
  const std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += {'\\', c};
    else if (c == '\n') out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) out += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    else out += c;
  }
  return out + '"';
}

std::string write_toml(const Recipe& recipe) {
  RecipeWriter::Flat flat;
  RecipeWriter writer("", flat);
  fields(writer, recipe);
  return "# The whole recipe of a run, every default written out: norma train <this file> repeats it.\n" + writer.document();
}

std::map<std::string, std::string> flatten(const Recipe& recipe) {
  RecipeWriter::Flat flat;
  RecipeWriter writer("", flat);
  fields(writer, recipe);
  return flat;
}

}  // namespace norma::app
