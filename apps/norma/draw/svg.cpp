// The chart writer. Numbers in a viewBox of 400 x 250 units, text at 12.
#include "apps/norma/draw/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "apps/norma/draw/markup.h"
#include "apps/norma/system/figures.h"

namespace norma::app {
namespace {

constexpr double chart_width = 400, chart_height = 250;
constexpr double plot_left = 52, plot_right = 388, plot_top = 30, plot_bottom = 212;  // the plot, under a legend of one row
constexpr double legend_row = 18;                                                     // of the legend; each further one moves the plot down
constexpr double glyph = 6.6;                                                         // mean width of a character at 12 units
constexpr std::size_t most_bands = 150;                                               // hover bands; above, every k-th x has one
constexpr std::size_t most_markers = 40;
constexpr std::size_t most_points = 1000;  // of a line, about: more than there are pixels

struct Point {
  double x, y;
};

double position(const Axis& a, double v, double from, double to) {
  const double t = a.logarithmic ? std::log(v / a.lo) / std::log(a.hi / a.lo) : (v - a.lo) / (a.hi - a.lo);
  return from + t * (to - from);
}
double across(const Axis& xs, double x) { return position(xs, x, plot_left, plot_right); }
double up(const Axis& ys, double y) { return position(ys, y, plot_bottom, plot_top); }

std::string tick_text(const Axis& a, double v, Chart::Unit unit) {
  if (v == 0) return "0";
  if (unit == Chart::Unit::percent) return fmt::format("{:.{}f} %", v * 100, std::max(0, a.decimals - 2));
  const double size = std::max(std::fabs(a.lo), std::fabs(a.hi));
  if (a.logarithmic || size >= 1e5 || size < 1e-3) return fmt::format("{:g}", v);
  return fmt::format("{:.{}f}", v, a.decimals);
}

Axis value_axis(const Chart& chart) {
  double lo = std::numeric_limits<double>::infinity(), hi = -lo;
  for (const Series& s : chart.series)
    for (const std::vector<double>* values : {&s.y, &s.low, &s.high})
      for (const double v : *values)
        if (std::isfinite(v)) {
          lo = std::min(lo, v);
          hi = std::max(hi, v);
        }
  if (lo > hi) return linear_axis(0, 1, 5);
  if (chart.scale == Chart::Scale::automatic && lo > 0 && hi / lo >= 10) return log_axis(lo, hi);
  if (chart.scale == Chart::Scale::logarithmic && lo > 0) return log_axis(lo, hi);
  if (chart.from_zero) lo = std::min(lo, 0.0);
  Axis a = linear_axis(lo, hi, 5);
  // one epoch, or a share that never moved: no axis beyond what a share can be
  if (chart.unit == Chart::Unit::percent && hi <= 1 && a.hi > 1) {
    a.hi = 1;
    std::erase_if(a.ticks, [](double t) { return t > 1; });
  }
  return a;
}

// Whole-numbered ticks from the first x to the last, without going past them; logarithmic: each x, or powers of ten where those are many.
Axis x_axis(const Chart& chart) {
  const std::vector<double>& x = chart.x;
  const double first = x.front(), last = x.back();
  if (!chart.labels.empty()) return {first - 0.5, last + 0.5, false, x, 0};
  if (chart.logarithmic_x && first > 0) {
    const double margin = first == last ? 2 : std::pow(last / first, 0.03);
    Axis a{first / margin, last * margin, true, x, 0};
    if (x.size() > 9) a.ticks = log_axis(first, last).ticks;
    std::erase_if(a.ticks, [&](double t) { return t < a.lo || t > a.hi; });
    return a;
  }
  if (first == last) return {first - 0.5, last + 0.5, false, {first}, 0};
  const bool whole = std::all_of(x.begin(), x.end(), [](double v) { return v == std::round(v); });
  Axis a = linear_axis(first, last, 8);
  std::erase_if(a.ticks, [&](double t) { return t < first || t > last || (whole && t != std::round(t)); });
  a.lo = first;
  a.hi = last;
  if (a.ticks.empty() || a.ticks.front() - first > 0.3 * (a.ticks.size() > 1 ? a.ticks[1] - a.ticks[0] : 1))
    a.ticks.insert(a.ticks.begin(), first);
  return a;
}

// The finite value at i, as a point of the plot.
std::optional<Point> point(const Chart& chart, const Series& s, std::size_t i, const Axis& xs, const Axis& ys) {
  if (i >= s.y.size() || !std::isfinite(s.y[i])) return {};
  return Point{across(xs, chart.x[i]), up(ys, s.y[i])};
}

// Series differ by shape as well as by colour: a disc, a square, a triangle, a rhombus. The second four are also dashed.
std::string marker(std::size_t series, Point p, double size) {
  switch (series % 4) {
    case 0: return fmt::format("<circle class=\"dot s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"/>", series, p.x, p.y, size);
    case 1:
      return fmt::format("<rect class=\"dot s{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>", series, p.x - size,
                         p.y - size, 2 * size, 2 * size);
    case 2:
      return fmt::format("<path class=\"dot s{}\" d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}h-{:.1f}z\"/>", series, p.x, p.y - 1.3 * size, 1.3 * size,
                         2.3 * size, 2.6 * size);
    default:
      return fmt::format("<path class=\"dot s{0}\" d=\"M{1:.1f} {2:.1f}l{3:.1f} {3:.1f}l-{3:.1f} {3:.1f}l-{3:.1f} -{3:.1f}z\"/>", series,
                         p.x, p.y - 1.4 * size, 1.4 * size);
  }
}

std::string frame(const Chart& chart, const Axis& xs, const Axis& ys) {
  std::string out;
  for (const double t : ys.ticks) {
    const double y = up(ys, t);
    out += fmt::format("<path class=\"grid\" d=\"M{:.0f} {:.1f}H{:.0f}\"/>", plot_left, y, plot_right);
    out += fmt::format("<text class=\"tick end\" x=\"{:.0f}\" y=\"{:.1f}\">{}</text>", plot_left - 7, y + 4,
                       escape(tick_text(ys, t, chart.unit)));
  }
  out += fmt::format("<path class=\"axis\" d=\"M{:.0f} {:.0f}H{:.0f}\"/>", plot_left, plot_bottom, plot_right);
  const auto tick = [&](double t, const std::string& text) {
    out += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.0f}\">{}</text>", across(xs, t), plot_bottom + 17, escape(text));
  };
  for (std::size_t i = 0; i < chart.labels.size(); ++i) tick(chart.x[i], chart.labels[i]);
  if (chart.labels.empty())
    for (const double t : xs.ticks) tick(t, fmt::format("{:g}", t));
  out += fmt::format("<text class=\"tick middle\" x=\"{:.0f}\" y=\"{:.0f}\">{}{}</text>", (plot_left + plot_right) / 2, chart_height - 5,
                     escape(chart.x_name),
                     ys.logarithmic && xs.logarithmic ? " (both axes logarithmic)"
                     : ys.logarithmic                 ? " (vertical axis logarithmic)"
                     : xs.logarithmic                 ? " (logarithmic)"
                                                      : "");
  return out;
}

// Names side by side in as many rows as they need, the last of them just above the plot.
struct Legend {
  std::string svg;
  int rows = 1;
};
Legend legend(const Chart& chart) {
  Legend out;
  if (chart.series.size() < 2) return out;  // the title names it
  double x = plot_left;
  for (std::size_t k = 0; k < chart.series.size(); ++k) {
    const std::string& name = chart.series[k].name;
    const double wide = 24 + glyph * static_cast<double>(name.size());
    if (k > 0 && x + wide > plot_right) x = plot_left, ++out.rows;
    const double y = legend_row * (out.rows - 1);
    out.svg += fmt::format("<path class=\"line s{}\" d=\"M{:.1f} {:.0f}h18\"/>", k, x, y + 14) + marker(k, {x + 9, y + 14}, 3);
    out.svg += fmt::format("<text class=\"name\" x=\"{:.1f}\" y=\"{:.0f}\">{}</text>", x + 24, y + 18, escape(name));
    x += wide + 18;
  }
  return out;
}

// In a chart with labels, series stand side by side. Returns the offset of series k from x, to the right.
double beside(const Chart& chart, std::size_t k) {
  return chart.labels.empty() ? 0 : 9 * (static_cast<double>(k) - static_cast<double>(chart.series.size() - 1) / 2);
}

// The spread of each series, where it has one: an area behind the lines, in pieces where a value is not finite.
std::string spreads(const Chart& chart, const Axis& xs, const Axis& ys) {
  std::string out;
  for (std::size_t k = 0; k < chart.series.size(); ++k) {
    const Series& s = chart.series[k];
    const auto inside = [&](double v) { return position(ys, ys.logarithmic ? std::max(v, ys.lo) : v, plot_bottom, plot_top); };
    const std::size_t n = std::min({chart.x.size(), s.low.size(), s.high.size()});
    const auto finite = [&](std::size_t i) { return i < n && std::isfinite(s.low[i]) && std::isfinite(s.high[i]); };
    if (!chart.labels.empty()) {
      for (std::size_t i = 0; i < n; ++i)
        if (finite(i))
          out += fmt::format("<path class=\"line s{}\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", k, across(xs, chart.x[i]) + beside(chart, k),
                             inside(s.high[i]), inside(s.low[i]));
      continue;
    }
    for (std::size_t begin = 0; begin < n; ++begin) {
      if (!finite(begin)) continue;
      std::size_t end = begin;
      while (finite(end)) ++end;
      std::string there, back;
      for (std::size_t i = begin; i < end; ++i)
        there += fmt::format("{}{:.1f} {:.1f}", i == begin ? "M" : "L", across(xs, chart.x[i]), inside(s.high[i]));
      for (std::size_t i = end; i-- > begin;) back += fmt::format("L{:.1f} {:.1f}", across(xs, chart.x[i]), inside(s.low[i]));
      out += fmt::format("<path class=\"region s{}\" d=\"{}{}z\"/>", k, there, back);
      begin = end;
    }
  }
  return out;
}

// A line per run of finite values. Every value has a marker if they are few, else only isolated ones. A cross marks a value that is not
// finite.
std::string lines(const Chart& chart, const Axis& xs, const Axis& ys) {
  std::string out;
  for (std::size_t k = 0; k < chart.series.size(); ++k) {
    std::string path, markers;
    bool open = false;
    for (std::size_t i = 0; i < chart.x.size(); ++i) {
      std::optional<Point> p = point(chart, chart.series[k], i, xs, ys);
      if (p) {
        p->x += beside(chart, k);
        path += fmt::format("{}{:.1f} {:.1f}", open ? "L" : "M", p->x, p->y);
        const bool alone = !open && !(i + 1 < chart.x.size() && point(chart, chart.series[k], i + 1, xs, ys));
        if (alone || chart.x.size() <= most_markers) markers += marker(k, *p, 2.6);
      } else if (i < chart.series[k].y.size()) {  // a cross on the axis
        const double x = across(xs, chart.x[i]);
        markers += fmt::format("<path class=\"gap\" d=\"M{:.1f} {:.0f}l8 8m0 -8l-8 8\"/>", x - 4, plot_bottom - 4);
      }
      open = p.has_value();
    }
    if (!path.empty() && chart.labels.empty()) out += fmt::format("<path class=\"line s{}\" d=\"{}\"/>", k, path);
    out += markers;
  }
  return out;
}

// Under the pointer: a rule at x, its points, and a box with the values.
std::string bands(const Chart& chart, const Axis& xs, const Axis& ys) {
  std::string out;
  const std::size_t n = chart.x.size(), stride = (n + most_bands - 1) / most_bands;
  const auto at = [&](std::size_t i) { return across(xs, chart.x[i]); };
  for (std::size_t i = 0; i < n; i += stride) {
    const double x = at(i);
    const double from = i == 0 ? plot_left : (at(i - stride) + x) / 2;
    const double to = i + stride < n ? (x + at(i + stride)) / 2 : plot_right;
    out += fmt::format(
        "<g class=\"band\"><rect class=\"hit\" x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{:.0f}\"/><g class=\"mark\">", from,
        plot_top, std::max(to - from, 0.1), plot_bottom - plot_top);
    out += fmt::format("<path class=\"rule\" d=\"M{:.1f} {:.0f}V{:.0f}\"/>", x, plot_top, plot_bottom);
    std::vector<std::string> rows = {chart.x_name + " " + x_text(chart, i)};
    for (std::size_t k = 0; k < chart.series.size(); ++k) {
      const Series& s = chart.series[k];
      if (const std::optional<Point> p = point(chart, s, i, xs, ys)) out += marker(k, {p->x + beside(chart, k), p->y}, 4);
      if (i >= s.y.size()) continue;
      rows.push_back(fmt::format("{}: {}", s.name, format_value(s.y[i], chart.unit)));
      if (i < s.low.size() && s.low[i] != s.high[i])
        rows.back() += fmt::format(" ({} to {})", format_value(s.low[i], chart.unit), format_value(s.high[i], chart.unit));
    }
    std::size_t longest = 0;
    for (const std::string& r : rows) longest = std::max(longest, r.size());
    const double box = glyph * static_cast<double>(longest) + 14;
    const double box_x = x + 10 + box <= plot_right ? x + 10 : std::max(x - 10 - box, 2.0);
    out += fmt::format("<rect class=\"box\" x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{:.0f}\" rx=\"4\"/>", box_x, plot_top + 4,
                       box, 16.0 * static_cast<double>(rows.size()) + 8);
    for (std::size_t r = 0; r < rows.size(); ++r)
      out += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.0f}\">{}</text>", r == 0 ? "tick" : "name", box_x + 7,
                         plot_top + 19 + 16.0 * static_cast<double>(r), escape(rows[r]));
    out += "</g></g>\n";
  }
  return out;
}

Panel drawn(const Chart& chart) {
  Panel p{chart.title, describe(chart), "", chart_width, chart_height};
  if (chart.x.empty()) {
    p.body = fmt::format("<text class=\"tick middle\" x=\"{:.0f}\" y=\"{:.0f}\">no {} finished</text>", chart_width / 2, chart_height / 2,
                         escape(chart.x_name));
    return p;
  }
  const Axis xs = x_axis(chart), ys = value_axis(chart);
  const Legend names = legend(chart);
  const double down = legend_row * (names.rows - 1);
  const Chart thin = thinned(chart, most_points);
  const std::string plot = frame(chart, xs, ys) + "\n" + spreads(thin, xs, ys) + lines(thin, xs, ys) + "\n" + bands(chart, xs, ys);
  p.body = names.svg + (down > 0 ? fmt::format("<g transform=\"translate(0 {:.0f})\">{}</g>", down, plot) : plot);
  p.height += down;
  return p;
}

}  // namespace

std::string format_value(double v, Chart::Unit unit) {
  switch (unit) {
    case Chart::Unit::rate: return format_short(v);
    case Chart::Unit::percent: return format_percent(v);
    case Chart::Unit::seconds: return format_seconds(v);
    case Chart::Unit::number: break;
  }
  return format_number(v);
}

std::string x_text(const Chart& chart, std::size_t i) {
  return i < chart.labels.size() ? chart.labels[i] : fmt::format("{:g}", chart.x[i]);
}

std::string describe(const Chart& chart) {
  std::string out;
  for (const Series& s : chart.series) {
    const std::size_t n = std::min(s.y.size(), chart.x.size());
    std::optional<std::size_t> first, last, least, most;
    std::size_t gaps = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (!std::isfinite(s.y[i])) {
        ++gaps;
        continue;
      }
      if (!first) first = least = most = i;
      last = i;
      if (s.y[i] < s.y[*least]) least = i;
      if (s.y[i] > s.y[*most]) most = i;
    }
    if (!out.empty()) out += ' ';
    const auto value = [&](std::size_t i) {
      return fmt::format("{} at {} {}", format_value(s.y[i], chart.unit), chart.x_name, x_text(chart, i));
    };
    if (!first) {
      out += s.name + ": no finite value.";
      continue;
    }
    if (first != last && s.y[*least] == s.y[*most]) {
      out += fmt::format("{}: {} throughout", s.name, format_value(s.y[*first], chart.unit));
      first = last;
    } else {
      out += fmt::format("{}: {}", s.name, value(*first));
    }
    const auto is_end = [&](std::size_t i) { return s.y[i] == s.y[*first] || s.y[i] == s.y[*last]; };
    if (first != last) out += ", " + value(*last);
    if (!is_end(*least)) out += ", lowest " + value(*least);
    if (!is_end(*most)) out += ", highest " + value(*most);
    out += '.';
    if (gaps > 0) out += fmt::format(" {} of {} values not finite.", gaps, n);
  }
  return out.empty() ? "No values." : out;
}

Panel panel(const Chart& chart) { return drawn(chart); }

std::string inline_svg(const Panel& p) {
  return fmt::format("<svg class=\"chart\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n", p.width, p.height,
                     escape(p.title + ". " + p.words), p.body);
}

std::string svg_document(std::string_view title, std::string_view subtitle, std::span<const Panel> panels) {
  const double margin = 20, head = subtitle.empty() ? 44 : 66, caption = 22;
  double total_width = 2 * margin, tallest = 0;
  std::string alternative = std::string(title) + ".";
  for (const Panel& p : panels) {
    alternative += " " + p.title + ": " + p.words;  // which end with a stop
    total_width += p.width;
    tallest = std::max(tallest, p.height);
  }
  const double total_height = head + caption + tallest + margin;
  std::string out = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\" "
      "aria-label=\"{2}\">\n<style>\n{3}{4}</style>\n<rect class=\"paper\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>\n",
      total_width, total_height, escape(alternative), colour_style(), chart_style());
  out += fmt::format("<text class=\"head\" x=\"{:.0f}\" y=\"32\">{}</text>\n", margin, escape(title));
  if (!subtitle.empty()) out += fmt::format("<text class=\"tick\" x=\"{:.0f}\" y=\"52\">{}</text>\n", margin, escape(subtitle));
  double x = margin;
  for (const Panel& p : panels) {
    out += fmt::format("<g transform=\"translate({:.0f} {:.0f})\">\n<text class=\"caption\" x=\"0\" y=\"14\">{}</text>\n", x, head,
                       escape(p.title));
    out += fmt::format("<g transform=\"translate(0 {:.0f})\">\n{}</g>\n</g>\n", caption, p.body);
    x += p.width;
  }
  return out + "</svg>\n";
}

}  // namespace norma::app
