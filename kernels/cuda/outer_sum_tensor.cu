// outer_sum.cu's weight gradients on tensor cores, which multiply factors rounded to tf32 or bf16 and add in float.
//
// A block makes a 32 x 32 tile of weights. Each warp takes its columns, a word of them to a lane (product.cuh). It stores their gradients
// and their windows' inputs in shared memory of its own, and multiplies the two. The warps' sums are added in order. A missing column,
// filter or tap is 0 on both sides: a factor may be infinite.
#include "kernels/cuda/outer_sum.cuh"
#include "kernels/cuda/product_tiles.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int no_conflict = 4;  // words by which rows are longer, so that the parts of a matrix lie in 32 banks

template <Precision precision>
__global__ void __launch_bounds__(outer_threads) outer_sum_on_tensor_cores(OuterSum g) {
  constexpr int per_word = factors_per_word<precision>, columns_at_once = warp * per_word;
  constexpr int row_tiles = tensor_filters / product_rows;
  struct Tile {
    TapOf tap[tensor_taps];
    struct {
      std::uint32_t dy[tensor_filters][warp + no_conflict], x[tensor_taps][warp + no_conflict];
    } of_warp[outer_warps];
    float sum[tensor_filters][tensor_taps];
  };
  Tile& tile = shared<Tile>();
  auto& factors = tile.of_warp[warp_index()];
  const OuterTile<tensor_filters, tensor_taps> block(g);
  if (threadIdx.x < tensor_taps) tile.tap[threadIdx.x] = tap_of(g, block.first_tap + threadIdx.x);
  __syncthreads();

  const int lane = lane_index();
  const int live_filters =
      static_cast<int>(g.filters - block.first_filter < tensor_filters ? g.filters - block.first_filter : tensor_filters);
  const std::uint32_t count = static_cast<std::uint32_t>(block.columns.end - block.columns.begin);
  ProductSums<row_tiles, tensor_taps / product_columns> sum;
  for (std::uint32_t first = static_cast<std::uint32_t>(warp_index()) * columns_at_once; first < count;
       first += outer_warps * columns_at_once) {
    const std::uint32_t mine = first + static_cast<std::uint32_t>(lane * per_word);
    // The last column stands in for a missing one, unread.
    const OuterColumn column[2] = {OuterColumn(g, block, mine < count ? mine : count - 1),
                                   OuterColumn(g, block, mine + 1 < count ? mine + 1 : count - 1)};
    const auto exists = [&](int c) { return mine + static_cast<std::uint32_t>(c) < count; };
#pragma unroll 8
    for (int k = 0; k < tensor_filters; ++k)
      factors.dy[k][lane] = make_word<precision>([&](int c) { return exists(c) && k < live_filters ? column[c].dy[k * g.y_plane] : 0.0f; });
#pragma unroll 8
    for (int t = 0; t < tensor_taps; ++t)
      factors.x[t][lane] = make_word<precision>([&](int c) { return exists(c) ? column[c].x(g, tile.tap[t]) : 0.0f; });
    __syncwarp();
#pragma unroll
    for (int step = 0; step < warp; step += product_words)
      sum.add<precision>([&](int k, int word) { return factors.dy[k][step + word]; },
                         [&](int word, int t) { return factors.x[t][step + word]; });
    __syncwarp();  // a product orders no memory
  }

  for (int w = 0; w < outer_warps; ++w) {
    if (warp_index() == w)
#pragma unroll
      for (int i = 0; i < row_tiles; ++i)
        sum.for_each(i, [&](int k, int t, float value) {
          float& total = tile.sum[i * product_rows + k][t];
          total = w == 0 ? value : total + value;
        });
    __syncthreads();
  }
  block.put(g, [&](int o) { return tile.sum[o / tensor_taps][o % tensor_taps]; });
}

}  // namespace

void launch_on_tensor_cores(const OuterSum& g, const Queue& queue) {
  const auto kernel = g.precision == Precision::tf32 ? named<outer_sum_on_tensor_cores<Precision::tf32>>()
                                                     : named<outer_sum_on_tensor_cores<Precision::bf16>>();
  launch(kernel, g.parts * g.tiles(), outer_threads, queue.stream, g);
}

}  // namespace norma::kernels::cuda
