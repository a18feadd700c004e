// PNG images in memory and on disk, and pictures of a data set's samples.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "norma/dataset.h"

namespace norma::app {

struct Image {
  std::int64_t height = 0, width = 0;
  int channels = 1;                  // 1: grayscale, 3: RGB
  std::vector<std::uint8_t> pixels;  // [height][width][channels]
};

// Throws Error(usage) if sizes, channels and pixels do not agree, Error(failure) if libpng fails.
std::vector<std::byte> encode_png(const Image& image);

// "data:image/png;base64,...", for the src of an <img>.
std::string png_data_uri(const Image& image);

inline constexpr std::int64_t most_png_pixels = std::int64_t{1} << 28;

// rows x cols samples from number `first` on, enlarged, each with its class name below; samples are (1,H,W) or (3,H,W).
// A set of points, (2), is drawn as one scatter plot instead. Throws Error(usage) for any other shape.
Image sample_grid(const Dataset& dataset, std::int64_t rows, std::int64_t cols, std::int64_t first = 0);

}  // namespace norma::app
