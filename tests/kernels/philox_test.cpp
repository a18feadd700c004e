// The random numbers: those published, and dropout's.
#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace norma::kernels {
namespace {

// Random123's kat_vectors for philox4x32-10.
TEST(Philox, GivesThePublishedNumbers) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Philox4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~std::uint64_t{0}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (Philox4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Philox4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, DropoutKeepsItsShareAndDrawsAnewEachStepAndLayer) {
  const auto kept = [](std::int64_t step, std::int64_t layer) {
    std::vector<bool> mask;
    for (std::int64_t e = 0; e < 40000; ++e) mask.push_back(dropout_uniform(7, step, layer, e) >= 0.3f);
    return mask;
  };
  const auto first = kept(0, 0);
  // Standard deviation sqrt(40000 * 0.3 * 0.7) = 92.
  EXPECT_NEAR(static_cast<double>(std::count(first.begin(), first.end(), true)), 28000, 5 * 92);
  for (const auto& other : {kept(1, 0), kept(0, 1)}) {
    std::int64_t same = 0;
    for (std::size_t i = 0; i < first.size(); ++i) same += first[i] == other[i];
    EXPECT_NEAR(static_cast<double>(same), 40000 * (0.7 * 0.7 + 0.3 * 0.3), 500);  // as independent masks would
  }
}

}  // namespace
}  // namespace norma::kernels
