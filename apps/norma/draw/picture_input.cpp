#include "apps/norma/draw/picture_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "apps/norma/draw/png_reader.h"

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

// Rounded; a conversion, since std::round is a call for every pixel.
float luminance(const std::uint8_t* rgb) {
  return static_cast<float>(static_cast<int>(0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2] + 0.5f));
}

// A row as a net sees it: `channels` lines of values, one behind the other.
class Lines {
 public:
  Lines(const Picture& picture, std::size_t channels, bool inverted)
      : values_(channels * static_cast<std::size_t>(picture.width)),
        channels_(channels),
        step_(static_cast<std::size_t>(picture.channels)),
        inverted_(inverted) {}

  const std::vector<float>& of(Picture::Row row) {
    float* to = values_.data();
    for (std::size_t c = 0; c < channels_; ++c)
      for (std::size_t i = 0; i < row.size(); i += step_) {
        const std::uint8_t* p = &row[i];
        const float v = channels_ < step_ ? luminance(p) : p[step_ == 3 ? c : 0];
        *to++ = inverted_ ? 255 - v : v;
      }
    return values_;
  }

 private:
  std::vector<float> values_;
  std::size_t channels_, step_;
  bool inverted_;
};

// Output rows are summed up side by side while the picture's go by once.
std::vector<Plane> scaled(const Picture& in, std::size_t channels, bool inverted, std::int64_t height, std::int64_t width) {
  const std::vector<Taps> rows = taps(in.height, height), columns = taps(in.width, width);
  std::vector<Plane> out(channels, Plane{height, width, {}});
  std::vector<std::vector<double>> sums(rows.size());
  Lines lines(in, channels, inverted);
  const auto last = [&](std::size_t j) { return rows[j].first + static_cast<std::int64_t>(rows[j].weights.size()) - 1; };
  const auto finish = [&](const std::vector<double>& sum) {
    for (std::size_t c = 0; c < channels; ++c)
      for (const Taps& column : columns) {
        const double* const from = &sum[c * static_cast<std::size_t>(in.width) + static_cast<std::size_t>(column.first)];
        double value = 0;
        for (std::size_t k = 0; k < column.weights.size(); ++k) value += column.weights[k] * from[k];
        out[c].values.push_back(static_cast<float>(value));
      }
  };
  std::int64_t y = 0;
  std::size_t open = 0;  // the first output row that is not finished
  in.rows([&](Picture::Row row) {
    const std::vector<float>& values = lines.of(row);
    for (std::size_t j = open; j < rows.size() && rows[j].first <= y; ++j) {
      sums[j].resize(values.size());
      const double weight = rows[j].weights[static_cast<std::size_t>(y - rows[j].first)];
      for (std::size_t x = 0; x < values.size(); ++x) sums[j][x] += weight * static_cast<double>(values[x]);
    }
    for (; open < rows.size() && last(open) <= y; ++open) {
      finish(sums[open]);
      sums[open] = {};
    }
    ++y;
    return true;
  });
  return out;
}

// The outermost pixels, a channel each.
std::vector<std::vector<float>> border(const Picture& picture, std::size_t channels) {
  Lines lines(picture, channels, false);
  const auto width = static_cast<std::size_t>(picture.width);
  std::vector<std::vector<float>> ring(channels);
  std::int64_t y = 0;
  picture.rows([&](Picture::Row row) {
    const std::vector<float>& values = lines.of(row);
    const bool edge = y == 0 || y == picture.height - 1;
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t x = 0; x < width; x += edge || width == 1 ? 1 : width - 1) ring[c].push_back(values[c * width + x]);
    ++y;
    return true;
  });
  return ring;
}

float median(std::vector<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

bool one_colour(const Picture& picture) {
  std::vector<std::uint8_t> first;  // pixel
  bool all = true;
  picture.rows([&](Picture::Row row) {
    const auto step = static_cast<std::size_t>(picture.channels);
    if (first.empty()) first.assign(row.begin(), row.begin() + picture.channels);
    for (std::size_t i = 0; i < row.size() && all; ++i) all = row[i] == first[i % step];
    return all;
  });
  return all;
}

// Pixels of `channels` values and alpha.
void mix(Picture::Row row, std::size_t channels, int ground, std::uint8_t* to) {
  for (std::size_t i = 0; i < row.size(); i += channels + 1) {
    const int alpha = row[i + channels];
    for (std::size_t c = 0; c < channels; ++c)
      *to++ = alpha == 255 ? row[i + c] : static_cast<std::uint8_t>((row[i + c] * alpha + ground * (255 - alpha) + 127) / 255);
  }
}

Picture over_ground(const std::shared_ptr<PngReader>& png, int ground) {
  return {png->height(), png->width(), png->channels(), [png, ground](const std::function<bool(Picture::Row)>& take) {
            const auto channels = static_cast<std::size_t>(png->channels());
            std::vector<std::uint8_t> mixed(static_cast<std::size_t>(png->width()) * channels);
            png->rewind();
            for (std::int64_t y = 0; y < png->height(); ++y) {
              const Picture::Row row = png->next_row();
              if (png->alpha()) mix(row, channels, ground, mixed.data());
              if (!take(png->alpha() ? Picture::Row(mixed) : row)) return;
            }
          }};
}

}  // namespace

Picture picture_of(const Image& image) {
  return {image.height, image.width, image.channels, [&image](const std::function<bool(Picture::Row)>& take) {
            const auto width = static_cast<std::size_t>(image.width * image.channels);
            for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y)
              if (!take(Picture::Row(image.pixels).subspan(y * width, width))) return;
          }};
}

Picture read_picture(const std::filesystem::path& file) {
  const auto png = std::make_shared<PngReader>(file);
  Picture picture = over_ground(png, 255);
  return png->alpha() && one_colour(picture) ? over_ground(png, 0) : picture;
}

ImageInput image_input(const Picture& picture, const Shape& sample, Invert invert, bool dark_ground) {
  const std::int64_t channels = sample[0], height = sample[1], width = sample[2];
  ImageInput out;
  out.done = fmt::format("{}x{} {}", picture.width, picture.height, picture.channels == 3 ? "RGB" : "grey");
  std::string steps;
  const auto say = [&](const std::string& step) { steps += (steps.empty() ? " -> " : ", ") + step; };
  const auto planes = static_cast<std::size_t>(channels);
  if (channels == 1 && picture.channels == 3) say("grey");
  if (channels == 3 && picture.channels == 1) say("RGB");
  std::vector<std::vector<float>> ring = border(picture, planes);
  const bool inverted =
      invert == Invert::always || (invert == Invert::automatic && dark_ground && channels == 1 && median(ring.front()) > 127);
  if (inverted) {
    for (std::vector<float>& values : ring)
      for (float& v : values) v = 255 - v;
    say("inverted");
  }
  const double scale = std::min(static_cast<double>(height) / static_cast<double>(picture.height),
                                static_cast<double>(width) / static_cast<double>(picture.width));
  const auto side = [&](std::int64_t of, std::int64_t most) {
    return std::clamp<std::int64_t>(std::llround(static_cast<double>(of) * scale), 1, most);
  };
  const std::int64_t inner_h = side(picture.height, height), inner_w = side(picture.width, width);
  if (inner_h != picture.height || inner_w != picture.width) say(fmt::format("scaled to {}x{}", inner_w, inner_h));
  if (inner_h != height || inner_w != width) say(fmt::format("in the middle of {}x{}", width, height));
  const std::vector<Plane> inner = scaled(picture, planes, inverted, inner_h, inner_w);
  const std::int64_t top = (height - inner_h) / 2, left = (width - inner_w) / 2;
  for (std::size_t c = 0; c < planes; ++c) {
    const float ground = median(ring[c]);
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) {
        const bool inside = y >= top && y < top + inner_h && x >= left && x < left + inner_w;
        const float v = inside ? inner[c].values[static_cast<std::size_t>((y - top) * inner_w + x - left)] : ground;
        out.bytes.push_back(static_cast<std::uint8_t>(std::lround(std::clamp(v, 0.0f, 255.0f))));
      }
  }
  out.done += steps;
  return out;
}

}  // namespace norma::app
