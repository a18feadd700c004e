// How kernels find their place: divisions by multiplication, bits of a window, tiles of taps.
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "kernels/cuda/correlate.cuh"

namespace norma::kernels::cuda {
namespace {

TEST(Addresses, DivisorsDivide) {
  for (const std::int64_t d : {1l, 2l, 3l, 7l, 18432l, 65535l, (1l << 31) - 1, 1l << 31})
    for (const std::int64_t n : {0l, 1l, d - 1, d, d + 1, 3 * d - 1, (1l << 32) - 1})
      if (n < 1l << 32) {
        const Divisor::Result of = Divisor(d).divide(static_cast<std::uint32_t>(n));
        EXPECT_EQ(of.quotient, n / d) << n << " / " << d;
        EXPECT_EQ(of.remainder, n % d) << n << " / " << d;
      }
  for (const std::int64_t d : {1l, 3l, 10l, (1l << 31) - 1, (1l << 32) + 1, (1l << 61) - 1, 1l << 62})
    for (const std::int64_t n : {0l, 1l, d - 1, d, d + 1, (1l << 62) / d * d - 1, (1l << 62) - 1})
      if (n >= 0 && n < 1l << 62) {
        const LargeDivisor::Result of = LargeDivisor(d).divide(n);
        EXPECT_EQ(of.quotient, n / d) << n << " / " << d;
        EXPECT_EQ(of.remainder, n % d) << n << " / " << d;
      }
}

TEST(Addresses, BitsAreThoseInside) {
  for (const std::int32_t step : {1, 2, 3, -1, -2, -5})
    for (const std::int32_t kernel : {1, 3, 31, 32})
      for (std::int32_t first = -70; first < 90; ++first)
        for (const std::int32_t size : {1, 5, 40}) {
          std::uint32_t wanted = 0;
          for (std::int32_t i = 0; i < kernel; ++i)
            if (const std::int32_t at = first + i * step; at >= 0 && at < size) wanted |= 1u << i;
          EXPECT_EQ(static_cast<std::uint32_t>(bits_inside(first, kernel, step, Divisor(step < 0 ? -step : step), size)), wanted)
              << first << " + i * " << step << ", i < " << kernel << ", of " << size;
        }
}

// Where a plane is so large that 31 bits reach over few of them, tiles are shorter.
TEST(Addresses, TilesCoverEveryTapOnce) {
  for (const std::int64_t channels_in_reach : {1, 2, 128}) {
    Correlation g{};
    g.ins = 37, g.in_plane = 40, g.in_w = 8, g.lanes = 1, g.weight_in = 6, g.tile_channels = channels_in_reach;
    g.set_window({.kernel_h = 2, .kernel_w = 3}, 1);
    std::set<std::pair<std::int64_t, std::int64_t>> seen;  // place in the image, weight
    static const float image[37 * 40 + 1] = {};
    Pixel pixel[1] = {{image, 0, 0}};
    std::int64_t tiles = 0;
    for (TileOfTaps taps; taps.channel < g.ins; ++tiles) {
      const int count = taps.count(g, 128);
      ASSERT_GT(count, 0);
      for (int t = 0; t < count; ++t) {
        const TapAt at = taps.at<Inside>(g, t);
        EXPECT_LT(at.tap.offset, channels_in_reach * g.in_plane);
        EXPECT_TRUE(seen.emplace(pixel[0].origin - image + at.tap.offset, at.weight).second);
      }
      taps.advance(g, count, pixel);
    }
    std::set<std::pair<std::int64_t, std::int64_t>> wanted;
    for (std::int64_t c = 0; c < g.ins; ++c)
      for (int r = 0; r < 2; ++r)
        for (int s = 0; s < 3; ++s) wanted.emplace(c * g.in_plane + r * g.in_w + s, c * 6 + r * 3 + s);
    EXPECT_EQ(seen, wanted);
    EXPECT_EQ(tiles, channels_in_reach == 128 ? 2 : channels_in_reach == 2 ? 19 : 37);
  }
}

}  // namespace
}  // namespace norma::kernels::cuda
