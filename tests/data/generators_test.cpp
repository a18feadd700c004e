// Sets made by code: their definition, their determinism, and what they refuse.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "norma/dataset.h"
#include "src/data/portable_math.h"
#include "src/data/random_draws.h"
#include "src/files/sha256.h"
#include "tests/support/expect_error.h"

namespace norma {
namespace {

using test::expect_error;

std::string hash_of(const Dataset& data) {
  Sha256 hash;
  hash.update(data.bytes.data(), data.bytes.size());
  hash.update(data.floats.data(), data.floats.size() * sizeof(float));
  hash.update(data.labels.data(), data.labels.size() * sizeof(std::int32_t));
  return hash.hex();
}

// ---- the arithmetic below

TEST(PortableMath, AgreesWithTheCLibrary) {
  for (int i = 1; i <= 20000; ++i) {
    const double x = i / 20000.0;
    EXPECT_NEAR(portable_log(x), std::log(x), 2e-15 * std::max(1.0, -std::log(x))) << x;
    const auto [c, s] = cos_sin_turns(x);
    EXPECT_NEAR(c, std::cos(2 * std::numbers::pi * x), 1e-15) << x;
    EXPECT_NEAR(s, std::sin(2 * std::numbers::pi * x), 1e-15) << x;
  }
  EXPECT_NEAR(portable_log(0x1p-32), -32 * std::numbers::ln2, 1e-14);
  EXPECT_EQ(portable_log(1), 0);
  EXPECT_EQ(cos_sin_turns(0.25), (std::pair{0.0, 1.0}));
  EXPECT_EQ(cos_sin_turns(0.5), (std::pair{-1.0, 0.0}));
  EXPECT_EQ(cos_sin_turns(0.75), (std::pair{0.0, -1.0}));
}

TEST(Draws, NormalsHaveTheMomentsOfANormal) {
  constexpr int n = 200000;
  double sum = 0, sum2 = 0, sum4 = 0, cross = 0;
  for (int i = 0; i < n / 2; ++i) {
    const auto [a, b] = Draws(7, 99, static_cast<std::uint64_t>(i)).normals();
    for (const double v : {a, b}) {
      sum += v;
      sum2 += v * v;
      sum4 += v * v * v * v;
    }
    cross += a * b;
  }
  // Five standard errors of each.
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(sum2 / n, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(sum4 / n, 3, 5 * std::sqrt(96.0 / n));
  EXPECT_NEAR(cross / (n / 2), 0, 5 / std::sqrt(n / 2));
}

TEST(Draws, BelowIsUniform) {
  std::vector<int> counts(7);
  Draws draws(3, 98, 0);
  for (int i = 0; i < 14000; ++i) {
    if (i % 1000 == 0) draws = Draws(3, 98, static_cast<std::uint64_t>(i));
    ++counts[draws.below(7)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 2000, 5 * std::sqrt(2000 * 6.0 / 7));
}

// ---- circles

struct LabelledPoint {
  float x, y;
  std::int32_t label;
  auto operator<=>(const LabelledPoint&) const = default;
};

std::vector<LabelledPoint> points(const DatasetPair& pair) {
  std::vector<LabelledPoint> all;
  for (const Dataset* data : {&pair.train, &pair.test})
    for (std::size_t i = 0; i < data->labels.size(); ++i) all.push_back({data->floats[2 * i], data->floats[2 * i + 1], data->labels[i]});
  return all;
}

// sha256 of X.astype(float32) and y.astype(int32) of both splits, from scikit-learn 1.9.1 with numpy 2.4.6:
//   X, y = make_circles(n, noise=noise, factor=factor, random_state=seed)
//   X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=fraction, random_state=seed)
TEST(Circles, AreScikitLearnsPointsInItsOrder) {
  const struct {
    std::int64_t samples;
    double noise, factor, test_fraction;
    std::uint64_t seed;
    const char *train, *test;
  } cases[] = {
      {2000, 0.1, 0.4, 0.3, 42, "8440ef44730520d65b35aa25f0f30bb1197fc8e13a46f670602658fc47a9703e",
       "7a89dffc46f08e990cae6e0235fc1aeb937283121d9ccfe6c2f2795de3de5cbb"},  // the tutorial's
      {500, 0.1, 0.5, 0.2, 1, "fdeb4446bb9e5c9c1ddea622be35f67ebc91dfd8a012c94309d8b1e7e7a0e72c",
       "a1d6dc8117925bf1a20c2e14a418e825a18c23c8612a187806f53909ef384d33"},
      {11, 0.05, 0.25, 0.3, 4294967295, "7172da562c5d450ff9456f0e79051ec024b088658271407152c1e8d42ce22d2d",
       "cfe6f988d2cedd6289d3e300f33669dfd45336071ef44a83ca865bba856e0050"},  // a test split of 3.3 samples is one of 4
  };
  for (const auto& c : cases) {
    const DatasetPair pair = make_circles(c.samples, c.noise, c.factor, c.test_fraction, c.seed);
    EXPECT_EQ(hash_of(pair.train), c.train) << c.samples;
    EXPECT_EQ(hash_of(pair.test), c.test) << c.samples;
  }
  const DatasetPair pair = make_circles(2000, 0.1, 0.4, 0.3, 42);
  EXPECT_EQ(pair.train.floats[0], 0.84452987f);
  EXPECT_EQ(pair.train.floats[1], 0.8100507f);
  EXPECT_EQ(pair.test.floats[0], -0.32308868f);
  EXPECT_EQ(pair.test.floats[1], -0.1201821f);
}

TEST(Circles, LieOnTheirCircles) {
  // 5 points outside, then 6 inside, angles linspace(0, 2 pi, n, endpoint=False).
  std::vector<LabelledPoint> expected;
  for (int i = 0; i < 5; ++i) {
    const double a = 2 * std::numbers::pi * i / 5;
    expected.push_back({static_cast<float>(std::cos(a)), static_cast<float>(std::sin(a)), 0});
  }
  for (int i = 0; i < 6; ++i) {
    const double a = 2 * std::numbers::pi * i / 6;
    expected.push_back({static_cast<float>(0.25 * std::cos(a)), static_cast<float>(0.25 * std::sin(a)), 1});
  }
  const std::vector<LabelledPoint> made = points(make_circles(11, 0, 0.25, 0.3, 5));
  ASSERT_EQ(made.size(), expected.size());
  for (const LabelledPoint& e : expected)
    EXPECT_EQ(1, std::count_if(made.begin(), made.end(),
                               [&](const LabelledPoint& m) {
                                 return m.label == e.label && std::abs(m.x - e.x) < 1e-7 && std::abs(m.y - e.y) < 1e-7;
                               }))
        << e.x << " " << e.y;
}

TEST(Circles, SplitsNamesAndShapes) {
  const DatasetPair pair = make_circles(1000, 0.1, 0.5, 0.25, 0);
  EXPECT_EQ(pair.train.size(), 750);
  EXPECT_EQ(pair.test.size(), 250);
  EXPECT_EQ(pair.train.sample, Shape{2});
  EXPECT_EQ(pair.train.floats.size(), 1500u);
  EXPECT_TRUE(pair.train.bytes.empty());
  EXPECT_EQ(pair.test.name, "circles/test");
  EXPECT_EQ(pair.test.classes, (std::vector<std::string>{"outer", "inner"}));
  const std::int64_t inner = std::count(pair.test.labels.begin(), pair.test.labels.end(), 1);
  EXPECT_GT(inner, 85);  // shuffled before the split: 125 +- 5 standard deviations of 6.9
  EXPECT_LT(inner, 165);
}

TEST(Circles, NoiseIsGaussianOfThatDeviation) {
  constexpr double noise = 0.2;
  constexpr std::int64_t n = 20000;
  double sum2 = 0;
  for (const LabelledPoint& p : points(make_circles(n, noise, 0, 0.5, 1)))
    if (p.label == 1) sum2 += p.x * p.x + p.y * p.y;  // factor 0: the inner points are nothing but noise
  EXPECT_NEAR(sum2 / n, noise * noise, 5 * noise * noise * std::sqrt(2.0 / n));
}

TEST(Circles, RefusesBadArguments) {
  const double nan = std::nan("");
  for (const std::int64_t samples : {-1, 0, 1}) expect_error(ErrorKind::usage, {"samples"}, [&] { make_circles(samples, 0, 0.5, 0.5, 0); });
  for (const double noise : {-0.1, nan, HUGE_VAL}) expect_error(ErrorKind::usage, {"noise"}, [&] { make_circles(10, noise, 0.5, 0.5, 0); });
  for (const double factor : {-0.1, 1.0, nan}) expect_error(ErrorKind::usage, {"factor"}, [&] { make_circles(10, 0, factor, 0.5, 0); });
  for (const double share : {0.0, 1.0, -1.0, 0.99, nan})
    expect_error(ErrorKind::usage, {"test_fraction"}, [&] { make_circles(10, 0, 0.5, share, 0); });
  expect_error(ErrorKind::usage, {"seed"}, [] { make_circles(10, 0, 0.5, 0.5, std::uint64_t{1} << 32); });
}

// ---- digits

TEST(Digits, ShapesAndShares) {
  const DatasetPair pair = make_digits(1000, 200, 0);
  EXPECT_EQ(pair.source, "built in");
  EXPECT_EQ(pair.train.sample, (Shape{1, 28, 28}));
  EXPECT_EQ(pair.train.bytes.size(), 1000u * 784);
  EXPECT_EQ(pair.test.size(), 200);
  EXPECT_EQ(pair.test.classes[7], "7");
  for (int digit = 0; digit < 10; ++digit) EXPECT_EQ(std::count(pair.train.labels.begin(), pair.train.labels.end(), digit), 100);
}

TEST(Digits, SameSeedSameBitsForAnyThreadsAndSizes) {
  const DatasetPair all = make_digits(300, 100, 1), fewer = make_digits(100, 50, 1);
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const DatasetPair again = make_digits(300, 100, 1);  // by one thread
  sched_setaffinity(0, sizeof before, &before);
  EXPECT_EQ(all.train.bytes, again.train.bytes);
  EXPECT_EQ(all.test.bytes, again.test.bytes);
  EXPECT_TRUE(std::equal(fewer.train.bytes.begin(), fewer.train.bytes.end(), all.train.bytes.begin()))
      << "a small set is the start of a large one";
  EXPECT_NE(make_digits(300, 100, 2).train.bytes, all.train.bytes);
  EXPECT_FALSE(std::equal(all.test.bytes.begin(), all.test.bytes.end(), all.train.bytes.begin())) << "the splits are different digits";
  EXPECT_EQ(hash_of(all.train), "6e85918da60714ff9f5a82f6e19a045e1fa22bd20fa55a375215f0c8bdd47abb");  // the bits of any machine
}

// Neither trivial nor impossible: class means do not tell the digits apart, neighbours do.
TEST(Digits, NeedMoreThanTheirMeans) {
  const DatasetPair pair = make_digits(3000, 150, 0);
  constexpr std::size_t pixels = 784;
  std::vector<double> mean(10 * pixels);
  for (std::size_t i = 0; i < pair.train.labels.size(); ++i)
    for (std::size_t p = 0; p < pixels; ++p)
      mean[static_cast<std::size_t>(pair.train.labels[i]) * pixels + p] += pair.train.bytes[i * pixels + p] / 300.0;
  int by_mean = 0, by_neighbour = 0;
  for (std::size_t i = 0; i < pair.test.labels.size(); ++i) {
    const std::uint8_t* x = pair.test.bytes.data() + i * pixels;
    double nearest_mean = HUGE_VAL;
    std::int32_t mean_label = -1, neighbour_label = -1, nearest = 1 << 30;
    for (std::size_t c = 0; c < 10; ++c) {
      double d = 0;
      for (std::size_t p = 0; p < pixels; ++p) d += (x[p] - mean[c * pixels + p]) * (x[p] - mean[c * pixels + p]);
      if (d < nearest_mean) nearest_mean = d, mean_label = static_cast<std::int32_t>(c);
    }
    for (std::size_t k = 0; k < pair.train.labels.size(); ++k) {
      const std::uint8_t* y = pair.train.bytes.data() + k * pixels;
      std::int32_t d = 0;
      for (std::size_t p = 0; p < pixels; ++p) d += (x[p] - y[p]) * (x[p] - y[p]);
      if (d < nearest) nearest = d, neighbour_label = pair.train.labels[k];
    }
    by_mean += mean_label == pair.test.labels[i];
    by_neighbour += neighbour_label == pair.test.labels[i];
  }
  EXPECT_GT(by_mean, 150 * 0.5);
  EXPECT_LT(by_mean, 150 * 0.9);
  EXPECT_GT(by_neighbour, 150 * 0.82);
}

TEST(Digits, StayInsideTheImage) {
  const DatasetPair pair = make_digits(2000, 1, 3);
  std::int64_t border = 0;
  for (std::size_t i = 0; i < 2000; ++i)
    for (std::size_t x = 0; x < 28; ++x) border += (pair.train.bytes[i * 784 + x] > 128) + (pair.train.bytes[i * 784 + 27 * 28 + x] > 128);
  EXPECT_LT(border, 2000 / 10) << "ink on the first and last row";
}

TEST(Digits, RefusesBadArguments) {
  expect_error(ErrorKind::usage, {"make_digits", "train is 0 samples"}, [] { make_digits(0, 10, 0); });
  expect_error(ErrorKind::usage, {"make_digits", "test is -1 samples"}, [] { make_digits(10, -1, 0); });
}

}  // namespace
}  // namespace norma
