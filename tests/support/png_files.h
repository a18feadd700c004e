// PNG files made byte by byte, chunks of any kind in them, for tests of reading; and all pixels of one that is read.
#pragma once
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "apps/norma/draw/png_reader.h"
#include "tests/support/idx_files.h"

namespace norma::test {

inline std::string png_chunk(std::string_view kind, std::string_view data) {
  const std::string body = std::string(kind) + std::string(data);
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian({static_cast<std::uint32_t>(data.size())}) + body + big_endian({static_cast<std::uint32_t>(crc)});
}

struct PngFile {
  std::uint32_t width = 1, height = 1;
  int depth = 8, type = 0;  // 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
  std::string rows;         // as stored, a filter byte before each (and of each pass)
  std::string chunks = {};  // before the pixels
  bool interlaced = false;

  std::string bytes() const {
    uLongf size = compressBound(static_cast<uLong>(rows.size()));
    std::string packed(size, 0);
    EXPECT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()),
                       static_cast<uLong>(rows.size())),
              Z_OK);
    packed.resize(size);
    std::string header = big_endian({width, height});
    for (const int c : {depth, type, 0, 0, interlaced ? 1 : 0}) header += static_cast<char>(c);
    return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + chunks + png_chunk("IDAT", packed) + png_chunk("IEND", "");
  }
};

inline std::vector<std::uint8_t> pixels_of(app::PngReader& png) {
  std::vector<std::uint8_t> all;
  for (std::int64_t y = 0; y < png.height(); ++y) {
    const auto row = png.next_row();
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

}  // namespace norma::test
