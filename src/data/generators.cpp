// Point sets made by code.
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <sstream>

#include "norma/dataset.h"
#include "norma/error.h"
#include "src/data/portable_math.h"

namespace norma {
namespace {

[[noreturn]] void fail(const char* argument, double value, const char* needed) {
  std::ostringstream text;
  text << "make_circles: " << argument << " is " << value << ", not " << needed;
  throw Error(ErrorKind::usage, text.str());
}

// numpy.random.RandomState(seed), whose sequences numpy has frozen (NEP 19): the Mersenne Twister of the C++ standard, and on top of its
// words what follows. Operation for operation, so that the same seed gives the same numbers.
class RandomState {
 public:
  explicit RandomState(std::uint32_t seed) : words_(seed) {}

  // The order shuffle() leaves 0 .. count-1 in, which is also permutation(count): Fisher and Yates from the end.
  std::vector<std::int64_t> permutation(std::int64_t count) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[up_to(static_cast<std::uint32_t>(i))]);
    return order;
  }

  // N(0, 1) by the polar method (Marsaglia and Bray 1964): of each pair the second comes first.
  double normal() {
    if (has_kept_) {
      has_kept_ = false;
      return kept_;
    }
    double x1 = 0, x2 = 0, r2 = 0;
    do {
      x1 = 2 * uniform() - 1;
      x2 = 2 * uniform() - 1;
      r2 = x1 * x1 + x2 * x2;
    } while (r2 >= 1 || r2 == 0);
    const double f = std::sqrt(-2 * portable_log(r2) / r2);
    kept_ = f * x1;
    has_kept_ = true;
    return f * x2;
  }

 private:
  std::uint32_t word() { return static_cast<std::uint32_t>(words_()); }

  // 53 bits in [0, 1).
  double uniform() {
    const std::uint32_t high = word() >> 5, low = word() >> 6;
    return (high * 0x1p26 + low) / 0x1p53;
  }

  // In 0 .. most: words cut to as many bits as most has, until one is not above it.
  std::uint32_t up_to(std::uint32_t most) {
    std::uint32_t mask = most;
    for (const int shift : {1, 2, 4, 8, 16}) mask |= mask >> shift;
    std::uint32_t value = word() & mask;
    while (value > most) value = word() & mask;
    return value;
  }

  std::mt19937 words_;
  double kept_ = 0;
  bool has_kept_ = false;
};

}  // namespace

DatasetPair make_circles(std::int64_t samples, double noise, double factor, double test_fraction, std::uint64_t seed) {
  constexpr std::int64_t most = std::int64_t{1} << 31;
  if (samples < 2 || samples > most) fail("samples", static_cast<double>(samples), "in 2 .. 2^31");
  // A draw of the noise is below 13: its last digit is 2^-53, and sqrt(-2 log(2^-104)) = 12.01.
  constexpr double most_noise = std::numeric_limits<float>::max() / 16;
  if (!(noise >= 0 && noise <= most_noise)) fail("noise", noise, "in 0 .. 2e37, so that the points fit a float");
  if (!(factor >= 0 && factor < 1)) fail("factor", factor, "in [0, 1)");
  if (!(test_fraction > 0 && test_fraction < 1)) fail("test_fraction", test_fraction, "in (0, 1)");
  if (seed >> 32 != 0) fail("seed", static_cast<double>(seed), "below 2^32");
  const auto test = static_cast<std::int64_t>(std::ceil(test_fraction * static_cast<double>(samples)));
  if (test >= samples) fail("test_fraction", test_fraction, "one that leaves a sample in each split");

  // The points in scikit-learn's order: shuffled, then each given its noise.
  const std::int64_t outer = samples / 2, inner = samples - outer;
  RandomState draws(static_cast<std::uint32_t>(seed));
  std::vector<float> points;
  std::vector<std::int32_t> labels;
  points.reserve(2 * static_cast<std::size_t>(samples));
  labels.reserve(static_cast<std::size_t>(samples));
  for (const std::int64_t i : draws.permutation(samples)) {
    const bool is_inner = i >= outer;
    const auto [c, s] = is_inner ? cos_sin_turns(static_cast<double>(i - outer) / static_cast<double>(inner))
                                 : cos_sin_turns(static_cast<double>(i) / static_cast<double>(outer));
    const double radius = is_inner ? factor : 1;
    const double dx = draws.normal(), dy = draws.normal();
    points.push_back(static_cast<float>(radius * c + noise * dx));
    points.push_back(static_cast<float>(radius * s + noise * dy));
    labels.push_back(is_inner ? 1 : 0);
  }

  DatasetPair pair;
  pair.source = "built in";
  pair.train.name = "circles/train";
  pair.test.name = "circles/test";
  for (Dataset* data : {&pair.train, &pair.test}) {
    data->sample = {2};
    data->classes = {"outer", "inner"};
  }
  std::int64_t placed = 0;
  for (const std::int64_t i : RandomState(static_cast<std::uint32_t>(seed)).permutation(samples)) {
    Dataset& data = placed++ < test ? pair.test : pair.train;
    const auto at = static_cast<std::size_t>(i);
    data.floats.insert(data.floats.end(), {points[2 * at], points[2 * at + 1]});
    data.labels.push_back(labels[at]);
  }
  return pair;
}

}  // namespace norma
