// Batch normalisation in one pass over memory for rows shorter than a warp: NHWC, (N,C). A block keeps its rows of 32 columns in shared
// memory. Parts, sums and arithmetic are those of the Calls one by one, and so are the bits.
#include "kernels/cuda/batch_norm_resident.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int held = 32;  // rows of a thread, of all parts of its block
static_assert(resident_rows == held * column_threads * max_parts && resident_row == min_row);

// Blocks of a multiprocessor that there are registers for; that many at least of a forward pass on every architecture.
constexpr int most_blocks = 6;
[[maybe_unused]] constexpr int least_forward_blocks = 5;

// Each thread's elements are only its own, so that no barrier is needed.
template <int tensors>
struct Held {
  float of[tensors][held][sum_threads];
};

// Share of a block in a team's parts: `parts` to a block, of at most `rows` rows of a thread each.
struct Portion {
  std::int32_t parts, rows;
  std::int32_t blocks;  // of a team

  explicit Portion(const View& v, const Parts& cut) {
    rows = static_cast<std::int32_t>(ceil_div(ceil_div(v.outer, cut.parts), column_threads));
    parts = held / rows, blocks = static_cast<std::int32_t>(ceil_div(cut.parts, parts));
  }
};

// Work of one block: its parts, of the blocks of channels team, team + teams, ...
struct Share {
  std::int32_t first_part, end_part, team, teams, blocks_of_channels;

  __device__ __forceinline__ Share(const View& v, const Parts& cut, const Portion& portion) {
    const std::int32_t own = static_cast<std::int32_t>(blockIdx.x), parts = static_cast<std::int32_t>(cut.parts);
    team = own / portion.blocks, teams = static_cast<std::int32_t>(gridDim.x) / portion.blocks;
    first_part = own % portion.blocks * portion.parts;
    end_part = first_part + portion.parts < parts ? first_part + portion.parts : parts;
    blocks_of_channels = static_cast<std::int32_t>(ceil_div(v.channels, cut.channels));
  }
};

// Calls f(k, index, row) for each row of the part that is the calling thread's, k being its place on chip. `at_once` rows are on the way at
// a time.
template <int at_once, class F>
__device__ __forceinline__ void for_each_held(const View& v, const ColumnPart& at, std::int32_t first_held, F f) {
  const std::int64_t columns = v.channels * v.inner, begin = at.first * columns + at.column;
  const int rows = static_cast<int>(ceil_div(at.end - at.first, column_threads));
#pragma unroll at_once
  for (int k = 0; k < rows; ++k) f(first_held + k, begin + k * column_threads * columns, at.first + k * column_threads);
}

// Adds up what terms(k, a, b) adds to its accumulators for the thread's rows of a part before `end`.
template <class Terms>
__device__ __forceinline__ Pair sum_held(const ColumnPart& at, std::int64_t end, std::int32_t first_held, Terms terms) {
  const int rows = static_cast<int>(ceil_div(end - at.first, column_threads));
  Pair sum{0, 0};
  for (int k = 0; k < rows;) {
    float a = 0, b = 0;
#pragma unroll
    for (int j = 0; j < vectors_per_flush && k < rows; ++j, ++k) terms(first_held + k, a, b);
    sum.a += static_cast<double>(a), sum.b += static_cast<double>(b);
  }
  return sum;
}

// For each block of channels in turn: calls load(part, k) of each of the block's parts, whose rows are held from k on. Then it calls
// part_of(part, k) of each; their sums over all rows go to the result. Then it calls apply(part, k).
template <class Partial, class Result, class Load, class PartOf, class Apply>
__device__ __forceinline__ void for_each_channels(const View& v, const Partials<Partial>& p, const Portion& portion, const Result& result,
                                                  Load load, PartOf part_of, Apply apply) {
  const Share share(v, p.cut, portion);
  for (std::int32_t block = share.team; block < share.blocks_of_channels; block += share.teams) {
    const auto for_each_part = [&](auto f) {
      for (std::int32_t part = share.first_part; part < share.end_part; ++part)
        f(column_part(v, p.cut, part, block), (part - share.first_part) * portion.rows);
    };
    for_each_part(load);
    for_each_part([&](const ColumnPart& at, std::int32_t first_held) {
      if (first_held > 0) __syncthreads();  // the merge of the part before has ended
      put_column(v, p, at, merge_column(part_of(at, first_held)));
    });
    const ColumnPart any = column_part(v, p.cut, share.first_part, block);
    meet({p.counters + 2 * block, p.counters + 2 * block + 1}, portion.blocks, [&] { add_up_columns(v, p, any, result); });
    if (any.channel >= 0) for_each_part(apply);
  }
}

__global__ void __launch_bounds__(sum_threads, least_forward_blocks)
    resident_columns_forward(View v, Partials<Moments> partials, Portion portion, ForwardOperands p, Statistics result,
                             Normalisation normalisation) {
  auto& x = shared<Held<1>>().of[0];
  for_each_channels(
      v, partials, portion, result,
      [&](const ColumnPart& at, std::int32_t first_held) {
        for_each_held<8>(v, at, first_held, [&](int k, std::int64_t i, std::int64_t) { x[k][threadIdx.x] = p.x[i]; });
      },
      [&](const ColumnPart& at, std::int32_t first_held) {
        const std::int64_t end = end_of_samples(v, at);
        if (at.first >= end) return Moments{0, 0, 0};
        const float pivot = x[first_held][threadIdx.x];
        const Pair sum = sum_held(at, end, first_held, [&](int k, float& s, float& q) {
          const float d = x[k][threadIdx.x] - pivot;
          s += d;
          q = fmaf(d, d, q);
        });
        return moments_of(ceil_div(end - at.first, column_threads), pivot, sum);
      },
      [&](const ColumnPart& at, std::int32_t first_held) {
        const Normalisation::Channel z = normalisation.channel(at.channel);
        for_each_held<8>(v, at, first_held, [&](int k, std::int64_t i, std::int64_t) {
          const float y = z(x[k][threadIdx.x]);
          p.y[i] = folded_activate(p.relu ? Activation::relu : Activation::none, p.r ? y + p.r[i] : y);
        });
      });
}

__global__ void __launch_bounds__(sum_threads, most_blocks)
    resident_columns_backward(View v, Partials<Pair> partials, Portion portion, Activation act, GradientOperands p, float* dx,
                              GradientSums result, BackwardNormalisation normalisation) {
  Held<2>& held_values = shared<Held<2>>();
  auto &g = held_values.of[0], &x = held_values.of[1];
  for_each_channels(
      v, partials, portion, result,
      [&](const ColumnPart& at, std::int32_t first_held) {
        for_each_held<4>(v, at, first_held, [&](int k, std::int64_t i, std::int64_t) {
          x[k][threadIdx.x] = p.x[i];
          g[k][threadIdx.x] = folded_gradient(act, p.dy[i], act == Activation::none ? 0.0f : p.y[i]);
        });
      },
      [&](const ColumnPart& at, std::int32_t first_held) {
        if (at.first >= at.end) return Pair{0, 0};
        const float mean = p.mean[at.channel], rstd = p.rstd[at.channel];
        return sum_held(at, at.end, first_held, [&](int k, float& gx, float& all) {
          add_gradient(Activation::none, g[k][threadIdx.x], 0.0f, x[k][threadIdx.x], mean, rstd, gx, all);
        });
      },
      [&](const ColumnPart& at, std::int32_t first_held) {
        const BackwardNormalisation::Channel of = normalisation.channel(at.channel);
        const std::uint32_t position = static_cast<std::uint32_t>(at.column % v.inner);
        for_each_held<4>(v, at, first_held, [&](int k, std::int64_t i, std::int64_t row) {
          if (p.dr) p.dr[i] = g[k][threadIdx.x];
          dx[i] = v.valid(row, position) ? of(g[k][threadIdx.x], x[k][threadIdx.x]) : 0.0f;
        });
      });
}

}  // namespace

bool launch_resident_columns(const View& view, const Partials<Moments>& partials, const ForwardOperands& p, const Statistics& result,
                             const Normalisation& normalisation, const Queue& queue) {
  const Portion portion(view, partials.cut);
  return launch_resident(named<resident_columns_forward>(), most_blocks, portion.blocks, channel_blocks(view, partials.cut), queue, view,
                         partials, portion, p, result, normalisation);
}

bool launch_resident_columns(const View& view, const Partials<Pair>& partials, Activation act, const GradientOperands& p, float* dx,
                             const GradientSums& result, const BackwardNormalisation& normalisation, const Queue& queue) {
  const Portion portion(view, partials.cut);
  return launch_resident(named<resident_columns_backward>(), most_blocks, portion.blocks, channel_blocks(view, partials.cut), queue, view,
                         partials, portion, act, p, dx, result, normalisation);
}

}  // namespace norma::kernels::cuda
