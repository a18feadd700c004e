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

// Of an image, which must outlive it.
Picture picture_of(const Image& image);

// Of a PNG file, for prediction: values as PngReader gives them, those of transparent pixels mixed with white (with black where white would
// leave a picture of one colour). Throws Error(data) naming the file, here and from `rows`.
Picture read_picture(const std::filesystem::path& file);

// Samples are (1,H,W) or (3,H,W). RGB becomes grey by its luminance (0.299 R + 0.587 G + 0.114 B), or grey three equal channels. Scaled as
// a whole, its aspect kept, to the largest that fits and put in the middle of a ground of its border's median: means over areas where it
// shrinks, bilinear where it grows. Invert::automatic inverts a grey picture whose border is brighter than half where dark_ground says that
// the set's are dark.
ImageInput image_input(const Picture& picture, const Shape& sample, Invert invert, bool dark_ground);

}  // namespace norma::app
