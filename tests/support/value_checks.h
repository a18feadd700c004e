// Lists of floats to write into a module and to hold what it gives against.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace norma::test {

// first, first + 1, ...
inline std::vector<float> range(std::int64_t n, float first = 0) {
  std::vector<float> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), first);
  return v;
}

inline void expect_near(const std::vector<float>& got, const std::vector<float>& want, float tolerance, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << what << "[" << i << "]";
}

}  // namespace norma::test
