// Handwritten-looking digits: a stroke font bent, slanted, rotated, scaled and moved at random, drawn with a round pen and read with noise.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "kernels/chunks.h"
#include "norma/dataset.h"
#include "norma/device.h"
#include "norma/error.h"
#include "src/data/random_draws.h"
#include "src/data/stroke_font.h"
#include "src/execute/thread_pool.h"

namespace norma {
namespace {

enum Purpose : std::uint32_t { train_digits = 16, test_digits = 17 };

constexpr int side = 28;
constexpr int steps_per_span = 5;  // line segments between two points of a stroke

// Deviations of the hand, in pixels unless said otherwise.
constexpr double bend = 0.42;                            // standard deviation of a stroke's points, font units
constexpr double rotation = 0.035;                       // turns, either way
constexpr double slant_low = -0.15, slant_high = 0.35;   // x per y
constexpr double unit_low = 1.2, unit_high = 1.7;        // one font unit
constexpr double aspect_low = 0.75, aspect_high = 1.15;  // width over the font's
constexpr double farthest_shift = 2.2;                   // either way
constexpr double pen_low = 0.75, pen_high = 1.7;         // pen's radius
constexpr double ink_low = 0.75, ink_high = 1.0;         // of full white
constexpr double grain = 0.10, background = 0.02;        // standard deviations, ink and paper

struct Point {
  double x, y;
};

// Squared distance to the nearest stroke, where that is less than the pen reaches.
class Canvas {
 public:
  explicit Canvas(double radius) : radius_(radius) { distance2_.fill(reach() * reach()); }

  void segment(Point a, Point b) {
    const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    const auto [x0, x1] = range(a.x, b.x);
    const auto [y0, y1] = range(a.y, b.y);
    for (int y = y0; y <= y1; ++y) {
      for (int x = x0; x <= x1; ++x) {
        const double px = x - a.x, py = y - a.y;
        const double t = length2 > 0 ? std::clamp((px * dx + py * dy) / length2, 0.0, 1.0) : 0.0;
        const double ex = px - t * dx, ey = py - t * dy;
        double& d2 = distance2_[static_cast<std::size_t>(y * side + x)];
        d2 = std::min(d2, ex * ex + ey * ey);
      }
    }
  }

  // Share of a pixel that the pen covers, from 1 inside to 0 outside over one pixel.
  double coverage(std::size_t pixel) const { return std::clamp(radius_ + 0.5 - std::sqrt(distance2_[pixel]), 0.0, 1.0); }

 private:
  double reach() const { return radius_ + 0.5; }
  std::pair<int, int> range(double a, double b) const {
    return {std::max(0, static_cast<int>(std::ceil(std::min(a, b) - reach()))),
            std::min(side - 1, static_cast<int>(std::floor(std::max(a, b) + reach())))};
  }

  double radius_;
  std::array<double, side * side> distance2_;
};

// Maps font units to pixels.
struct Placement {
  double xx, xy, yx, yy, x0, y0;

  explicit Placement(Draws& draws) {
    const auto [c, s] = cos_sin_turns(0.5 + draws.uniform(-rotation, rotation));  // (-cos, -sin)
    const double slant = draws.uniform(slant_low, slant_high), unit = draws.uniform(unit_low, unit_high);
    const double width = unit * draws.uniform(aspect_low, aspect_high);
    xx = -c * width;  // rotation * slant * scale; y runs down, so leaning right is -slant
    xy = c * slant * unit + s * unit;
    yx = -s * width;
    yy = s * slant * unit - c * unit;
    x0 = (side - 1) / 2.0 + draws.uniform(-farthest_shift, farthest_shift);
    y0 = (side - 1) / 2.0 + draws.uniform(-farthest_shift, farthest_shift);
  }
  Point operator()(double x, double y) const {  // the font's middle is (4, 6)
    return {x0 + xx * (x - 4) + xy * (y - 6), y0 + yx * (x - 4) + yy * (y - 6)};
  }
};

void draw(const Stroke& stroke, const Placement& place, Draws& draws, Canvas& canvas) {
  std::array<Point, std::tuple_size_v<decltype(stroke.points)>> p;
  const int n = stroke.count;
  for (int i = 0; i < n; ++i) {
    const StrokePoint& at = stroke.points[static_cast<std::size_t>(i)];
    const auto [dx, dy] = draws.normals();
    p[static_cast<std::size_t>(i)] = place(at.x + bend * dx, at.y + bend * dy);
  }
  const auto point = [&](int i) { return p[static_cast<std::size_t>(std::clamp(i, 0, n - 1))]; };
  const int steps = n > 2 ? steps_per_span : 1;
  Point from = point(0);
  for (int i = 0; i + 1 < n; ++i) {
    const Point a = point(i - 1), b = point(i), c = point(i + 1), d = point(i + 2);
    for (int k = 1; k <= steps; ++k) {
      const double t = static_cast<double>(k) / steps;
      const double wa = ((2 - t) * t - 1) * t / 2, wb = ((3 * t - 5) * t * t + 2) / 2, wc = ((4 - 3 * t) * t + 1) * t / 2,
                   wd = (t - 1) * t * t / 2;
      const Point to = {wa * a.x + wb * b.x + wc * c.x + wd * d.x, wa * a.y + wb * b.y + wc * c.y + wd * d.y};
      canvas.segment(from, to);
      from = to;
    }
  }
}

void render(int digit, Draws draws, std::uint8_t* pixels) {
  const std::span<const Glyph> ways = glyphs(digit);
  const Glyph& glyph = ways[draws.below(ways.size())];
  const Placement place(draws);
  Canvas canvas(draws.uniform(pen_low, pen_high));
  const double ink = draws.uniform(ink_low, ink_high);
  for (int i = 0; i < glyph.count; ++i) draw(glyph.strokes[static_cast<std::size_t>(i)], place, draws, canvas);
  for (std::size_t i = 0; i < side * side; ++i) {
    const double share = canvas.coverage(i);
    // The sum of two uniform draws, scaled to standard deviation 1: grain needs no tails.
    const std::uint32_t word = draws.word();
    const double noise = (static_cast<double>(word >> 16) + static_cast<double>(word & 0xFFFF) - 65535) * (2.449489742783178 / 65536);
    const double value = ink * share + (background + (grain - background) * share) * noise;
    pixels[i] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 1.0) * 255 + 0.5);
  }
}

Dataset digits(std::string name, std::int64_t count, std::uint64_t seed, Purpose purpose) {
  Dataset data;
  data.name = std::move(name);
  data.sample = {1, side, side};
  data.bytes.resize(static_cast<std::size_t>(count) * side * side);
  data.labels.resize(static_cast<std::size_t>(count));
  for (int digit = 0; digit < 10; ++digit) data.classes.push_back(std::to_string(digit));
  ThreadPool pool(usable_cores());
  pool.run(pool.team().threads, [&](int part) {
    const kernels::Range samples = kernels::chunk(count, pool.team().threads, part);
    for (std::int64_t i = samples.begin; i < samples.end; ++i) {
      const int digit = static_cast<int>(i % 10);
      data.labels[static_cast<std::size_t>(i)] = digit;
      render(digit, Draws(seed, purpose, static_cast<std::uint64_t>(i)), data.bytes.data() + i * side * side);
    }
  });
  return data;
}

}  // namespace

DatasetPair make_digits(std::int64_t train, std::int64_t test, std::uint64_t seed) {
  constexpr std::int64_t most = std::int64_t{1} << 31;
  for (const auto& [name, count] : {std::pair{"train", train}, std::pair{"test", test}})
    if (count < 1 || count > most)
      throw Error(ErrorKind::usage, std::string("make_digits: ") + name + " is " + std::to_string(count) + " samples, not 1 .. 2^31");
  return {digits("digits/train", train, seed, train_digits), digits("digits/test", test, seed, test_digits), "built in"};
}

}  // namespace norma
