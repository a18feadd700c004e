// Any picture as a sample that a net was trained to see.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "apps/norma/draw/png.h"
#include "norma/shape.h"

namespace norma::app {

enum class Invert : std::uint8_t { automatic, always, never };  // in the order of --invert

struct ImageInput {
  std::vector<std::uint8_t> bytes;  // [C][H][W]
  std::string done;                 // "640x480 RGB -> grey, inverted, scaled to 28x28"
};

// A picture given row by row, so that no more of it is held than a row or two.
struct Picture {
  using Row = std::span<const std::uint8_t>;  // [width][channels]
  std::int64_t height = 0, width = 0;
  int channels = 1;  // 1: grey, 3: RGB
  // Calls back for every row, from the first on each time, until that returns false.
  std::function<void(const std::function<bool(Row)>&)> rows;
};

// The picture of an image, which must outlive it.
Picture picture_of(const Image& image);

// The picture of a PNG file, for prediction, with values as PngReader gives them. Transparent pixels are mixed with white, or with black
// where white would leave one colour. Throws Error(data) naming the file, here and from `rows`.
Picture read_picture(const std::filesystem::path& file);

// Converts a picture to a sample of (1,H,W) or (3,H,W). RGB becomes grey by its luminance (0.299 R + 0.587 G + 0.114 B). Grey becomes three
// equal channels. The picture keeps its aspect, scaled to the largest size that fits. It lies in the middle of a ground of its border's
// median. Shrinking takes means over areas; growing is bilinear. Invert::automatic inverts a grey picture whose border is brighter than
// half, if dark_ground says that the set is dark.
ImageInput image_input(const Picture& picture, const Shape& sample, Invert invert, bool dark_ground);

}  // namespace norma::app
