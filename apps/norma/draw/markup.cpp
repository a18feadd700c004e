// Escaping and figures.
#include "apps/norma/draw/markup.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "norma/text.h"

namespace norma::app {
namespace {

constexpr const char* not_finite = "not finite";

// Three significant digits and a decimal prefix.
std::string with_prefix(double v, std::string_view unit, bool whole_below_1000) {
  if (!std::isfinite(v)) return not_finite;
  constexpr std::array prefixes = {"", "k", "M", "G", "T", "P"};
  std::size_t i = 0;
  while (std::fabs(v) >= 999.5 && i + 1 < prefixes.size()) {
    v /= 1000;
    ++i;
  }
  if (i == 0 && whole_below_1000) return fmt::format("{:.0f} {}", v, unit);
  const int decimals = std::fabs(v) < 9.995 ? 2 : std::fabs(v) < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}{}", v, decimals, prefixes[i], unit);
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    const char c = text[0];
    if (n == 0 || (n == 1 && static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f) out += "\xef\xbf\xbd";
    else if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (c == '\'') out += "&#39;";
    else out += text.substr(0, n);
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

std::string format_number(double v) {
  if (!std::isfinite(v)) return not_finite;
  const double size = std::fabs(v);
  if (size != 0 && (size < 1e-3 || size >= 1e6)) return fmt::format("{:.3g}", v);
  if (size >= 100) return fmt::format("{:.1f}", v);
  return fmt::format("{:.4f}", v);
}

std::string format_short(double v) { return std::isfinite(v) ? fmt::format("{:.4g}", v) : not_finite; }

std::string format_percent(double share) { return std::isfinite(share) ? fmt::format("{:.2f} %", share * 100) : not_finite; }

std::string format_seconds(double s) {
  if (!std::isfinite(s)) return not_finite;
  if (s < 0.01) return fmt::format("{:.2g} s", s);
  if (s < 99.5) return fmt::format("{:.{}f} s", s, s < 9.995 ? 2 : 1);
  const auto whole = static_cast<long long>(std::llround(s));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string format_count(double n) {
  if (!std::isfinite(n)) return not_finite;
  std::string digits = fmt::format("{:.0f}", n);
  constexpr std::string_view thin_space = "\xe2\x80\xaf";  // narrow no-break space
  for (std::size_t at = digits.size(), first = digits[0] == '-' ? 1 : 0; at > first + 3;) digits.insert(at -= 3, thin_space);
  return digits;
}

std::string format_bytes(double bytes) { return with_prefix(bytes, "B", true); }
std::string format_flops(double flops) { return with_prefix(flops, "FLOP", true); }

}  // namespace norma::app
