#include "apps/norma/system/figures.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <string_view>

#include "norma/text.h"

namespace norma::app {
namespace {

constexpr const char* not_finite = "not finite";

// Three significant digits and a decimal prefix; below 1000 a whole number.
std::string three_digits(double v, std::string_view unit) {
  if (!std::isfinite(v)) return not_finite;
  const auto [value, prefix] = prefixed(v);
  const double size = std::fabs(value);
  const int decimals = !*prefix || size >= 99.95 ? 0 : size < 9.995 ? 2 : 1;
  return fmt::format("{:.{}f} {}{}", value, decimals, prefix, unit);
}

}  // namespace

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

std::string format_bytes(double bytes) { return three_digits(bytes, "B"); }
std::string format_flops(double flops) { return three_digits(flops, "FLOP"); }

std::string short_count(double value) {
  const auto [v, prefix] = prefixed(value);
  return fmt::format("{:.{}f}{}", v, !*prefix || v >= 9.995 ? 0 : 2, prefix);
}

std::string short_duration(double seconds) {
  if (!(seconds >= 0)) return "?";
  if (seconds < 9.995) return fmt::format("{:.2f} s", seconds);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60) : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string short_loss(double loss) { return std::abs(loss) < 9999.5 ? fmt::format("{:.4f}", loss) : fmt::format("{:.4g}", loss); }

}  // namespace norma::app
