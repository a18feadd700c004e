// Batch normalisation: the sums, forward and backward. A channel's last block adds up its parts.
#include "kernels/cuda/batch_norm_parts.cuh"
#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {
namespace {

// ------------------------------------------------------------------------------------------ sums along rows

// The elements of one channel of one part: f(index, position in the row, pack) for the calling thread's, `vector` at a time.
template <int vector, class F>
__device__ __forceinline__ void for_part(const View& v, std::int64_t channel, const Part& part, F f) {
  for (std::uint32_t i = threadIdx.x * vector; i < part.count; i += sum_threads * vector) {
    const Part::Place at = part.place(v, channel, part.first, i);
    f(at.index, at.position, at.pack);
  }
}

// Adds up what terms(i, lanes' position, pack, k, a, b) adds to its accumulators for every element of a part, over the block.
// Terms::vector is how many elements it takes at a time.
template <int vector, class Terms>
__device__ __forceinline__ Pair sum_part(const View& v, std::int64_t channel, const Part& part, Terms terms) {
  Pair sum{0, 0};
  float a[vector] = {}, b[vector] = {};
  int held = 0;
  const auto flush = [&] {
#pragma unroll
    for (int k = 0; k < vector; ++k) {
      sum.a += static_cast<double>(a[k]), sum.b += static_cast<double>(b[k]);
      a[k] = b[k] = 0;
    }
    held = 0;
  };
  for_part<vector>(v, channel, part, [&](std::int64_t i, std::uint32_t position, std::int64_t pack) {
    terms(i, position, pack, a, b);
    if (++held == vectors_per_flush) flush();
  });
  flush();
  return {block_sum<sum_threads>(sum.a), block_sum<sum_threads>(sum.b)};
}

// `mine` is thread 0's.
template <class Partial, class Result>
__device__ __forceinline__ void finish_rows(const View& v, const Partials<Partial>& p, std::int64_t channel, const Partial& mine,
                                            const Result& result) {
  if (p.cut.parts == 1) {
    if (threadIdx.x == 0) result.write(channel, mine);
    return;
  }
  if (threadIdx.x == 0) p.partial[blockIdx.x] = mine;
  if (last_to_arrive(p.counters + channel, p.cut.parts)) add_up(v, p, channel, result);
}

// Block: one part of one channel. Neighbouring blocks take neighbouring channels.
template <int vector>
__global__ void __launch_bounds__(sum_threads)
    statistics_rows(View v, Partials<Moments> partials, const float* __restrict__ x, Statistics result) {
  const std::int64_t number = blockIdx.x / v.channels, channel = blockIdx.x - number * v.channels;
  const Part part(v, partials.cut.parts, number);
  const float pivot = pivot_of(v, channel, part, x);
  const Pair sum = sum_part<vector>(
      v, channel, part, [&](std::int64_t i, std::uint32_t position, std::int64_t pack, float(&sums)[vector], float(&squares)[vector]) {
        float value[vector];
        load(x + i, value);
#pragma unroll
        for (int k = 0; k < vector; ++k) {
          const float d = v.valid(pack, position + static_cast<std::uint32_t>(k)) ? value[k] - pivot : 0.0f;
          sums[k] += d;
          squares[k] = fmaf(d, d, squares[k]);
        }
      });
  finish_rows(v, partials, channel, moments_of(part, pivot, sum), result);
}

template <int vector>
__global__ void __launch_bounds__(sum_threads)
    gradients_rows(View v, Partials<Pair> partials, Activation act, GradientOperands p, GradientSums result) {
  const std::int64_t number = blockIdx.x / v.channels, channel = blockIdx.x - number * v.channels;
  const float mean = p.mean[channel], rstd = p.rstd[channel];
  const Pair sum = sum_part<vector>(v, channel, Part(v, partials.cut.parts, number),
                                    [&](std::int64_t i, std::uint32_t, std::int64_t, float(&gx)[vector], float(&g)[vector]) {
                                      float dy[vector], y[vector] = {}, x[vector];
                                      load(p.dy + i, dy);
                                      if (act != Activation::none) load(p.y + i, y);
                                      load(p.x + i, x);
#pragma unroll
                                      for (int k = 0; k < vector; ++k)
                                        dy[k] = add_gradient(act, dy[k], y[k], x[k], mean, rstd, gx[k], g[k]);
                                      if (p.dr) store(p.dr + i, dy);
                                    });
  finish_rows(v, partials, channel, sum, result);
}

// ------------------------------------------------------------------------------------------ sums over columns

// The block's part of the rows of its channels' columns.
__device__ __forceinline__ ColumnPart column_part(const View& v, const Parts& cut) {
  const std::uint32_t blocks = static_cast<std::uint32_t>(ceil_div(v.channels, cut.channels)), part = blockIdx.x / blocks;
  return column_part(v, cut, static_cast<std::int32_t>(part), static_cast<std::int32_t>(blockIdx.x - part * blocks));
}

template <class Partial, class Result>
__device__ __forceinline__ void finish_columns(const View& v, const Partials<Partial>& p, const ColumnPart& at, const Partial& mine,
                                               const Result& result) {
  const Partial sum = merge_column(mine);
  if (p.cut.parts == 1) return write_columns(v, at, sum, result);
  put_column(v, p, at, sum);
  if (last_to_arrive(p.counters + at.block, p.cut.parts)) add_up_columns(v, p, at, result);
}

// Each with at least 6 blocks to a multiprocessor: without saying so the compiler takes too few registers.
__global__ void __launch_bounds__(sum_threads, 6)
    statistics_columns(View v, Partials<Moments> partials, const float* __restrict__ x, Statistics result) {
  const ColumnPart p = column_part(v, partials.cut);
  const std::int64_t columns = v.channels * v.inner, end = end_of_samples(v, p);
  Moments m{0, 0, 0};
  if (p.first < end) {
    const float pivot = x[p.first * columns + p.column];
    Pair sum{0, 0};
    for (std::int64_t row = p.first; row < end;) {
      float s = 0, q = 0;
      for (int k = 0; k < vectors_per_flush && row < end; ++k, row += column_threads) {
        const float d = x[row * columns + p.column] - pivot;
        s += d;
        q = fmaf(d, d, q);
      }
      sum.a += static_cast<double>(s), sum.b += static_cast<double>(q);
    }
    m = moments_of(ceil_div(end - p.first, column_threads), pivot, sum);
  }
  finish_columns(v, partials, p, m, result);
}

__global__ void __launch_bounds__(sum_threads, 6)
    gradients_columns(View v, Partials<Pair> partials, Activation act, GradientOperands g, GradientSums result) {
  const ColumnPart p = column_part(v, partials.cut);
  const std::int64_t columns = v.channels * v.inner;
  Pair sum{0, 0};
  if (p.channel >= 0) {
    const float mean = g.mean[p.channel], rstd = g.rstd[p.channel];
    for (std::int64_t row = p.first; row < p.end;) {
      float a = 0, b = 0;
      for (int k = 0; k < vectors_per_flush && row < p.end; ++k, row += column_threads) {
        const std::int64_t i = row * columns + p.column;
        const float one = add_gradient(act, g.dy[i], act == Activation::none ? 0.0f : g.y[i], g.x[i], mean, rstd, a, b);
        if (g.dr) g.dr[i] = one;
      }
      sum.a += static_cast<double>(a), sum.b += static_cast<double>(b);
    }
  }
  finish_columns(v, partials, p, sum, result);
}

}  // namespace

Needs needs(const BatchNormStatistics& call) { return needs_of_sums<Moments>(call.dims); }
Needs needs(const BatchNormBackwardReduce& call) { return needs_of_sums<Pair>(call.dims); }

void enqueue(const BatchNormStatistics& call, const Memory& memory, const Queue& queue) {
  const View view(call.dims);
  const float* const x = memory.at<float>(call.x);
  const auto partials = partials_of<Moments>(view, queue);
  const Statistics result = statistics_of(call, memory);
  const std::int64_t blocks = partials.cut.parts * channel_blocks(view, partials.cut);
  if (partials.cut.along_rows)
    with_vectors(
        view.inner,
        [&]<int vector>() { launch(named<statistics_rows<vector>>(), blocks, sum_threads, queue.stream, view, partials, x, result); }, x);
  else launch(named<statistics_columns>(), blocks, sum_threads, queue.stream, view, partials, x, result);
}

void enqueue(const BatchNormBackwardReduce& call, const Memory& memory, const Queue& queue) {
  const View view(call.dims);
  const GradientOperands g = gradient_operands_of(call, memory);
  const auto partials = partials_of<Pair>(view, queue);
  const GradientSums result = gradient_sums_of(call, memory);
  const std::int64_t blocks = partials.cut.parts * channel_blocks(view, partials.cut);
  if (partials.cut.along_rows)
    with_vectors(
        view.inner,
        [&]<int vector>() {
          launch(named<gradients_rows<vector>>(), blocks, sum_threads, queue.stream, view, partials, call.act, g, result);
        },
        g.dy, g.y, g.x, g.dr);
  else launch(named<gradients_columns>(), blocks, sum_threads, queue.stream, view, partials, call.act, g, result);
}

}  // namespace norma::kernels::cuda
