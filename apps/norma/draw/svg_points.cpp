// Selects the values of a long chart that are shown.
#include <algorithm>
#include <cmath>
#include <set>

#include "apps/norma/draw/svg.h"

namespace norma::app {

std::vector<std::size_t> shown_points(const Chart& chart, std::size_t most) {
  const std::size_t n = chart.x.size();
  std::set<std::size_t> shown;
  if (n <= most || !chart.labels.empty()) {
    for (std::size_t i = 0; i < n; ++i) shown.insert(shown.end(), i);
    return {shown.begin(), shown.end()};
  }
  std::size_t lines = 0;
  const auto each = [&](auto f) {
    for (const Series& s : chart.series)
      for (const std::vector<double>* values : {&s.y, &s.low, &s.high})
        if (!values->empty()) f(*values);
  };
  each([&](const std::vector<double>&) { ++lines; });
  const std::size_t parts = std::max<std::size_t>(1, most / (2 * std::max<std::size_t>(lines, 1)));
  shown = {0, n - 1};
  for (std::size_t p = 0; p < parts; ++p) {
    const std::size_t begin = p * n / parts, end = (p + 1) * n / parts;
    each([&](const std::vector<double>& v) {
      std::size_t least = n, largest = n;
      bool gap = false;
      for (std::size_t i = begin; i < std::min(end, v.size()); ++i) {
        if (!std::isfinite(v[i])) {
          if (!gap) shown.insert(i);
          gap = true;
          continue;
        }
        if (least == n || v[i] < v[least]) least = i;
        if (largest == n || v[i] > v[largest]) largest = i;
      }
      if (least < n) shown.insert({least, largest});
    });
  }
  return {shown.begin(), shown.end()};
}

Chart thinned(const Chart& chart, std::size_t most) {
  const std::vector<std::size_t> shown = shown_points(chart, most);
  if (shown.size() == chart.x.size()) return chart;
  const auto pick = [&](const std::vector<double>& from) {
    std::vector<double> to;
    for (const std::size_t i : shown)
      if (i < from.size()) to.push_back(from[i]);
    return to;
  };
  Chart thin = chart;
  thin.x = pick(chart.x);
  for (std::size_t k = 0; k < chart.series.size(); ++k) {
    const Series& s = chart.series[k];
    thin.series[k] = {s.name, pick(s.y), pick(s.low), pick(s.high)};
  }
  return thin;
}

}  // namespace norma::app
