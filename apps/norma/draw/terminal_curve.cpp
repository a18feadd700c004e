#include "apps/norma/draw/terminal_curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

namespace norma::app {
namespace {

constexpr int rows = 8, most_width = 60, least_width = 10;

std::string text_of(double v, CurveUnit unit) {
  return unit == CurveUnit::share ? fmt::format("{:.2f}%", 100 * v) : fmt::format("{:.4g}", v);
}

// Each column's value, NaN where it has none, and a mark where an epoch lies.
struct Columns {
  std::vector<double> value;
  std::vector<bool> marked;
};

Columns columns_of(std::span<const double> values, std::size_t width) {
  const std::size_t n = values.size();
  Columns c{std::vector<double>(width, std::numeric_limits<double>::quiet_NaN()), std::vector<bool>(width, false)};
  if (n > width) {
    for (std::size_t x = 0; x < width; ++x) {
      const std::size_t begin = x * n / width, end = (x + 1) * n / width;
      double sum = 0;
      for (std::size_t i = begin; i < end; ++i) sum += values[i];
      c.value[x] = sum / static_cast<double>(end - begin);
      c.marked[x] = true;
    }
    return c;
  }
  const auto place = [&](std::size_t i) { return (i * (width - 1) + (n - 1) / 2) / (n - 1); };
  for (std::size_t i = 0; i < n; ++i) {
    c.value[place(i)] = values[i];
    c.marked[place(i)] = true;
    if (i + 1 == n) break;
    const std::size_t from = place(i), to = place(i + 1);
    for (std::size_t x = from + 1; x < to; ++x)
      c.value[x] = values[i] + (values[i + 1] - values[i]) * static_cast<double>(x - from) / static_cast<double>(to - from);
  }
  return c;
}

}  // namespace

std::string text_curve(std::string_view title, std::span<const double> values, CurveUnit unit, int columns) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  std::ptrdiff_t finite = 0;
  for (const double v : values)
    if (std::isfinite(v)) {
      least = std::min(least, v), most = std::max(most, v);
      ++finite;
    }
  if (finite < 2) return {};
  const std::string top = text_of(most, unit), bottom = text_of(least, unit);
  const int margin = static_cast<int>(std::max(top.size(), bottom.size()));
  const int width = std::min(most_width, columns - 1 - margin - 2);  // " |"
  if (width < least_width) return {};

  const Columns curve = columns_of(values, static_cast<std::size_t>(width));
  std::vector<std::string> plot(rows, std::string(static_cast<std::size_t>(width), ' '));
  for (std::size_t x = 0; x < curve.value.size(); ++x) {
    if (!std::isfinite(curve.value[x])) continue;
    const double height = most > least ? (curve.value[x] - least) / (most - least) : 0.5;
    plot[static_cast<std::size_t>(std::lround((1 - height) * (rows - 1)))][x] = curve.marked[x] ? '*' : '.';
  }
  std::string out = fmt::format("{:{}}  {}\n", "", margin, title.substr(0, static_cast<std::size_t>(width)));
  for (int y = 0; y < rows; ++y) {
    std::string& row = plot[static_cast<std::size_t>(y)];
    row.erase(row.find_last_not_of(' ') + 1);
    out += fmt::format("{:>{}} |{}\n", y == 0 ? top : y == rows - 1 ? bottom : "", margin, row);
  }
  const std::string last = fmt::format("{}", values.size());
  out += fmt::format("{:{}} +{:->{}}\n", "", margin, "", width);
  return out + fmt::format("{:{}}  1{:>{}}\n", "", margin, last, width - 1);
}

}  // namespace norma::app
