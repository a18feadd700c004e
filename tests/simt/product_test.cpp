// Products of matrices on the emulated tensor cores: by definition, and as shuffles make them.
#include <gtest/gtest.h>

#include <bit>

#include "kernels/round.h"
#include "tensor.cuh"
#include "tests/simt/test_kernels.h"

namespace norma::simt {
namespace {

using namespace kernels::cuda;

constexpr int rows = product_rows, columns = product_columns, words = product_words;

// One warp: d += a * b, twice. a is (rows x k), b (k x columns), d (rows x columns); k is the number of factors in `words` words.
template <Precision precision, bool by_shuffles>
void product_kernel(const float* a, const float* b, float* d) {
  constexpr int per_word = factors_per_word<precision>, k = words * per_word;
  const int quad = lane_index() / 4, of_quad = lane_index() % 4;
  std::uint32_t of_a[4], of_b[2];
  float of_d[4] = {};
  for (int part = 0; part < 4; ++part)
    of_a[part] = make_word<precision>([&](int f) { return a[(quad + part % 2 * 8) * k + (of_quad + part / 2 * 4) * per_word + f]; });
  for (int part = 0; part < 2; ++part)
    of_b[part] = make_word<precision>([&](int f) { return b[((of_quad + part * 4) * per_word + f) * columns + quad]; });
  for (int turn = 0; turn < 2; ++turn) {
    if constexpr (by_shuffles) add_product_by_shuffles<precision>(of_d, of_a, of_b);
    else add_product<precision>(of_d, of_a, of_b);
  }
  for (int part = 0; part < 4; ++part) d[(quad + part / 2 * 8) * columns + 2 * of_quad + part % 2] = of_d[part];
}

template <Precision precision, bool by_shuffles>
void expect_products() {
  constexpr int k = words * factors_per_word<precision>;
  std::vector<float> a = numbers(rows * k), b = numbers(k * columns);
  for (float& x : a) x = 1 + x / 1000;  // no number of the precision
  for (float& x : b) x = x / 777 - 1;
  Guarded d(rows * columns);
  launch(product_kernel<precision, by_shuffles>, 1, 32, nullptr, a.data(), b.data(), d.data());
  EXPECT_TRUE(d.guards_intact());
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
      double expected = 0;
      for (int i = 0; i < k; ++i)
        expected += 2.0 * static_cast<double>(kernels::round_to(a[static_cast<std::size_t>(row * k + i)], precision)) *
                    static_cast<double>(kernels::round_to(b[static_cast<std::size_t>(i * columns + column)], precision));
      const double made = static_cast<double>(d.values()[static_cast<std::size_t>(row * columns + column)]);
      EXPECT_NEAR(made, expected, 1e-5) << name_of(precision) << " (" << row << ", " << column << ")";
    }
}

TEST(Products, AreSumsOfRoundedFactors) {
  expect_products<Precision::tf32, false>();
  expect_products<Precision::bf16, false>();
}

TEST(Products, OfShufflesAreTheSame) {
  expect_products<Precision::tf32, true>();
  expect_products<Precision::bf16, true>();
}

}  // namespace
}  // namespace norma::simt
