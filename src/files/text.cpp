// Escapes for terminals and shells.
#include "norma/text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>

namespace norma {
namespace {

char hex_digit(unsigned v) { return "0123456789abcdef"[v & 15u]; }

std::uint32_t code_point(std::string_view sequence) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(sequence[i])); };
  if (sequence.size() == 1) return byte(0);
  std::uint32_t c = byte(0) & (0xffu >> (sequence.size() + 1));
  for (std::size_t i = 1; i < sequence.size(); ++i) c = c << 6 | (byte(i) & 0x3fu);
  return c;
}

// Returns true for characters that move the cursor, change the terminal, end a line or turn the direction of the text. It also does for
// those that show nothing at all.
bool unprintable(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || (c >= 0xe0000 && c < 0xe0080);
}

void append_escaped(std::string& out, std::uint32_t c) {
  if (c == '\n') out += "\\n";
  else if (c == '\t') out += "\\t";
  else if (c == '\r') out += "\\r";
  else if (c < 0x80) (out += "\\x") += {hex_digit(c >> 4), hex_digit(c)};
  else {
    out += c < 0x10000 ? "\\u" : "\\U";
    for (int shift = c < 0x10000 ? 12 : 28; shift >= 0; shift -= 4) out += hex_digit(c >> shift);
  }
}

std::string escaped(std::string_view text, bool keep_line_feeds) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(n, 1));
    const std::uint32_t c = code_point(sequence);
    if (n == 0) (out += "\\x") += {hex_digit(c >> 4), hex_digit(c)};
    else if (unprintable(c) && !(c == '\n' && keep_line_feeds)) append_escaped(out, c);
    else out += sequence;
    text.remove_prefix(sequence.size());
  }
  return out;
}

bool plain_in_shell(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_./,:@%+-").find(c) != std::string_view::npos;
}

}  // namespace

std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned a = byte(0), b = byte(1);
  if (s.empty()) return 0;
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
  if (a >= 0xe0 && a <= 0xef) {
    const bool overlong = a == 0xe0 && b < 0xa0, surrogate = a == 0xed && b >= 0xa0;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (a >= 0xf0 && a <= 0xf4) {
    const bool overlong = a == 0xf0 && b < 0x90, past_the_end = a == 0xf4 && b >= 0x90;
    return tail(1) && tail(2) && tail(3) && !overlong && !past_the_end ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string printable(std::string_view text) { return escaped(text, false); }
std::string printable_lines(std::string_view text) { return escaped(text, true); }

std::string shell_word(std::string_view path) {
  const std::string word = (path.starts_with('-') ? "./" : "") + std::string(path);
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain_in_shell)) return word;
  if (printable(word) == word) {
    std::string out = "'";
    for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
  }
  std::string out = "$'";  // octal digits, three of them: no character behind can be taken for a fourth
  for (const char c : word) {
    const auto byte = static_cast<unsigned>(static_cast<unsigned char>(c));
    if (c == '\'' || c == '\\') (out += '\\') += c;
    else if (byte < 0x20 || byte >= 0x7f) (out += '\\') += {hex_digit(byte >> 6), hex_digit(byte >> 3 & 7u), hex_digit(byte & 7u)};
    else out += c;
  }
  return out + "'";
}

Prefixed prefixed(double figure) {
  constexpr const char* prefixes[] = {"", "k", "M", "G", "T", "P"};
  std::size_t p = 0;
  for (; std::abs(figure) >= 999.5 && p + 1 < std::size(prefixes); ++p) figure /= 1000;
  return {figure, prefixes[p]};
}

std::string in_short(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", v);
  return text;
}

std::string with_prefix(double figure, std::string_view unit) {
  const Prefixed f = prefixed(figure);
  char digits[32];
  std::snprintf(digits, sizeof digits, *f.prefix ? "%.1f " : "%.0f ", f.value);
  return std::string(digits) + f.prefix + std::string(unit);
}

}  // namespace norma
