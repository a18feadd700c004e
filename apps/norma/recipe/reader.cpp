// Reading of single fields: type, range, and where the value stands.
#include "apps/norma/recipe/reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "norma/text.h"
#include "norma/types.h"

namespace norma::app {
namespace {

std::string shown(const std::string& text) {
  constexpr std::size_t longest = 40;
  return '"' + (text.size() > longest ? text.substr(0, longest) + "..." : text) + '"';
}

// Keys people bring from elsewhere.
const std::map<std::string, std::string, std::less<>>& synonyms() {
  static const std::map<std::string, std::string, std::less<>> table{
      {"learning_rate", "lr"},  {"batch", "batch_size"},   {"type", "kind"},   {"kind", "type"},          {"out_channels", "out"},
      {"filters", "out"},       {"out_features", "out"},   {"units", "out"},   {"kernel_size", "kernel"}, {"stddev", "std"},
      {"num_epochs", "epochs"}, {"dataset", "name"},       {"betas", "beta1"}, {"epsilon", "eps"},        {"optim", "optimizer"},
      {"training", "train"},    {"scheduler", "schedule"}, {"lr", "rate"}};
  return table;
}

// Walks over TOML's text and refuses a key, header or inline table with too many parts. The parser reports text that is no TOML.
class KeyDepth {
 public:
  explicit KeyDepth(const std::string& text) : text_(text) {}

  void check() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"' || c == '\'') {
        skip_string(c);
        continue;
      }
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        continue;
      }
      if (c == '\n') ++line_;
      if (c == '[' || c == '{') outer_.push_back(dots_);
      if ((c == ']' || c == '}') && !outer_.empty()) dots_ = outer_.back(), outer_.pop_back();
      if (c == ',' || (c == '\n' && outer_.empty())) dots_ = outer_.empty() ? 0 : outer_.back();
      if (c == '.' && ++dots_ > most_key_parts) refuse();
      ++at_;
    }
  }

 private:
  void skip_string(char quote) {
    const std::string three(3, quote);
    const bool lines = text_.compare(at_, 3, three) == 0;
    at_ += lines ? 3 : 1;
    while (at_ < text_.size() && (lines ? text_.compare(at_, 3, three) != 0 : text_[at_] != quote && text_[at_] != '\n')) {
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') ++at_;
      if (text_[at_] == '\n') ++line_;
      ++at_;
    }
    if (lines) at_ = std::min(at_ + 3, text_.size());
    else if (at_ < text_.size() && text_[at_] == quote) ++at_;
  }

  [[noreturn]] void refuse() const {
    const std::string message = fmt::format("a key of more than {} parts", most_key_parts);
    const std::size_t begin = at_ == 0 ? 0 : text_.rfind('\n', at_ - 1) + 1;  // npos + 1 is 0
    throw toml::parse_error(message.c_str(), toml::source_position{line_, static_cast<toml::source_index>(at_ - begin + 1)});
  }

  const std::string& text_;
  std::size_t at_ = 0, dots_ = 0;
  std::vector<std::size_t> outer_;  // the parts before each open bracket
  toml::source_index line_ = 1;
};

}  // namespace

toml::table parse_toml(const std::string& text) {
  KeyDepth(text).check();
  return toml::parse(text);
}

std::string describe(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "the string " + shown(**node.as_string());
    case toml::node_type::integer: return fmt::format("{}", **node.as_integer());
    case toml::node_type::floating_point: return fmt::format("{}, a number with a fraction", **node.as_floating_point());
    case toml::node_type::boolean: return **node.as_boolean() ? "true" : "false";
    case toml::node_type::array: return "an array";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

std::string describe(const Range& r) {
  constexpr double unbounded = std::numeric_limits<double>::max();
  const bool low = r.low > -unbounded, high = r.high < unbounded;
  const std::string from = fmt::format("{} {}", r.low_open ? "above" : "of at least", r.low);
  const std::string to = fmt::format("{} {}", r.high_open ? "below" : "of at most", r.high);
  if (low && high && !r.low_open && !r.high_open) return fmt::format("a number from {} to {}", r.low, r.high);
  if (low && high) return "a number " + from + " and " + to;
  return low ? "a number " + from : high ? "a number " + to : "a finite number";
}

std::string describe_integers(std::int64_t low, std::int64_t high) {
  if (high == huge || high == any_seed) return fmt::format("an integer of at least {}", low);
  return fmt::format("an integer from {} to {}", low, high);
}

const std::string* RecipeOrigin::flag(std::string_view path) const {
  for (;;) {
    if (const auto found = flags.find(std::string(path)); found != flags.end()) return &found->second;
    const std::size_t dot = path.rfind('.');
    if (dot == std::string_view::npos) return nullptr;
    path = path.substr(0, dot);
  }
}

std::string RecipeOrigin::place(const std::string& path, const toml::source_region& where) const {
  if (const std::string* f = flag(path)) return *f;
  std::string text = file;
  if (where.begin.line > 0) text += fmt::format(":{}:{}", where.begin.line, where.begin.column);
  return path.empty() ? text : text + ": " + path;
}

void RecipeOrigin::fail(const std::string& path, const toml::source_region& where, const std::string& message) const {
  const std::string* f = flag(path);
  const bool says_so = !f || f->find(path) != std::string::npos;  // --set optimizer.lr
  throw Error(ErrorKind::usage, place(path, where) + ": " + message + (says_so ? "" : " (" + path + ")"));
}

const toml::node* RecipeReader::find(const char* key) {
  known_.emplace_back(key);
  return table_.get(key);
}

void RecipeReader::require_one(const char* key) const {
  if (!table_.contains(key)) {
    std::string message = fmt::format("\"{}\" is missing{}", key, path_.empty() ? "" : " here");
    for (const auto& [k, node] : table_) {  // a near miss is the likelier culprit
      const std::string near[] = {key};
      if (!nearest(k.str(), near).empty()) message += fmt::format("; is \"{}\" a misspelling of it?", k.str());
    }
    origin_.fail(path_, table_.source(), message);
  }
}

RecipeReader RecipeReader::table_reader(const std::string& key, const toml::node& node) const {
  const toml::table* t = node.as_table();
  if (!t) fail(key, node, "must be a table, got " + describe(node));
  return {*t, origin_, path_of(key)};
}

double RecipeReader::number_of(const std::string& key, const toml::node& node, Range r) const {
  if (!node.is_number()) fail(key, node, fmt::format("must be {}, got {}", describe(r), describe(node)));
  const double value = *node.value<double>();
  const bool inside =
      std::isfinite(value) && (r.low_open ? value > r.low : value >= r.low) && (r.high_open ? value < r.high : value <= r.high);
  if (!inside) fail(key, node, fmt::format("must be {}, got {}", describe(r), value));
  if (!fits_float(value)) fail(key, node, fmt::format("must be 0 or fit a float, 1.2e-38 to 3.4e38, got {}", value));
  if (r.high_apart && value < r.high && static_cast<float>(value) >= static_cast<float>(r.high))
    fail(key, node, fmt::format("must be {}, got {}, whose float is {}", describe(r), value, r.high));
  return value;
}

std::int64_t RecipeReader::integer_of(const std::string& key, const toml::node& node, std::int64_t low, std::int64_t high) const {
  const std::string expected = describe_integers(low, high);
  if (!node.is_integer()) fail(key, node, fmt::format("must be {}, got {}", expected, describe(node)));
  const std::int64_t value = **node.as_integer();
  if (value < low || value > high) fail(key, node, fmt::format("must be {}, got {}", expected, value));
  return value;
}

std::size_t RecipeReader::choice_of(const std::string& key, const toml::node& node, std::span<const std::string> known) const {
  if (!node.is_string()) fail(key, node, fmt::format("must be one of {}, got {}", join(known), describe(node)));
  const std::string& value = **node.as_string();
  const auto found = std::find(known.begin(), known.end(), value);
  if (found == known.end())
    fail(key, node, fmt::format("must be one of {}, got {}{}", join(known), shown(value), did_you_mean(value, known)));
  return static_cast<std::size_t>(found - known.begin());
}

void RecipeReader::boolean(const char* key, bool& value, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  if (!n->is_boolean()) fail(key, *n, "must be true or false, got " + describe(*n));
  value = **n->as_boolean();
}

void RecipeReader::boolean(const char* key, std::optional<bool>& value, const char* help) {
  bool given = false;
  boolean(key, given, help);
  if (table_.contains(key)) value = given;
}

void RecipeReader::text(const char* key, std::string& value, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  if (!n->is_string()) fail(key, *n, "must be a string, got " + describe(*n));
  value = **n->as_string();
}

void RecipeReader::texts(const char* key, std::vector<std::string>& values, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  const toml::array* a = n->as_array();
  if (!a || !std::ranges::all_of(*a, [](const toml::node& one) { return one.is_string(); }))
    fail(key, *n,
         "must be an array of strings, got " +
             (a ? "an array with " + describe(*std::ranges::find_if_not(*a, [](const toml::node& one) { return one.is_string(); }))
                : describe(*n)));
  values.clear();
  for (const toml::node& one : *a) values.push_back(**one.as_string());
}

void RecipeReader::path(const char* key, std::filesystem::path& value, const char* help) {
  std::string given;
  text(key, given, help);
  const toml::node* n = table_.get(key);
  if (!n) return;
  if (given.empty()) fail(key, *n, "must be a path, got an empty string");
  const bool on_command_line = origin_.flag(path_of(key)) != nullptr;
  value = std::filesystem::absolute(on_command_line ? std::filesystem::path(given) : origin_.folder / given).lexically_normal();
  if (!is_utf8(value.native()))
    fail(key, *n, fmt::format("stands for {}, which is not UTF-8, as config.toml must be: rename that folder", value.string()));
}

void RecipeReader::number(const char* key, double& value, Range range, const char*) {
  if (const toml::node* n = find(key)) value = number_of(key, *n, range);
}

void RecipeReader::number(const char* key, std::optional<double>& value, Range range, const char*) {
  if (const toml::node* n = find(key)) value = number_of(key, *n, range);
}

void RecipeReader::number_or_none(const char* key, std::optional<double>& value, Range range, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  if (n->is_string() && **n->as_string() == "none") value.reset();
  else if (n->is_number()) value = number_of(key, *n, range);
  else fail(key, *n, fmt::format("must be {}, or \"none\", got {}", describe(range), describe(*n)));
}

void RecipeReader::numbers(const char* key, std::vector<double>& values, Range range, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  values.clear();
  const toml::array* a = n->as_array();
  if (!a) {
    values.push_back(number_of(key, *n, range));
    return;
  }
  for (std::size_t i = 0; i < a->size(); ++i) values.push_back(number_of(fmt::format("{}.{}", key, i), *a->get(i), range));
}

void RecipeReader::size(const char* key, Size2& value, std::int64_t low, std::int64_t high, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  const toml::array* a = n->as_array();
  if (!a) {
    if (!n->is_integer()) fail(key, *n, fmt::format("must be an integer or [height, width], got {}", describe(*n)));
    value = integer_of(key, *n, low, high);
  } else {
    if (a->size() != 2) fail(key, *n, fmt::format("must be an integer or [height, width], got an array of {}", a->size()));
    value = {integer_of(std::string(key) + ".0", *a->get(0), low, high), integer_of(std::string(key) + ".1", *a->get(1), low, high)};
  }
}

void RecipeReader::size(const char* key, std::optional<Size2>& value, std::int64_t low, std::int64_t high, const char* help) {
  Size2 given = value.value_or(Size2{});
  size(key, given, low, high, help);
  if (table_.contains(key)) value = given;
}

void RecipeReader::init(const char* key, Init& value, const char*) {
  const toml::node* n = find(key);
  if (!n) return;
  if (n->is_string()) {  // "he_normal" is short for {kind = "he_normal"}
    const toml::table kind{{"kind", **n->as_string()}};
    std::array<std::string, std::size(init_names)> known;
    for (std::size_t i = 0; i < known.size(); ++i) known[i] = init_names[i].first;
    choice_of(key, *n, known);
    RecipeReader inner{kind, origin_, path_of(key)};
    fields(inner, value);
    return;
  }
  RecipeReader inner = table_reader(key, *n);
  fields(inner, value);
  inner.finish();
}

void RecipeReader::finish() const {
  for (const auto& [key, node] : table_) {
    const std::string name(key.str());
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string hint = did_you_mean(name, known_);
    if (hint.empty())
      if (const auto s = synonyms().find(name); s != synonyms().end() && std::find(known_.begin(), known_.end(), s->second) != known_.end())
        hint = "; did you mean \"" + s->second + "\"?";
    std::string section = path_.empty() ? "" : " in " + path_;
    for (const char* selector : {"kind", "type", "name"})  // which fields there are depends on it
      if (const toml::node* n = table_.get(selector); n && n->is_string() && !path_.empty()) {
        section += fmt::format(" of {} {}", selector, shown(**n->as_string()));
        break;
      }
    origin_.fail(path_of(name), key.source(), fmt::format("unknown key \"{}\"{}{} (known: {})", name, section, hint, join(known_)));
  }
}

}  // namespace norma::app
