#include "src/export/c_text.h"

#include <charconv>
#include <cstdio>

namespace norma {
namespace {

constexpr std::size_t columns = 100, longest_identifier_part = 80;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <class T, class F>
std::string array(const char* type, const std::string& name, std::span<const T> values, F literal) {
  std::string out = std::string("static const ") + type + " " + name + "[" + std::to_string(values.size()) + "] = {\n";
  std::size_t line = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string text = literal(values[i]) + (i + 1 < values.size() ? "," : "");
    if (line + text.size() > columns) out += "\n", line = 0;
    out += text;
    line += text.size();
  }
  return out + "};\n";
}

}  // namespace

std::string c_float(float v) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v).ptr;
  std::string literal(text, end);
  if (literal.find_first_of(".e") == std::string::npos) literal += ".0";
  return literal + "f";
}

std::string c_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '?') {
      out += c;
      continue;
    }
    char octal[8];
    std::snprintf(octal, sizeof octal, "\\%03o", static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += octal;
  }
  return out + "\"";
}

std::string c_comment(std::string_view text) {
  std::string out;
  for (const char c : text) out += c >= ' ' && c <= '~' && c != '*' && c != '\\' && c != '?' ? c : '_';
  return out;
}

std::string c_array(const std::string& name, std::span<const float> values) { return array("float", name, values, c_float); }
std::string c_array(const std::string& name, std::span<const std::int8_t> values) {
  return array("int8_t", name, values, [](std::int8_t v) { return std::to_string(v); });
}
std::string c_array(const std::string& name, std::span<const int> values) {
  return array("int", name, values, [](int v) { return std::to_string(v); });
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) text.replace(at, what.size(), by);
  return text;
}

std::string upper_case(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

bool is_c_name(std::string_view name) {
  if (name.empty() || name.size() > 63 || !is_letter(name[0])) return false;
  for (const char c : name)
    if (!is_letter(c) && !is_digit(c) && c != '_') return false;
  return true;
}

std::string Identifiers::make(std::string_view path, std::string_view what) {
  std::string name = prefix_ + "_";
  for (const char c : path.substr(0, longest_identifier_part)) name += is_letter(c) || is_digit(c) ? c : '_';
  name += "_" + std::string(what);
  std::string unique = name;
  for (int number = 2; !used_.insert(unique).second; ++number) unique = name + "_" + std::to_string(number);
  return unique;
}

std::string Identifiers::reserve(std::string_view what) {
  std::string name = prefix_ + "_" + std::string(what);
  used_.insert(name);
  return name;
}

}  // namespace norma
