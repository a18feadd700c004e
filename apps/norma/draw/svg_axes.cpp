// Axes of charts: where they end, and their ticks.
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <vector>

#include "apps/norma/draw/svg.h"

namespace norma::app {

// Beyond these ends a difference could be infinite, and a power of ten 0.
constexpr double largest_tick = 1e300, smallest_tick = 1e-300;

Axis linear_axis(double lo, double hi, int count) {
  if (!(lo <= hi)) lo = 0, hi = 1;  // no finite value at all
  for (double* end : {&lo, &hi}) {
    *end = std::clamp(*end, -largest_tick, largest_tick);
    if (std::abs(*end) < smallest_tick) *end = 0;
  }
  if (lo == hi) {  // around a constant: from zero, or one to each side of it
    if (lo == 0) hi = 1;
    else if (lo > 0) lo = 0, hi *= 1.25;
    else hi = 0, lo *= 1.25;
  }
  const double rough = (hi - lo) / count, power = std::pow(10, std::floor(std::log10(rough)));
  const double multiple = rough / power;
  const double factor = multiple <= 1 ? 1 : multiple <= 2 ? 2 : multiple <= 5 ? 5 : 10;
  const double step = factor * power;
  Axis a;
  // 1e-9: a bound that is a tick but for rounding is that tick
  const auto first = std::llround(std::floor(lo / step + 1e-9)), last = std::llround(std::ceil(hi / step - 1e-9));
  for (auto i = first; i <= last; ++i) a.ticks.push_back(static_cast<double>(i) * step);
  a.lo = a.ticks.front();
  a.hi = a.ticks.back();
  a.decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  return a;
}

Axis log_axis(double lo, double hi) {
  constexpr std::array steps = {1.0, 2.0, 5.0};
  lo = std::clamp(lo, smallest_tick, largest_tick), hi = std::clamp(hi, lo, largest_tick);
  const int first = static_cast<int>(std::floor(std::log10(lo))), last = static_cast<int>(std::floor(std::log10(hi)));
  std::vector<double> all;  // from the tick at or below lo to the one at or above hi
  for (int e = first; e <= last + 1; ++e)
    for (const double s : steps) all.push_back(s * std::pow(10, e));
  const auto begin = std::prev(std::upper_bound(all.begin() + 1, all.end(), lo * (1 + 1e-9)));
  const auto end = std::lower_bound(begin + 1, all.end(), hi * (1 - 1e-9));
  Axis a{*begin, *end, true, {begin, std::next(end)}, 0};
  if (a.ticks.size() > 8) {  // powers of ten alone, every k-th where those are many too
    const int stride = (last - first) / 7 + 1;
    a.ticks.clear();
    for (int e = first; e <= last + 1; e += stride)
      if (const double t = std::pow(10, e); t >= a.lo * (1 - 1e-9) && t <= a.hi * (1 + 1e-9)) a.ticks.push_back(t);
  }
  return a;
}

}  // namespace norma::app
