// A small chart writer: lines over an axis of numbers, as inline SVG for a page or as a picture of its own. No script: values under
// the pointer are drawn by CSS :hover, so they work in both.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace norma::app {

inline constexpr double no_point = std::numeric_limits<double>::quiet_NaN();

struct Series {
  std::string name;
  std::vector<double> y;              // one a chart's x; a value that is not finite, such as no_point, leaves a gap and a cross
  std::vector<double> low{}, high{};  // as many, or none: the spread around y, drawn behind it
};

struct Chart {
  // automatic: logarithmic where all values are positive and span a factor of 10; logarithmic: where all are positive
  enum class Scale : std::uint8_t { linear, automatic, logarithmic };
  enum class Unit : std::uint8_t { number, rate, percent, seconds };  // rate: without trailing zeros

  std::string title, x_name;
  std::vector<double> x;       // ascending
  std::vector<Series> series;  // at most most_series
  Scale scale = Scale::linear;
  Unit unit = Unit::number;
  bool from_zero = false;      // the axis begins at 0 where it is linear
  bool logarithmic_x = false;  // x are above 0
  // Labels of the x axis, where x are no numbers. Values are then points with their spread, and no line joins them.
  std::vector<std::string> labels{};
};

// "0.1"; of a chart with labels, the i-th.
std::string x_text(const Chart& chart, std::size_t i);

// Number of series that colour, marker and dashes can distinguish.
inline constexpr std::size_t most_series = 8;

// Indices of about `most` of a chart's x, in order. They include the first and the last. In each part of the axis they include where a
// series is least, is largest and first is not finite. All indices where there are at most that many.
std::vector<std::size_t> shown_points(const Chart& chart, std::size_t most);
// The chart of these alone.
Chart thinned(const Chart& chart, std::size_t most);

// An axis: where it begins and ends, and its ticks, all on [lo, hi].
struct Axis {
  double lo = 0, hi = 1;
  bool logarithmic = false;
  std::vector<double> ticks;
  int decimals = 0;  // that tell linear ticks apart
};

// Ticks at 1, 2 or 5 times a power of ten, about `count` of them, the axis ending at ticks. lo <= hi, both finite.
Axis linear_axis(double lo, double hi, int count);
// Ticks at powers of ten, with 2 and 5 between where those are few. 0 < lo <= hi.
Axis log_axis(double lo, double hi);

std::string format_value(double v, Chart::Unit unit);

// One sentence a series: "train: 0.7102 at epoch 1, 0.3411 at epoch 5, lowest 0.3307 at epoch 4."
std::string describe(const Chart& chart);

// A drawing for a page or a picture, in units of which text has 12.
struct Panel {
  std::string title, words;  // words: its text alternative
  std::string body;          // SVG elements
  double width = 0, height = 0;
};
Panel panel(const Chart& chart);

// An <svg> element for an HTML page, with title and words as its text alternative. Its look comes from chart_style().
std::string inline_svg(const Panel& panel);
inline std::string inline_svg(const Chart& chart) { return inline_svg(panel(chart)); }
// A picture: the panels side by side under a title.
std::string svg_document(std::string_view title, std::string_view subtitle, std::span<const Panel> panels);

// CSS of a chart's parts, on the colours --ink, --muted, --grid, --surface, --bad and --series-0 to --series-7.
std::string_view chart_style();
// CSS definitions of those colours, for light and dark.
std::string_view colour_style();

}  // namespace norma::app
