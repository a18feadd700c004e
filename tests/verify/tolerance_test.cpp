// What holds one result against another sees a wrong element wherever it lies.
#include "src/verify/tolerance.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace norma::reference {
namespace {

TEST(Tolerance, OneWrongElementIsSeenWhereverItLies) {
  const std::vector<Tracked> expected(5, Tracked(1));
  for (std::size_t at = 0; at < expected.size(); ++at)
    for (const double wrong : {1.5, std::numeric_limits<double>::quiet_NaN()}) {
      std::vector<double> actual(expected.size(), 1);
      actual[at] = wrong;
      for (const DType type : {DType::f32, DType::i32}) {
        const Agreement a = compare(type, actual, expected);
        EXPECT_EQ(a.elements, 5u);
        EXPECT_EQ(a.wrong, 1u) << at;
        EXPECT_EQ(a.worst, at);
        EXPECT_GT(a.share, 1);
      }
    }
  EXPECT_EQ(compare(DType::f32, std::vector<double>(5, 1), expected).wrong, 0u);
}

}  // namespace
}  // namespace norma::reference
