// Batch normalisation: the sums, forward and backward. They are made in parts whose number depends on the sizes alone: along rows where
// they are long, else with neighbouring channels in neighbouring threads. A channel's last block adds up its parts.
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {
namespace {

// ------------------------------------------------------------------------------------------ the parts of a channel's sums

// Rows as long as a warp are summed along; of shorter ones (BatchNorm1d, NHWC) every element of C*inner is a column of its own.
constexpr std::int64_t min_row = warp;
constexpr int sum_threads = 128;
constexpr std::int64_t elements_per_part = 2048;  // 16 for a thread
constexpr std::int64_t columns_per_block = 32, column_threads = sum_threads / columns_per_block, rows_per_part = 64;
constexpr std::int64_t max_parts = 1024;

// How the sums are cut: `parts` of a channel's elements (along rows), or of its rows, where a block takes `channels` with a partial sum for
// each of their columns. The last block of those that share channels adds up these channels' parts.
struct Parts {
  bool along_rows = true;
  std::int64_t parts = 1, columns = 1;  // partial sums of a channel: their product
  std::int64_t channels = 1;            // of a block
};

Parts parts_of(const View& v) {
  const auto cut = [](std::int64_t n, std::int64_t size) { return n < size ? 1 : n / size < max_parts ? ceil_div(n, size) : max_parts; };
  if (v.inner >= min_row) return {true, cut(v.outer * v.inner, elements_per_part), 1, 1};
  return {false, cut(v.outer, rows_per_part), v.inner, columns_per_block / v.inner};
}

// Blocks that take different channels: as many counters.
std::int64_t channel_blocks(const View& v, const Parts& p) { return ceil_div(v.channels, p.channels); }

template <class Partial>
Needs needs_of_sums(const Dims& dims) {
  const View view(dims);
  const Parts p = parts_of(view);
  return {static_cast<std::size_t>(p.parts * p.columns * view.channels) * sizeof(Partial),
          static_cast<std::size_t>(channel_blocks(view, p))};
}

// The parts of the sums while they are made: [parts][channels][columns].
template <class Partial>
struct Partials {
  Parts cut;
  Partial* partial;
  unsigned* counters;
};

// Values that are summed in float before the sum goes to double; the four accumulators of a vector are added up in double, too. Near a
// large mean all squares of x - pivot are small multiples of one power of two, and long chains round down more often than up.
constexpr int vectors_per_flush = 8;

// ------------------------------------------------------------------------------------------ sums along rows

// The elements of one channel of one part: f(index, position in the row, group) for the calling thread's, `vector` at a time.
template <int vector, class F>
__device__ __forceinline__ void for_part(const View& v, std::int64_t channel, Range part, F f) {
  const std::int64_t first_group = part.begin / v.inner;
  const std::uint32_t first = static_cast<std::uint32_t>(part.begin - first_group * v.inner);
  const std::uint32_t count = static_cast<std::uint32_t>(part.end - part.begin);
  for (std::uint32_t i = threadIdx.x * vector; i < count; i += sum_threads * vector) {
    const Divisor::Result at = v.by_inner.divide(first + i);
    const std::int64_t group = first_group + at.quotient;
    f((group * v.channels + channel) * v.inner + at.remainder, at.remainder, group);
  }
}

// Part k of a channel, from one multiple of 32 elements to another: each part of a padded group holds samples.
__device__ __forceinline__ Range part_range(const View& v, std::int64_t parts, std::int64_t k) {
  const std::int64_t elements = v.outer * v.inner;
  const Range r = chunk(ceil_div(elements, warp), parts, k);
  return {r.begin * warp, r.end * warp < elements ? r.end * warp : elements};
}

// Adds up what terms(i, lanes' position, group, k, a, b) adds to its accumulators for every element of a part, over the block.
// Terms::vector is how many elements it takes at a time.
template <int vector, class Terms>
__device__ __forceinline__ Pair sum_part(const View& v, std::int64_t channel, Range part, Terms terms) {
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
  for_part<vector>(v, channel, part, [&](std::int64_t i, std::uint32_t position, std::int64_t group) {
    terms(i, position, group, a, b);
    if (++held == vectors_per_flush) flush();
  });
  flush();
  return {block_sum<sum_threads>(sum.a), block_sum<sum_threads>(sum.b)};
}

// A value near the data of the part, so that squares of differences from it cancel little, and exactly the data's value where they are
// constant: the mean of the samples among its first 32 elements. The same in every thread.
__device__ __forceinline__ float pivot_of(const View& v, std::int64_t channel, Range part, const float* x) {
  const std::int64_t element = part.begin + lane_index();
  double value = 0, count = 0;
  if (element < part.end) {
    const std::int64_t group = element / v.inner, position = element - group * v.inner;
    if (v.valid(group, static_cast<std::uint32_t>(position))) {
      value = static_cast<double>(x[(group * v.channels + channel) * v.inner + position]);
      count = 1;
    }
  }
  return static_cast<float>(warp_sum(value) / warp_sum(count));
}

// The samples' elements of a part.
__device__ __forceinline__ std::int64_t count_valid(const View& v, Range part) {
  const auto before = [&](std::int64_t end) {
    const std::int64_t whole = (v.outer - 1) * v.inner;  // in groups without padding
    if (end <= whole) return end;
    const std::int64_t pixels = (end - whole) / v.lanes, lanes = (end - whole) % v.lanes;
    return whole + pixels * v.last_lanes + (lanes < v.last_lanes ? lanes : v.last_lanes);
  };
  return before(part.end) - before(part.begin);
}

__device__ __forceinline__ Moments block_total(Moments m) { return block_merge<sum_threads>(m); }
__device__ __forceinline__ Pair block_total(const Pair& p) { return {block_sum<sum_threads>(p.a), block_sum<sum_threads>(p.b)}; }

// The last block of a channel: each thread takes its share of the parts in order, then the threads meet. `mine` is thread 0's.
template <class Partial, class Result>
__device__ __forceinline__ void finish_rows(const View& v, const Partials<Partial>& p, std::int64_t channel, const Partial& mine,
                                            const Result& result) {
  if (p.cut.parts == 1) {
    if (threadIdx.x == 0) result.write(channel, mine);
    return;
  }
  if (threadIdx.x == 0) p.partial[blockIdx.x] = mine;
  if (!last_to_arrive(p.counters + channel, p.cut.parts)) return;
  const Range share = chunk(p.cut.parts, sum_threads, threadIdx.x);
  Partial sum{};
  for (std::int64_t k = share.begin; k < share.end; ++k) sum = merge(sum, p.partial[k * v.channels + channel]);
  sum = block_total(sum);
  if (threadIdx.x == 0) result.write(channel, sum);
}

// Block: one part of one channel. Neighbouring blocks take neighbouring channels.
template <int vector>
__global__ void __launch_bounds__(sum_threads)
    statistics_rows(View v, Partials<Moments> partials, const float* __restrict__ x, Statistics result) {
  const std::int64_t part = blockIdx.x / v.channels, channel = blockIdx.x - part * v.channels;
  const Range range = part_range(v, partials.cut.parts, part);
  const float pivot = pivot_of(v, channel, range, x);
  const Pair sum = sum_part<vector>(
      v, channel, range, [&](std::int64_t i, std::uint32_t position, std::int64_t group, float(&sums)[vector], float(&squares)[vector]) {
        float value[vector];
        load(x + i, value);
#pragma unroll
        for (int k = 0; k < vector; ++k) {
          const float d = v.valid(group, position + static_cast<std::uint32_t>(k)) ? value[k] - pivot : 0.0f;
          sums[k] += d;
          squares[k] = fmaf(d, d, squares[k]);
        }
      });
  const double m = static_cast<double>(count_valid(v, range)), squares = sum.b - sum.a * sum.a / m;
  const Moments moments{m, static_cast<double>(pivot) + sum.a / m, squares < 0 ? 0 : squares};  // below 0 by rounding only; NaN stays
  finish_rows(v, partials, channel, moments, result);
}

struct GradientOperands {
  const float *dy, *y, *x, *mean, *rstd;
  float* dr;  // may be null
};

// Adds g and g * xhat of one element; returns g. Padding lanes of dy are 0, and so is what they add.
__device__ __forceinline__ float add_gradient(Activation act, float dy, float y, float x, float mean, float rstd, float& gx, float& g_sum) {
  const float g = activation_gradient(act, dy, y);
  gx = fmaf(g, (x - mean) * rstd, gx);
  g_sum += g;
  return g;
}

template <int vector>
__global__ void __launch_bounds__(sum_threads)
    gradients_rows(View v, Partials<Pair> partials, Activation act, GradientOperands p, GradientSums result) {
  const std::int64_t part = blockIdx.x / v.channels, channel = blockIdx.x - part * v.channels;
  const float mean = p.mean[channel], rstd = p.rstd[channel];
  const Pair sum = sum_part<vector>(v, channel, part_range(v, partials.cut.parts, part),
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

// Block: the columns of as many channels as have 32 at most, 4 threads to a column, one part of the rows.
struct ColumnPart {
  std::int64_t block;            // of channels
  std::int64_t channel, column;  // of C, of C*inner; -1: none
  std::int64_t first, end;       // rows first, first + column_threads ... before end
};
__device__ __forceinline__ ColumnPart column_part(const View& v, const Parts& cut) {
  const std::int64_t blocks = ceil_div(v.channels, cut.channels), part = blockIdx.x / blocks, block = blockIdx.x - part * blocks;
  const std::int64_t own = threadIdx.x % columns_per_block, channel = block * cut.channels + own / v.inner;
  const bool exists = own < cut.channels * v.inner && channel < v.channels;
  const Range rows = chunk(v.outer, cut.parts, part);
  return {block, exists ? channel : -1, exists ? channel * v.inner + own % v.inner : -1, rows.begin + threadIdx.x / columns_per_block,
          rows.end};
}

template <class T>
struct ColumnValues {
  T of[sum_threads];
};

// The column's threads' values, merged in their order by the first. Until the next barrier the other threads' stay in shared memory.
template <class T>
__device__ __forceinline__ T merge_column(const T& value) {
  ColumnValues<T>& values = shared<ColumnValues<T>>();
  values.of[threadIdx.x] = value;
  __syncthreads();
  T sum = value;
  if (threadIdx.x < columns_per_block)
    for (int k = 1; k < static_cast<int>(column_threads); ++k) sum = merge(sum, values.of[k * columns_per_block + threadIdx.x]);
  return sum;
}

// The last block of its channels: the column's threads share out its parts, then a channel's columns are merged in order.
template <class Partial, class Result>
__device__ __forceinline__ void finish_columns(const View& v, const Partials<Partial>& p, const ColumnPart& at, Partial sum,
                                               const Result& result) {
  const std::int64_t columns = v.channels * v.inner, part = blockIdx.x / ceil_div(v.channels, p.cut.channels);
  sum = merge_column(sum);
  if (p.cut.parts > 1) {
    if (threadIdx.x < columns_per_block && at.column >= 0) p.partial[part * columns + at.column] = sum;
    if (!last_to_arrive(p.counters + at.block, p.cut.parts)) return;
    const Range share = chunk(p.cut.parts, column_threads, threadIdx.x / columns_per_block);
    sum = {};
    if (at.column >= 0)
      for (std::int64_t k = share.begin; k < share.end; ++k) sum = merge(sum, p.partial[k * columns + at.column]);
    sum = merge_column(sum);
  }
  if (v.inner > 1) {
    ColumnValues<Partial>& values = shared<ColumnValues<Partial>>();
    if (threadIdx.x < columns_per_block) values.of[threadIdx.x] = sum;
    __syncthreads();
    for (std::int64_t k = 1; k < v.inner && threadIdx.x + k < columns_per_block; ++k) sum = merge(sum, values.of[threadIdx.x + k]);
  }
  if (threadIdx.x < columns_per_block && at.column >= 0 && threadIdx.x % v.inner == 0) result.write(at.channel, sum);
}

// Each thread's pivot is the first value it sees. At least 6 blocks to a multiprocessor: without saying so the compiler takes too few
// registers.
__global__ void __launch_bounds__(sum_threads, 6)
    statistics_columns(View v, Partials<Moments> partials, const float* __restrict__ x, Statistics result) {
  const ColumnPart p = column_part(v, partials.cut);
  const std::int64_t columns = v.channels * v.inner;
  Moments m{0, 0, 0};
  if (p.column >= 0) {
    const std::uint32_t position = static_cast<std::uint32_t>(p.column % v.inner);
    const std::int64_t end = p.end == v.outer && !v.valid(v.outer - 1, position) ? p.end - 1 : p.end;  // without a last row of padding
    if (p.first < end) {
      const float pivot = x[p.first * columns + p.column];
      double sum = 0, squares = 0;
      for (std::int64_t row = p.first; row < end;) {
        float s = 0, q = 0;
        for (int k = 0; k < vectors_per_flush && row < end; ++k, row += column_threads) {
          const float d = x[row * columns + p.column] - pivot;
          s += d;
          q = fmaf(d, d, q);
        }
        sum += static_cast<double>(s), squares += static_cast<double>(q);
      }
      const double count = static_cast<double>(ceil_div(end - p.first, column_threads)), mean = sum / count;
      const double left = squares - sum * mean;
      m = {count, static_cast<double>(pivot) + mean, left < 0 ? 0 : left};
    }
  }
  finish_columns(v, partials, p, m, result);
}

__global__ void __launch_bounds__(sum_threads)
    gradients_columns(View v, Partials<Pair> partials, Activation act, GradientOperands g, GradientSums result) {
  const ColumnPart p = column_part(v, partials.cut);
  const std::int64_t columns = v.channels * v.inner;
  Pair sum{0, 0};
  if (p.column >= 0) {
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

// Of the kernel for rows or for columns.
template <class Partial>
Partials<Partial> partials_of(const View& view, const Queue& queue) {
  return {parts_of(view), reinterpret_cast<Partial*>(queue.workspace), queue.counters};
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
        view.inner, [&]<int vector>() { launch(statistics_rows<vector>, blocks, sum_threads, queue.stream, view, partials, x, result); },
        x);
  else launch(statistics_columns, blocks, sum_threads, queue.stream, view, partials, x, result);
}

void enqueue(const BatchNormBackwardReduce& call, const Memory& memory, const Queue& queue) {
  const View view(call.dims);
  const GradientOperands g{memory.at<float>(call.dy),   memory.at<float>(call.y),    memory.at<float>(call.x),
                           memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.dr)};
  const auto partials = partials_of<Pair>(view, queue);
  const GradientSums result = gradient_sums_of(call, memory);
  const std::int64_t blocks = partials.cut.parts * channel_blocks(view, partials.cut);
  if (partials.cut.along_rows)
    with_vectors(
        view.inner,
        [&]<int vector>() { launch(gradients_rows<vector>, blocks, sum_threads, queue.stream, view, partials, call.act, g, result); }, g.dy,
        g.y, g.x, g.dr);
  else launch(gradients_columns, blocks, sum_threads, queue.stream, view, partials, call.act, g, result);
}

}  // namespace norma::kernels::cuda
