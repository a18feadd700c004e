// Digits as pen strokes, in the ways people write them.
#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace norma {

struct StrokePoint {
  double x, y;  // x 0 .. 8 to the right, y 0 .. 12 downwards
};

// A smooth curve through its points (Catmull and Rom 1974); a corner is where one stroke ends and the next begins.
struct Stroke {
  std::array<StrokePoint, 13> points{};
  std::int32_t count = 0;

  template <class... P>
  static constexpr Stroke through(P... p) {
    return {{p...}, sizeof...(P)};
  }
};

struct Glyph {
  std::array<Stroke, 4> strokes{};
  std::int32_t count = 0;
};

// All the ways digit 0 .. 9 is written.
std::span<const Glyph> glyphs(int digit);

}  // namespace norma
