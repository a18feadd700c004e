#include "tests/simt/products.h"

#include <bit>

namespace norma::simt {

void multiply(const std::array<std::uint64_t, warp_size>& parts) {
  std::array<const ProductParts*, warp_size> lanes{};
  for (std::size_t lane = 0; lane < warp_size; ++lane) lanes[lane] = reinterpret_cast<const ProductParts*>(parts[lane]);
  const auto factor = [](std::uint32_t word, bool pair, int half) {
    return std::bit_cast<float>(!pair ? word & 0xFFFFE000u : half == 0 ? word << 16 : word & 0xFFFF0000u);
  };
  for (std::uint32_t row = 0; row < 16; ++row)
    for (std::uint32_t column = 0; column < 8; ++column) {
      const std::uint32_t quad = row % 8 * 4;
      float& d = lanes[quad + column / 2]->d[row / 8 * 2 + column % 2];
      double sum = static_cast<double>(d);
      for (std::uint32_t word = 0; word < 8; ++word) {
        const ProductParts &of_a = *lanes[quad + word % 4], &of_b = *lanes[column * 4 + word % 4];
        const std::uint32_t a = of_a.a[row / 8 + word / 4 * 2], b = of_b.b[word / 4];
        for (int half = 0; half < (of_a.pairs ? 2 : 1); ++half)
          sum += static_cast<double>(factor(a, of_a.pairs, half)) * static_cast<double>(factor(b, of_a.pairs, half));
      }
      d = static_cast<float>(sum);
    }
}

}  // namespace norma::simt
