// PNG by libpng's simplified interface, and the pictures `norma data show` makes.
#include "apps/norma/draw/png.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>

#include "apps/norma/draw/pixel_font.h"
#include "norma/error.h"

namespace norma::app {
namespace {

constexpr std::int64_t zoom = 4;       // a sample's pixel, in pixels of the grid
constexpr std::int64_t text_zoom = 2;  // a font pixel
constexpr std::int64_t cell_gap = 8;   // between cells

struct Color {
  std::uint8_t r, g, b;
};
constexpr Color paper = {24, 24, 24}, text_color = {230, 230, 230};
// Okabe and Ito's palette (2008), which colour-blind readers can distinguish, too.
constexpr std::array<Color, 7> palette = {
    {{230, 159, 0}, {86, 180, 233}, {0, 158, 115}, {240, 228, 66}, {0, 114, 178}, {213, 94, 0}, {204, 121, 167}}};

Image blank(std::int64_t height, std::int64_t width, int channels) {
  if (height * width > most_png_pixels)
    throw Error(ErrorKind::usage, fmt::format("a picture of {} x {} pixels is too large", height, width));
  Image image{height, width, channels, {}};
  image.pixels.reserve(static_cast<std::size_t>(height * width * channels));
  for (std::int64_t i = 0; i < height * width; ++i)
    for (const std::uint8_t v : std::array{paper.r, paper.g, paper.b}) {
      image.pixels.push_back(v);
      if (channels == 1) break;
    }
  return image;
}

void set_pixel(Image& image, std::int64_t y, std::int64_t x, Color color) {
  if (y < 0 || x < 0 || y >= image.height || x >= image.width) return;
  std::uint8_t* pixel = &image.pixels[static_cast<std::size_t>((y * image.width + x) * image.channels)];
  pixel[0] = color.r;
  if (image.channels == 3) {
    pixel[1] = color.g;
    pixel[2] = color.b;
  }
}

void draw_square(Image& image, std::int64_t y, std::int64_t x, std::int64_t size, Color color) {
  for (std::int64_t dy = 0; dy < size; ++dy)
    for (std::int64_t dx = 0; dx < size; ++dx) set_pixel(image, y + dy, x + dx, color);
}

// One line, cut to `width` pixels.
void draw_text(Image& image, std::int64_t y, std::int64_t x, std::int64_t width, std::string_view text) {
  constexpr std::int64_t advance = (pixel_font_width + 1) * text_zoom;
  for (const char c : text.substr(0, static_cast<std::size_t>(width / advance))) {
    const std::string_view glyph = pixel_glyph(c);
    for (std::size_t i = 0; i < glyph.size(); ++i) {
      const std::int64_t row = static_cast<std::int64_t>(i) / pixel_font_width, col = static_cast<std::int64_t>(i) % pixel_font_width;
      if (glyph[i] == '#') draw_square(image, y + row * text_zoom, x + col * text_zoom, text_zoom, text_color);
    }
    x += advance;
  }
}

std::string class_name(const Dataset& data, std::int64_t sample) {
  const std::size_t label = static_cast<std::size_t>(data.labels[static_cast<std::size_t>(sample)]);
  return label < data.classes.size() ? data.classes[label] : std::to_string(label);
}

Image image_grid(const Dataset& data, std::int64_t rows, std::int64_t cols, std::int64_t first) {
  const std::int64_t channels = data.sample[0], h = data.sample[1], w = data.sample[2];
  constexpr std::int64_t text_height = (pixel_font_height + 2) * text_zoom;
  const std::int64_t cell_h = h * zoom + text_height + cell_gap, cell_w = w * zoom + cell_gap;
  Image image = blank(rows * cell_h + cell_gap, cols * cell_w + cell_gap, static_cast<int>(channels));
  for (std::int64_t k = 0; k < rows * cols && first + k < data.size(); ++k) {
    const std::int64_t y0 = cell_gap + k / cols * cell_h, x0 = cell_gap + k % cols * cell_w;
    const std::uint8_t* sample = data.bytes.data() + (first + k) * data.sample.elements();
    for (std::int64_t i = 0; i < h * w; ++i) {
      const Color color = {sample[i], sample[channels == 3 ? h * w + i : i], sample[channels == 3 ? 2 * h * w + i : i]};
      draw_square(image, y0 + i / w * zoom, x0 + i % w * zoom, zoom, color);
    }
    draw_text(image, y0 + h * zoom + text_zoom, x0, w * zoom, class_name(data, first + k));
  }
  return image;
}

Image scatter_plot(const Dataset& data) {
  constexpr std::int64_t side = 600, margin = 30, dot = 4;
  double reach = 0;
  for (const float v : data.floats) reach = std::max(reach, std::abs(static_cast<double>(v)));
  const double unit = (side / 2.0 - margin) / (reach > 0 && std::isfinite(reach) ? reach : 1);
  Image image = blank(side, side, 3);
  for (std::size_t i = 0; i < data.labels.size(); ++i) {
    const double x = data.floats[2 * i], y = data.floats[2 * i + 1];
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    draw_square(image, std::llround(side / 2.0 - y * unit) - dot / 2, std::llround(side / 2.0 + x * unit) - dot / 2, dot,
                palette[static_cast<std::size_t>(data.labels[i]) % palette.size()]);
  }
  std::int64_t line = margin / 3;
  for (std::size_t c = 0; c < data.classes.size() && c < palette.size(); ++c, line += (pixel_font_height + 2) * text_zoom) {
    draw_square(image, line, margin / 3, pixel_font_height * text_zoom, palette[c]);
    draw_text(image, line, margin / 3 + 2 * pixel_font_height * text_zoom, side / 2, data.classes[c]);
  }
  return image;
}

// libpng's state, freed on every way out.
struct Png {
  png_image state{};
  Png() { state.version = PNG_IMAGE_VERSION; }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;
  ~Png() { png_image_free(&state); }
};

}  // namespace

std::vector<std::byte> encode_png(const Image& image) {
  const bool sized = image.height > 0 && image.width > 0 && image.height <= most_png_pixels && image.width <= most_png_pixels &&
                     image.height * image.width <= most_png_pixels && (image.channels == 1 || image.channels == 3);
  if (!sized || image.pixels.size() != static_cast<std::size_t>(image.height * image.width * image.channels))
    throw Error(ErrorKind::usage, fmt::format("cannot make a PNG of {} x {} pixels with {} channels from {} bytes", image.height,
                                              image.width, image.channels, image.pixels.size()));
  Png png;
  png.state.height = static_cast<png_uint_32>(image.height);
  png.state.width = static_cast<png_uint_32>(image.width);
  png.state.format = image.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png.state);
  std::vector<std::byte> bytes(size);
  if (!png_image_write_to_memory(&png.state, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr))
    throw Error(ErrorKind::failure, fmt::format("out of memory: libpng: {}", png.state.message));  // nothing else can go wrong here
  bytes.resize(size);
  return bytes;
}

std::string png_data_uri(const Image& image) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::vector<std::byte> bytes = encode_png(image);
  std::string out = "data:image/png;base64,";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;  // three bytes, of the last group those there are
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

Image sample_grid(const Dataset& data, std::int64_t rows, std::int64_t cols, std::int64_t first) {
  constexpr std::int64_t most = 1000;
  if (rows < 1 || cols < 1 || rows > most || cols > most)
    throw Error(ErrorKind::usage, fmt::format("a grid of {} x {} samples is not between 1 x 1 and {} x {}", rows, cols, most, most));
  if (first < 0 || first >= data.size())
    throw Error(ErrorKind::usage, fmt::format("{}: no sample {}, there are {}", data.name, first, data.size()));
  const bool images = data.sample.rank() == 3 && (data.sample[0] == 1 || data.sample[0] == 3) && !data.bytes.empty();
  const bool points = data.sample == Shape{2} && !data.floats.empty();
  if (!images && !points)
    throw Error(ErrorKind::usage,
                fmt::format("{}: samples of shape {} cannot be drawn, only images and points", data.name, to_string(data.sample)));
  return images ? image_grid(data, rows, cols, first) : scatter_plot(data);
}

}  // namespace norma::app
