// Any picture as a sample that a net was trained to see.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/norma/png.h"
#include "norma/shape.h"

namespace norma::app {

enum class Invert : std::uint8_t { automatic, always, never };  // in the order of --invert

struct ImageInput {
  std::vector<std::uint8_t> bytes;  // [C][H][W]
  std::string done;                 // "640x480 RGB -> grey, inverted, scaled to 28x28"
};

// Samples are (1,H,W) or (3,H,W). RGB becomes grey by its luminance (0.299 R + 0.587 G + 0.114 B), or grey three equal channels. Scaled as
// a whole, its aspect kept, to the largest that fits and put in the middle of a ground of its border's median: means over areas where it
// shrinks, bilinear where it grows. Invert::automatic inverts a grey picture whose border is brighter than half where dark_ground says that
// the set's are dark.
ImageInput image_input(const Image& image, const Shape& sample, Invert invert, bool dark_ground);

// For prediction: read_png, transparency over white (over black where white would leave a picture of one colour), at most 2^26 pixels.
// Throws Error(data) naming the file.
Image read_picture(const std::filesystem::path& file);

}  // namespace norma::app
