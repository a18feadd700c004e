#include "apps/norma/image_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "norma/error.h"

namespace norma::app {
namespace {

// One channel, in 0 .. 255.
struct Plane {
  std::int64_t height = 0, width = 0;
  std::vector<float> values;
};

// Weights of the pixels first, first + 1, ... of which an output pixel is made; their sum is 1.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;
};

std::vector<Taps> taps(std::int64_t from, std::int64_t to) {
  const double ratio = static_cast<double>(from) / static_cast<double>(to);
  std::vector<Taps> all;
  for (std::int64_t i = 0; i < to; ++i) {
    Taps t;
    if (ratio >= 1) {  // the part of each pixel that lies in [i, i + 1) * ratio
      const double lo = static_cast<double>(i) * ratio, hi = std::min(static_cast<double>(i + 1) * ratio, static_cast<double>(from));
      t.first = std::min(static_cast<std::int64_t>(lo), from - 1);
      for (std::int64_t k = t.first; k < from && static_cast<double>(k) < hi; ++k)
        t.weights.push_back((std::min(hi, static_cast<double>(k + 1)) - std::max(lo, static_cast<double>(k))) / (hi - lo));
    } else {  // between the centres of two pixels
      const double centre = std::clamp((static_cast<double>(i) + 0.5) * ratio - 0.5, 0.0, static_cast<double>(from - 1));
      t.first = std::min(static_cast<std::int64_t>(centre), std::max<std::int64_t>(from - 2, 0));
      const double second = centre - static_cast<double>(t.first);
      t.weights = from > 1 ? std::vector{1 - second, second} : std::vector{1.0};
    }
    all.push_back(std::move(t));
  }
  return all;
}

Plane scaled(const Plane& in, std::int64_t height, std::int64_t width) {
  const std::vector<Taps> rows = taps(in.height, height), columns = taps(in.width, width);
  Plane out{height, width, {}};
  std::vector<double> line(static_cast<std::size_t>(in.width));
  for (const Taps& row : rows) {
    std::ranges::fill(line, 0.0);
    for (std::size_t k = 0; k < row.weights.size(); ++k)
      for (std::size_t x = 0; x < line.size(); ++x)
        line[x] += row.weights[k] * static_cast<double>(in.values[(static_cast<std::size_t>(row.first) + k) * line.size() + x]);
    for (const Taps& column : columns) {
      double sum = 0;
      for (std::size_t k = 0; k < column.weights.size(); ++k) sum += column.weights[k] * line[static_cast<std::size_t>(column.first) + k];
      out.values.push_back(static_cast<float>(sum));
    }
  }
  return out;
}

// The median of the outermost pixels.
float border(const Plane& p) {
  std::vector<float> ring;
  for (std::int64_t y = 0; y < p.height; ++y)
    for (std::int64_t x = 0; x < p.width; ++x)
      if (y == 0 || x == 0 || y == p.height - 1 || x == p.width - 1) ring.push_back(p.values[static_cast<std::size_t>(y * p.width + x)]);
  const auto middle = ring.begin() + static_cast<std::ptrdiff_t>(ring.size() / 2);
  std::ranges::nth_element(ring, middle);
  return *middle;
}

std::vector<Plane> planes_of(const Image& image, std::int64_t channels) {
  std::vector<Plane> planes(static_cast<std::size_t>(channels), Plane{image.height, image.width, {}});
  const auto step = static_cast<std::size_t>(image.channels);
  for (std::size_t i = 0; i < image.pixels.size(); i += step) {
    const std::uint8_t* p = &image.pixels[i];
    if (channels == 1) planes[0].values.push_back(step == 3 ? std::round(0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2]) : p[0]);
    else
      for (std::size_t c = 0; c < planes.size(); ++c) planes[c].values.push_back(p[step == 3 ? c : 0]);
  }
  return planes;
}

}  // namespace

ImageInput image_input(const Image& image, const Shape& sample, Invert invert, bool dark_ground) {
  const std::int64_t channels = sample[0], height = sample[1], width = sample[2];
  ImageInput out;
  out.done = fmt::format("{}x{} {}", image.width, image.height, image.channels == 3 ? "RGB" : "grey");
  std::string steps;
  const auto say = [&](const std::string& step) { steps += (steps.empty() ? " -> " : ", ") + step; };
  std::vector<Plane> planes = planes_of(image, channels);
  if (channels == 1 && image.channels == 3) say("grey");
  if (channels == 3 && image.channels == 1) say("RGB");
  if (invert == Invert::always || (invert == Invert::automatic && dark_ground && channels == 1 && border(planes[0]) > 127)) {
    for (Plane& p : planes)
      for (float& v : p.values) v = 255 - v;
    say("inverted");
  }
  const double scale = std::min(static_cast<double>(height) / static_cast<double>(image.height),
                                static_cast<double>(width) / static_cast<double>(image.width));
  const auto side = [&](std::int64_t of, std::int64_t most) {
    return std::clamp<std::int64_t>(std::llround(static_cast<double>(of) * scale), 1, most);
  };
  const std::int64_t inner_h = side(image.height, height), inner_w = side(image.width, width);
  if (inner_h != image.height || inner_w != image.width) say(fmt::format("scaled to {}x{}", inner_w, inner_h));
  if (inner_h != height || inner_w != width) say(fmt::format("in the middle of {}x{}", width, height));
  for (const Plane& p : planes) {
    const float ground = border(p);
    const Plane inner = scaled(p, inner_h, inner_w);
    const std::int64_t top = (height - inner_h) / 2, left = (width - inner_w) / 2;
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) {
        const bool inside = y >= top && y < top + inner_h && x >= left && x < left + inner_w;
        const float v = inside ? inner.values[static_cast<std::size_t>((y - top) * inner_w + x - left)] : ground;
        out.bytes.push_back(static_cast<std::uint8_t>(std::lround(std::clamp(v, 0.0f, 255.0f))));
      }
  }
  out.done += steps;
  return out;
}

Image read_picture(const std::filesystem::path& file) {
  constexpr std::int64_t most = std::int64_t{1} << 26;
  std::error_code ec;
  if (std::filesystem::is_directory(file, ec)) throw Error(ErrorKind::data, file.string() + ": is a directory, not a PNG picture");
  Image image = read_png(file, 255, most);
  const auto uniform = [](const Image& i) { return std::ranges::all_of(i.pixels, [&](std::uint8_t v) { return v == i.pixels.front(); }); };
  return uniform(image) ? read_png(file, 0, most) : image;
}

}  // namespace norma::app
