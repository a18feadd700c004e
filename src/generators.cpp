// Point sets made by code.
#include <cmath>
#include <numeric>
#include <sstream>

#include "norma/dataset.h"
#include "norma/error.h"
#include "src/draws.h"

namespace norma {
namespace {

enum Purpose : std::uint32_t { circle_noise = 0, circle_order = 1 };  // digits.cpp goes on from 16

[[noreturn]] void fail(const char* argument, double value, const char* needed) {
  std::ostringstream text;
  text << "make_circles: " << argument << " is " << value << ", not " << needed;
  throw Error(ErrorKind::usage, text.str());
}

// Fisher and Yates.
std::vector<std::int64_t> shuffled(std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[Draws(seed, circle_order, i).below(i + 1)]);
  return order;
}

}  // namespace

DatasetPair make_circles(std::int64_t samples, double noise, double factor, double test_fraction, std::uint64_t seed) {
  constexpr std::int64_t most = std::int64_t{1} << 31;
  if (samples < 2 || samples > most) fail("samples", static_cast<double>(samples), "in 2 .. 2^31");
  if (!(noise >= 0) || !std::isfinite(noise)) fail("noise", noise, "0 or more");
  if (!(factor >= 0 && factor < 1)) fail("factor", factor, "in [0, 1)");
  if (!(test_fraction > 0 && test_fraction < 1)) fail("test_fraction", test_fraction, "in (0, 1)");
  const std::int64_t test = std::llround(test_fraction * static_cast<double>(samples));
  if (test < 1 || test >= samples) fail("test_fraction", test_fraction, "one that leaves a sample in each split");

  DatasetPair pair;
  pair.source = "built in";
  pair.train.name = "circles/train";
  pair.test.name = "circles/test";
  for (Dataset* data : {&pair.train, &pair.test}) {
    data->sample = {2};
    data->classes = {"outer", "inner"};
  }

  const std::int64_t outer = samples / 2, inner = samples - outer;
  std::int64_t placed = 0;
  for (const std::int64_t i : shuffled(samples, seed)) {
    const bool is_inner = i >= outer;
    const auto [c, s] = is_inner ? cos_sin_turns(static_cast<double>(i - outer) / static_cast<double>(inner))
                                 : cos_sin_turns(static_cast<double>(i) / static_cast<double>(outer));
    const double radius = is_inner ? factor : 1;
    const auto [dx, dy] = Draws(seed, circle_noise, static_cast<std::uint64_t>(i)).normals();
    Dataset& data = placed++ < samples - test ? pair.train : pair.test;
    data.floats.push_back(static_cast<float>(radius * c + noise * dx));
    data.floats.push_back(static_cast<float>(radius * s + noise * dy));
    data.labels.push_back(is_inner ? 1 : 0);
  }
  return pair;
}

}  // namespace norma
