// CheckFinite: one value that is not finite is seen wherever it lies, and what lies around the values is not looked at.
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <vector>

#include "kernels/calls.h"
#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"

namespace norma::test {
namespace {

using namespace kernels;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();

// n values between guards that are not finite.
class Values {
 public:
  explicit Values(std::int64_t n) : n_(n), memory_(static_cast<std::size_t>(n) + 3 * guard, not_a_number) {
    const auto past = reinterpret_cast<std::uintptr_t>(memory_.data() + guard) % 64;
    values_ = memory_.data() + guard + (64 - past) % 64 / sizeof(float);
    for (std::int64_t i = 0; i < n; ++i) values_[i] = static_cast<float>(i % 7) - 3;
  }
  std::int64_t status(const cpu::Backend& backend) const {
    StepState state;
    std::byte* const addresses[] = {reinterpret_cast<std::byte*>(&state), reinterpret_cast<std::byte*>(values_)};
    CheckFinite call{.n = n_};
    call.state = ValueId{0};
    call.values = ValueId{1};
    backend.run(call, Part::whole, Memory{.address = addresses});
    return state.status;
  }
  float& operator[](std::int64_t i) { return values_[i]; }

 private:
  static constexpr std::size_t guard = 64;
  std::int64_t n_;
  std::vector<float> memory_;
  float* values_;
};

// First and last values of all parts into which the flat pass could be cut.
std::set<std::int64_t> edges(std::int64_t n) {
  const std::int64_t vectors = ceil_div(n, 16), parts = ceil_div(n, flat_chunk);
  std::set<std::int64_t> at{0, n - 1};
  for (std::int64_t part = 0; part < parts; ++part) {
    const Range range = chunk(vectors, parts, part);
    for (const std::int64_t i : {range.begin * 16, range.begin * 16 + 15, range.end * 16 - 16, range.end * 16 - 1})
      if (i < n) at.insert(i);
  }
  return at;
}

TEST(CheckFinite, SeesEveryValueAndNoGuard) {
  // 20 parts: 17 sixteenths of the last but one's end lie past the last value.
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{15}, std::int64_t{16}, std::int64_t{17}, flat_chunk - 1, flat_chunk,
                               flat_chunk + 1, 3 * flat_chunk + 5, 20 * flat_chunk - 16, 20 * flat_chunk + 5}) {
    Values values(n);
    for (const cpu::Backend& backend : cpu::backends()) {
      EXPECT_EQ(values.status(backend), 0) << n << " values, " << backend.isa;
      for (const std::int64_t i : edges(n))
        for (const float bad : {not_a_number, infinite, -infinite}) {
          const float good = values[i];
          values[i] = bad;
          EXPECT_EQ(values.status(backend), 1) << bad << " at " << i << " of " << n << ", " << backend.isa;
          values[i] = good;
        }
    }
  }
}

}  // namespace
}  // namespace norma::test
