// PNG out and in again, and what the sample pictures show.
#include "apps/norma/draw/png.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "apps/norma/draw/png_reader.h"
#include "norma/checkpoint.h"
#include "norma/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/png_files.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using namespace test;

Dataset images(std::int64_t count, Shape sample) {
  Dataset data;
  data.name = "made/train";
  data.sample = sample;
  for (std::int64_t i = 0; i < count * sample.elements(); ++i) data.bytes.push_back(static_cast<std::uint8_t>(i * 37));
  data.labels.assign(static_cast<std::size_t>(count), 1);
  data.classes = {"zero", "T-shirt/top"};
  return data;
}

TEST(Png, WhatIsWrittenIsRead) {
  TemporaryFolder folder;
  for (const int channels : {1, 3}) {
    Image image{5, 7, channels, {}};
    for (int i = 0; i < 5 * 7 * channels; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 91));
    write_file(folder / "image.png", encode_png(image));
    PngReader png(folder / "image.png");
    EXPECT_EQ(png.height(), 5);
    EXPECT_EQ(png.width(), 7);
    EXPECT_EQ(png.channels(), channels);
    EXPECT_FALSE(png.alpha());
    EXPECT_EQ(pixels_of(png), image.pixels);
  }
  EXPECT_EQ(folder.list(), std::vector<std::string>{"image.png"});
}

TEST(Png, RefusesWhatIsNoImage) {
  for (const Image& image : {Image{0, 4, 1, {}}, Image{2, 2, 1, {1, 2, 3}}, Image{2, 1, 2, {1, 2, 3, 4}}, Image{-1, -1, 1, {1}}})
    expect_error(ErrorKind::usage, {"PNG"}, [&] { encode_png(image); });
}

TEST(SampleGrid, ShowsTheSamplesEnlarged) {
  const Dataset data = images(9, {1, 6, 11});
  const Image grid = sample_grid(data, 2, 3, 2);
  EXPECT_EQ(grid.channels, 1);
  ASSERT_EQ(grid.pixels.size(), static_cast<std::size_t>(grid.height * grid.width));
  // Every pixel of the first sample shown is a 4x4 square, the corner 8 pixels in.
  for (std::int64_t y = 0; y < 6 * 4; ++y)
    for (std::int64_t x = 0; x < 11 * 4; ++x)
      ASSERT_EQ(grid.pixels[static_cast<std::size_t>((8 + y) * grid.width + 8 + x)],
                data.bytes[static_cast<std::size_t>(2 * 66 + y / 4 * 11 + x / 4)]);
  // Below it, its name.
  std::int64_t ink = 0;
  for (std::int64_t y = 8 + 24; y < 8 + 24 + 14; ++y)
    for (std::int64_t x = 8; x < 8 + 44; ++x) ink += grid.pixels[static_cast<std::size_t>(y * grid.width + x)] == 230;
  EXPECT_GT(ink, 100);
}

TEST(SampleGrid, EndsWithTheSet) {
  const Dataset data = images(2, {3, 4, 4});
  const Image grid = sample_grid(data, 3, 3);
  EXPECT_EQ(grid.channels, 3);
  EXPECT_EQ(grid.pixels[static_cast<std::size_t>((8 * grid.width + 8) * 3 + 1)], data.bytes[16]) << "planes become pixels";
  const std::size_t below = static_cast<std::size_t>((grid.height - 20) * grid.width * 3);
  EXPECT_TRUE(
      std::all_of(grid.pixels.begin() + static_cast<std::ptrdiff_t>(below), grid.pixels.end(), [](std::uint8_t v) { return v == 24; }));
}

TEST(SampleGrid, DrawsPoints) {
  const Image plot = sample_grid(make_circles(100, 0, 0.5, 0.5, 0).train, 1, 1);
  EXPECT_EQ(plot.channels, 3);
  std::int64_t orange = 0, blue = 0;
  for (std::size_t i = 0; i < plot.pixels.size(); i += 3) {
    orange += plot.pixels[i] == 230 && plot.pixels[i + 1] == 159;
    blue += plot.pixels[i] == 86 && plot.pixels[i + 1] == 180;
  }
  EXPECT_GT(orange, 100 + 200);  // the legend's square, and a dot of 16 pixels for each point
  EXPECT_GT(blue, 100 + 200);
}

TEST(SampleGrid, RefusesWhatItCannotDraw) {
  expect_error(ErrorKind::usage, {"made/train", "(2, 4, 4)"}, [] { sample_grid(images(2, {2, 4, 4}), 1, 1); });
  expect_error(ErrorKind::usage, {"no sample 2, there are 2"}, [] { sample_grid(images(2, {1, 4, 4}), 1, 1, 2); });
  expect_error(ErrorKind::usage, {"0 x 4"}, [] { sample_grid(images(2, {1, 4, 4}), 0, 4); });
  expect_error(ErrorKind::usage, {"too large"}, [] { sample_grid(images(2, {1, 40, 400}), 1000, 1000); });
}

}  // namespace
}  // namespace norma::app
