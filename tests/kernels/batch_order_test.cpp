// The order of samples in a shuffled epoch: a permutation for every size, none likelier than another, and no two epochs alike.
#include "kernels/batch_order.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "tests/support/sanitizers.h"

namespace norma::kernels {
namespace {

std::vector<std::int64_t> epoch_of(std::int64_t population, std::uint64_t seed, std::int64_t epoch) {
  const BatchOrder order({.seed = seed, .population = population, .epoch = epoch}, true);
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < population; ++i) all.push_back(order[i]);
  return all;
}

TEST(BatchOrder, TakesEverySampleOnce) {
  std::vector<std::int64_t> sizes{1000, 4095, 4096, 4097, 60000, 65536, 65537, 1000003};
  for (std::int64_t n = 1; n <= 130; ++n) sizes.push_back(n);
  for (const std::int64_t n : sizes) {
    std::vector<bool> seen(static_cast<std::size_t>(n));
    for (const std::int64_t at : epoch_of(n, 7, 3)) {
      ASSERT_TRUE(at >= 0 && at < n) << at << " of " << n;
      ASSERT_FALSE(seen[static_cast<std::size_t>(at)]) << at << " of " << n << " twice";
      seen[static_cast<std::size_t>(at)] = true;
    }
  }
}

TEST(BatchOrder, LooksUpAnySampleOfTheLargestSets) {
  constexpr std::int64_t n = (std::int64_t{1} << 31) - 1;
  const BatchOrder order({.seed = 1, .population = n, .position = n - 300}, true);
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < 300; ++i) {
    const std::int64_t at = order[i];
    EXPECT_TRUE(at >= 0 && at < n && seen.insert(at).second) << at;
  }
}

TEST(BatchOrder, GoesOnWhereTheBatchBegins) {
  const std::vector<std::int64_t> all = epoch_of(100, 5, 2);
  const BatchOrder from_37({.seed = 5, .population = 100, .epoch = 2, .position = 37}, true);
  for (std::size_t i = 0; i < 63; ++i) EXPECT_EQ(from_37[static_cast<std::int64_t>(i)], all[37 + i]);
}

TEST(BatchOrder, IsAsStoredWithoutShuffling) {
  const BatchOrder order({.seed = 5, .population = 100, .epoch = 2, .position = 37}, false);
  EXPECT_EQ(order[0], 37);
  EXPECT_EQ(order[62], 99);
}

// Every permutation of few samples equally often: chi squared within 4 standard deviations of its mean.
TEST(BatchOrder, HasNoFavourites) {
  SLOW_UNDER_SANITIZERS("it draws 240,000 orders");
  for (const int n : {2, 3, 4, 5}) {
    std::map<std::vector<std::int64_t>, int> count;
    constexpr int epochs = 300, seeds = 200;
    for (std::uint64_t seed = 0; seed < seeds; ++seed)
      for (int epoch = 0; epoch < epochs; ++epoch) ++count[epoch_of(n, seed, epoch)];
    double permutations = 1;
    for (int k = 2; k <= n; ++k) permutations *= k;
    const double expected = epochs * seeds / permutations, freedom = permutations - 1;
    double chi = (permutations - static_cast<double>(count.size())) * expected;
    for (const auto& [order, times] : count) chi += (times - expected) * (times - expected) / expected;
    EXPECT_LT(std::abs(chi - freedom), 4 * std::sqrt(2 * freedom) + 1) << n << " samples";
  }
}

// A sample's place in an epoch of 60,000 is uncorrelated with its place in the set, in the order before it, and in the next epoch.
TEST(BatchOrder, DoesNotCorrelate) {
  constexpr std::int64_t n = 60000;
  const double mean = (n - 1) / 2.0, deviation = std::sqrt(n) * (static_cast<double>(n) * n - 1) / 12;
  std::vector<std::int64_t> before = epoch_of(n, 0, 0);
  double squares = 0;
  constexpr int epochs = 20;
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const std::vector<std::int64_t> now = epoch_of(n, 0, epoch);
    double own = 0, next = 0, other = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double at = static_cast<double>(now[i]) - mean;
      own += at * (static_cast<double>(i) - mean);
      next += at * (static_cast<double>(now[(i + 1) % n]) - mean);
      other += at * (static_cast<double>(before[i]) - mean);
    }
    for (const double sum : {own, next, other}) {
      const double z = sum / deviation;
      EXPECT_LT(std::abs(z), 4.5) << "epoch " << epoch;
      squares += z * z;
    }
    before = now;
  }
  EXPECT_NEAR(squares / (3 * epochs), 1, 0.75);  // 4 standard deviations
}

}  // namespace
}  // namespace norma::kernels
