// The scatter plot: a square of `side` units within the same margins as a chart's.
#include "apps/norma/draw/scatter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/norma/draw/markup.h"

namespace norma::app {
namespace {

constexpr double square_left = 40, square_top = 30, under_square = 24, beside_square = 28;  // around the square
constexpr int ticks = 8;

struct Square {
  double reach, side;
  double x(double v) const { return square_left + (v + reach) / (2 * reach) * side; }
  double y(double v) const { return square_top + (reach - v) / (2 * reach) * side; }
};

std::string frame(const Square& q) {
  std::string out;
  const Axis axis = linear_axis(-q.reach, q.reach, ticks);
  for (const double t : axis.ticks) {
    const std::string text = t == 0 ? "0" : fmt::format("{:.{}f}", t, axis.decimals);
    out += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}h{:.1f}M{:.1f} {:.1f}v{:.1f}\"/>", square_left, q.y(t), q.side, q.x(t),
                       square_top, q.side);
    out += fmt::format("<text class=\"tick end\" x=\"{:.0f}\" y=\"{:.1f}\">{}</text>", square_left - 7, q.y(t) + 4, text);
    out += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", q.x(t), square_top + q.side + 17, text);
  }
  return out;
}

// The net's decision as one shape a class: runs of cells of a row, each cell around its grid point.
std::string regions(const Scatter& s, const Square& q) {
  std::string paths[2];
  const double cell = q.side / static_cast<double>(s.side - 1);
  const auto says = [&](std::int64_t row, std::int64_t column) { return s.margin[static_cast<std::size_t>(row * s.side + column)] > 0; };
  const auto edge = [&](std::int64_t i) { return std::clamp((static_cast<double>(i) - 0.5) * cell, 0.0, q.side); };
  for (std::int64_t row = 0; row < s.side; ++row)
    for (std::int64_t begin = 0, end = 0; begin < s.side; begin = end) {
      for (end = begin + 1; end < s.side && says(row, end) == says(row, begin);) ++end;
      paths[says(row, begin) ? 1 : 0] +=
          fmt::format("M{:.1f} {:.1f}H{:.1f}V{:.1f}H{:.1f}z", square_left + edge(begin), square_top + q.side - edge(row),
                      square_left + edge(end), square_top + q.side - edge(row + 1), square_left + edge(begin));
    }
  std::string out;
  for (int c = 0; c < 2; ++c)
    if (!paths[c].empty()) out += fmt::format("<path class=\"region s{}\" d=\"{}\"/>", c, paths[c]);
  return out;
}

// A class is one path of strokes without length, whose caps are the dots: round for the first class, square for the second.
std::string dots(const Scatter& s, const Square& q) {
  std::string paths[2], rings;
  for (const Scatter::Point& p : s.points) {
    paths[p.label] += fmt::format("M{:.1f} {:.1f}h.01", q.x(p.x), q.y(p.y));
    if (p.mistaken) rings += fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"/>", q.x(p.x), q.y(p.y));
  }
  const double size = q.side < 250 ? 2.2 : 3.6;
  std::string out;
  for (int c = 0; c < 2; ++c)
    if (!paths[c].empty())
      out += fmt::format("<path class=\"points s{0}\" stroke-width=\"{1}\" d=\"{2}\"/>", c, c == 0 ? size : size - 0.6, paths[c]);
  return out + rings;
}

std::string contour(const Scatter& s, const Square& q) {
  std::string path;
  for (const Segment& l : boundary(s)) path += fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", q.x(l.x0), q.y(l.y0), q.x(l.x1), q.y(l.y1));
  return path.empty() ? path : fmt::format("<path class=\"boundary\" d=\"{}\"/>", path);
}

std::string legend(const Scatter& s) {
  constexpr double glyph = 6.6;
  double x = square_left;
  std::string out;
  const auto name = [&](const std::string& text) {
    out += fmt::format("<text class=\"name\" x=\"{:.1f}\" y=\"18\">{}</text>", x, escape(text));
    x += glyph * static_cast<double>(text.size()) + 12;
  };
  for (int c = 0; c < 2; ++c) {
    out += fmt::format("<path class=\"points s{}\" stroke-width=\"7\" d=\"M{:.1f} 14h.01\"/>", c, x + 4);
    x += 12;
    name(s.names[c]);
  }
  if (s.side > 1) {
    out += fmt::format("<path class=\"boundary\" d=\"M{:.1f} 14h16\"/>", x);
    x += 21;
    name("boundary");
  }
  return out;
}

Panel drawn(const Scatter& s, double side) {
  const Square q{s.reach, side};
  std::string body = s.side > 1 ? regions(s, q) : std::string();
  body += frame(q) + legend(s) + "\n" + dots(s, q) + "\n" + contour(s, q) + "\n";
  return {s.title, describe(s), std::move(body), square_left + side + beside_square, square_top + side + under_square};
}

}  // namespace

double reach_of(const std::vector<Scatter::Point>& points) {
  double most = 0;
  for (const Scatter::Point& p : points)
    for (const double v : {p.x, p.y})
      if (std::isfinite(v)) most = std::max(most, std::abs(v));
  return linear_axis(-most, most, ticks).hi;
}

std::vector<Segment> boundary(const Scatter& s) {
  std::vector<Segment> lines;
  const auto at = [&](std::int64_t row, std::int64_t column) { return s.margin[static_cast<std::size_t>(row * s.side + column)]; };
  const double step = s.side > 1 ? 2 * s.reach / static_cast<double>(s.side - 1) : 0;
  for (std::int64_t r = 0; r + 1 < s.side; ++r)
    for (std::int64_t c = 0; c + 1 < s.side; ++c) {
      // corners against the clock from below on the left; side k lies between corners k and k + 1
      const double v[] = {at(r, c), at(r, c + 1), at(r + 1, c + 1), at(r + 1, c)};
      if (!std::all_of(std::begin(v), std::end(v), [](double m) { return std::isfinite(m); })) continue;
      const double xs[] = {0, 1, 1, 0}, ys[] = {0, 0, 1, 1};
      double crossings[4][2];
      int count = 0;
      for (int k = 0; k < 4; ++k) {
        const int next = (k + 1) % 4;
        if ((v[k] > 0) == (v[next] > 0)) continue;
        const double t = v[k] / (v[k] - v[next]);
        crossings[count][0] = (static_cast<double>(c) + xs[k] + t * (xs[next] - xs[k])) * step - s.reach;
        crossings[count++][1] = (static_cast<double>(r) + ys[k] + t * (ys[next] - ys[k])) * step - s.reach;
      }
      for (int k = 0; k + 1 < count; k += 2) lines.push_back({crossings[k][0], crossings[k][1], crossings[k + 1][0], crossings[k + 1][1]});
    }
  return lines;
}

std::string describe(const Scatter& s) {
  std::size_t counts[2] = {0, 0}, mistaken = 0;
  for (const Scatter::Point& p : s.points) {
    ++counts[p.label];
    mistaken += p.mistaken;
  }
  std::string out = fmt::format("{} points {}, {} {}", counts[0], s.names[0], counts[1], s.names[1]);
  if (s.side > 1) out += fmt::format("; {} of them, ringed, on the wrong side of the net's boundary", mistaken);
  return out + ".";
}

Panel large_panel(const Scatter& s) { return drawn(s, 336); }

Panel panel(const Scatter& s) { return drawn(s, 182); }

}  // namespace norma::app
