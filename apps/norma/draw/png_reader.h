// A PNG picture read row by row, its values as they are stored.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace norma::app {

inline constexpr std::int64_t most_picture_pixels = std::int64_t{1} << 26;  // 8192 x 8192
inline constexpr std::int64_t most_picture_side = std::int64_t{1} << 16;

// Reads a PNG file with 8 bits a value, as they are stored: gAMA, sRGB, iCCP and cHRM change nothing. A palette becomes RGB. Grey of 1, 2
// and 4 bits is scaled to 0 .. 255; of 16 bits the upper 8 are taken. tRNS becomes alpha. PIL does the same.
class PngReader {
 public:
  // Reads the whole file, no pixel yet. Throws Error(data) naming the file: no PNG (with its real type), broken, or too many pixels.
  // Limits: those above, and the most that a file of its size can hold. Interlaced pictures are held whole: at most 64 MiB or 16 times the
  // file.
  explicit PngReader(const std::filesystem::path& file);
  ~PngReader();
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  std::int64_t height() const;
  std::int64_t width() const;
  int channels() const;  // 1: grey, 3: RGB
  bool alpha() const;    // follows the channels of every pixel

  // The next row, [width][channels + alpha], until the next call; `height` times. Throws Error(data) naming the file where it is broken.
  std::span<const std::uint8_t> next_row();
  // Starts again at the first row.
  void rewind();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace norma::app
