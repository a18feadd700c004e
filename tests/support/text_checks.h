// Checks of a page's or a chart's text, and the number that is none.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace norma::app {

inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();

inline std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t i = text.find(part); i != std::string_view::npos; i = text.find(part, i + part.size())) ++n;
  return n;
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "missing: " << part;
}

// Returns a fault of the markup, if any. Every tag must be closed in order, attributes quoted and not repeated, no stray < or &.
inline std::optional<std::string> fault(std::string_view s) {
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto near = [&](std::size_t i) { return " near: " + std::string(s.substr(i, 60)); };
  const auto entities = [&](std::string_view text) {
    for (std::size_t i = text.find('&'); i != std::string_view::npos; i = text.find('&', i + 1)) {
      const std::string_view rest = text.substr(i + 1, 5);
      if (!rest.starts_with("amp;") && !rest.starts_with("lt;") && !rest.starts_with("gt;") && !rest.starts_with("quot;") &&
          !rest.starts_with("#39;"))
        return false;
    }
    return true;
  };
  const auto is_name = [](std::string_view name) {
    const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == ':'; };
    return !name.empty() && std::all_of(name.begin(), name.end(), allowed);
  };
  while (at < s.size()) {
    const std::size_t next = std::min(s.find('<', at), s.size());
    if (!entities(s.substr(at, next - at))) return "stray &" + near(at);
    at = next;
    if (at == s.size()) break;
    if (s.substr(at).starts_with("<!DOCTYPE html>") || s.substr(at).starts_with("<?xml")) {
      at = s.find('>', at) + 1;
    } else if (s.substr(at).starts_with("</")) {
      const std::size_t end = s.find('>', at);
      const std::string name(s.substr(at + 2, end - at - 2));
      if (open.empty() || open.back() != name) return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back()) + near(at);
      open.pop_back();
      at = end + 1;
    } else {
      std::size_t end = at;  // the first > outside quotes
      for (bool quoted = false; end < s.size() && (quoted || s[end] != '>'); ++end) quoted ^= s[end] == '"';
      if (end == s.size()) return "unfinished tag" + near(at);
      const bool empty = s[end - 1] == '/';
      std::string_view inside = s.substr(at + 1, end - at - 1 - (empty ? 1 : 0));
      const std::string name(inside.substr(0, inside.find(' ')));
      inside.remove_prefix(name.size());
      if (!is_name(name)) return "bad tag" + near(at);
      std::vector<std::string_view> seen;
      while (!inside.empty()) {  // one blank, name="value"
        const std::size_t equals = inside.find("=\"");
        if (inside[0] != ' ' || equals == std::string_view::npos) return "bad attribute" + near(at);
        const std::string_view attribute = inside.substr(1, equals - 1);
        inside.remove_prefix(equals + 2);
        const std::size_t quote = inside.find('"');
        const std::string_view value = inside.substr(0, quote);
        if (!is_name(attribute) || value.find('<') != std::string_view::npos || !entities(value)) return "bad attribute" + near(at);
        if (std::find(seen.begin(), seen.end(), attribute) != seen.end()) return "attribute twice" + near(at);
        seen.push_back(attribute);
        inside.remove_prefix(quote + 1);
      }
      at = end + 1;
      if (!empty) open.push_back(name);
      if (name == "style") at = s.find("</style>", at);  // CSS has its own grammar
    }
  }
  if (!open.empty()) return "<" + open.back() + "> is never closed";
  return {};
}

}  // namespace norma::app
