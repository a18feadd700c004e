// correlate.cu's convolutions and linear layers on tensor cores, which multiply factors rounded to tf32 or bf16 and add in float.
//
// A thread looks at one column, its own, as in correlate.cu. Instead of multiplying it stores its inputs in the warp's shared memory. The
// warp multiplies the block's filters with its 32 columns, 8 words of taps at a time (product.cuh). Then every thread takes its column's
// sums back, and writes them as there. Taps beyond the last are 0 on both sides: a factor may be infinite.
// A batch norm's sums are not made along the way. Tensor cores pay for large tensors, and there a batch norm by itself reads them once
// (batch_norm_resident.cu).
#include "kernels/cuda/correlate.cuh"
#include "kernels/cuda/product_tiles.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int words_per_tile = 64, words_at_once = 16;
constexpr int no_conflict = 8;  // words by which rows are longer, so that the parts of a matrix lie in 32 banks

template <Precision precision, int filters>
struct Tile {
  std::uint32_t weight[words_per_tile][filters + no_conflict];
  Taps<words_per_tile * factors_per_word<precision>> taps;
  std::uint32_t seen[correlate_warps][words_at_once][warp + no_conflict];
};

template <Precision precision, int filters, class Seen>
__global__ void __launch_bounds__(correlate_threads, product_blocks) correlate_on_tensor_cores(Correlation g) {
  static_assert(filters % product_rows == 0 && correlate_threads == 2 * words_per_tile);
  constexpr int per_word = factors_per_word<precision>, taps_per_tile = words_per_tile * per_word;
  constexpr int row_tiles = filters / product_rows;
  Tile<precision, filters>& tile = shared<Tile<precision, filters>>();
  auto& seen = tile.seen[warp_index()];
  const BlockOf<filters, 1> block(g);
  auto columns = Columns<1>::of<Seen>(g, block);
  const float* const weights = block.weights(g);
  const int lane = lane_index();

  ProductSums<row_tiles, warp / product_columns> sum;
  for (TileOfTaps taps; taps.channel < g.ins;) {
    const int count = taps.count(g, taps_per_tile);
    const int words = ceil_div(count, words_at_once * per_word) * words_at_once;
    __syncthreads();
    if (const int word = static_cast<int>(threadIdx.x) % words_per_tile, half = static_cast<int>(threadIdx.x) / words_per_tile;
        word < words) {
      TapAt at[per_word];
#pragma unroll
      for (int t = 0; t < per_word; ++t) {
        const int tap = word * per_word + t;
        at[t] = tap < count ? taps.at<Seen>(g, tap) : TapAt{no_tap<Seen>(), -1};
        if (half == 0) tile.taps.set(tap, at[t].tap);
      }
#pragma unroll 8
      for (int k = half; k < filters; k += 2)
        tile.weight[word][k] = make_word<precision>(
            [&](int t) { return k < block.live && at[t].weight >= 0 ? weights[k * g.weight_out + at[t].weight] : 0.0f; });
    }
    __syncthreads();
    for (int first = 0; first < words; first += words_at_once) {
#pragma unroll
      for (int w = 0; w < words_at_once; ++w)
        seen[w][lane] =
            make_word<precision>([&](int t) { return look<Seen>(g, columns.pixel[0], tile.taps.at((first + w) * per_word + t)); });
      __syncwarp();
#pragma unroll
      for (int step = 0; step < words_at_once; step += product_words)
        sum.template add<precision>([&](int k, int word) { return tile.weight[first + step + word][k]; },
                                    [&](int word, int column) { return seen[step + word][column]; });
      __syncwarp();  // a product orders no memory
    }
    taps.advance(g, count, columns.pixel);
  }

  float made[1][filters];
#pragma unroll
  for (int i = 0; i < row_tiles; ++i) {
    sum.for_each(i, [&](int k, int column, float value) { seen[k][column] = static_cast<std::uint32_t>(__float_as_int(value)); });
    __syncwarp();
#pragma unroll
    for (int k = 0; k < product_rows; ++k)
      made[0][i * product_rows + k] = __int_as_float(static_cast<int>(seen[k][lane])) + block.bias(g, i * product_rows + k);
    __syncwarp();
  }
  put(g, NoSums{}, block, columns, made);
}

template <Precision precision>
void launch_of(const Correlation& g, const Queue& queue) {
  const Tiling t = tiling_of(g);
  const auto start = [&](auto kernel) { launch(kernel, t.blocks(), correlate_threads, queue.stream, tiled(g, t)); };
  const auto start_for = [&]<class Seen>(Seen) {
    if (t.filters == 64) start(named<correlate_on_tensor_cores<precision, 64, Seen>>());
    else start(named<correlate_on_tensor_cores<precision, 16, Seen>>());
  };
  g.is_general() || !g.has_bits() ? start_for(General{}) : start_for(Padded{});
}

}  // namespace

void launch_on_tensor_cores(const Correlation& g, const Queue& queue) {
  if (g.precision == Precision::tf32) launch_of<Precision::tf32>(g, queue);
  else launch_of<Precision::bf16>(g, queue);
}

}  // namespace norma::kernels::cuda
