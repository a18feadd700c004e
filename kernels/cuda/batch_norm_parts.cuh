// Cuts batch norm's sums into parts and adds them up. The number of parts depends on the sizes alone. Long rows are summed along rows.
// Otherwise neighbouring threads take neighbouring channels.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/batch_norm.cuh"

namespace norma::kernels::cuda {

// Rows as long as a warp are summed along; of shorter ones (BatchNorm1d, NHWC) every element of C*inner is a column of its own.
inline constexpr std::int64_t min_row = warp;
inline constexpr int sum_threads = 128;
inline constexpr std::int64_t elements_per_part = 2048;  // 16 for a thread
inline constexpr std::int64_t columns_per_block = 32, column_threads = sum_threads / columns_per_block, rows_per_part = 64;
inline constexpr std::int64_t max_parts = 1024;

// Cut of the sums: `parts` of a channel's elements (along rows), or of its rows. With rows, a block takes `channels` and has a partial sum
// for each of their columns. The last block of those that share channels adds up these channels' parts.
struct Parts {
  bool along_rows = true;
  std::int64_t parts = 1, columns = 1;  // partial sums of a channel: their product
  std::int64_t channels = 1;            // of a block
};

inline Parts parts_of(const View& v) {
  const auto cut = [](std::int64_t n, std::int64_t size) { return n < size ? 1 : n / size < max_parts ? ceil_div(n, size) : max_parts; };
  if (v.inner >= min_row) return {true, cut(v.outer * v.inner, elements_per_part), 1, 1};
  return {false, cut(v.outer, rows_per_part), v.inner, columns_per_block / v.inner};
}

// Blocks that take different channels: as many counters.
inline std::int64_t channel_blocks(const View& v, const Parts& p) { return ceil_div(v.channels, p.channels); }

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

template <class Partial>
Partials<Partial> partials_of(const View& view, const Queue& queue) {
  return {parts_of(view), reinterpret_cast<Partial*>(queue.workspace), queue.counters};
}

// Values that are summed in float before the sum goes to double. The four accumulators of a vector are added up in double, too. Near a
// large mean all squares of x - pivot are small multiples of one power of two. Long chains then round down more often than up.
inline constexpr int vectors_per_flush = 8;

// ------------------------------------------------------------------------------------------ along rows

// Part k of a channel, from one multiple of 32 elements to another: each part of a padded pack holds samples.
__device__ __forceinline__ Range part_range(const View& v, std::int64_t parts, std::int64_t k) {
  const std::int64_t elements = v.outer * v.inner;
  const Range r = chunk(ceil_div(elements, warp), parts, k);
  return {r.begin * warp, r.end * warp < elements ? r.end * warp : elements};
}

// A part's elements, wherever its channel lies.
struct Part {
  std::int64_t first_pack;
  std::uint32_t first, count;  // the first one's position in its row; how many
  std::uint32_t samples;       // of these those of samples
  Part() = default;
  __device__ __forceinline__ Part(const View& v, std::int64_t parts, std::int64_t k) {
    const Range range = part_range(v, parts, k);
    first_pack = range.begin / v.inner;
    first = static_cast<std::uint32_t>(range.begin - first_pack * v.inner);
    count = static_cast<std::uint32_t>(range.end - range.begin);
    samples = samples_before(v, first + count) - samples_before(v, first);
  }

  // The element's index, its position in the row and its pack.
  struct Place {
    std::int64_t index, pack;
    std::uint32_t position;
  };
  __device__ __forceinline__ Place place(const View& v, std::int64_t channel, std::uint32_t from, std::uint32_t i) const {
    const Divisor::Result at = v.by_inner.divide(from + i);
    const std::int64_t pack = first_pack + at.quotient;
    return {(pack * v.channels + channel) * v.inner + at.remainder, pack, at.remainder};
  }

 private:
  // Counts the samples among the elements up to `end`, from the beginning of the first pack's row.
  __device__ __forceinline__ std::uint32_t samples_before(const View& v, std::uint32_t end) const {
    const std::int64_t whole = (v.outer - 1 - first_pack) * v.inner;  // in packs without padding
    if (end <= whole) return end;
    const std::uint32_t lanes_of = static_cast<std::uint32_t>(v.lanes), last = static_cast<std::uint32_t>(v.last_lanes);
    const std::uint32_t beyond = end - static_cast<std::uint32_t>(whole), pixels = beyond / lanes_of, rest = beyond - pixels * lanes_of;
    return static_cast<std::uint32_t>(whole) + pixels * last + (rest < last ? rest : last);
  }
};

// Returns a value near the part's data, so that squares of differences from it cancel little. Constant data give exactly their value. It is
// the mean of the samples among the part's first 32 elements, the same in every thread.
__device__ __forceinline__ float pivot_of(const View& v, std::int64_t channel, const Part& part, const float* x) {
  const std::uint32_t lane = static_cast<std::uint32_t>(lane_index());
  double value = 0, count = 0;
  if (lane < part.count) {
    const Part::Place at = part.place(v, channel, part.first, lane);
    if (v.valid(at.pack, at.position)) {
      value = static_cast<double>(x[at.index]);
      count = 1;
    }
  }
  return static_cast<float>(warp_sum(value) / warp_sum(count));
}

// Makes Moments from a part's sum of differences from the pivot and of their squares.
__device__ __forceinline__ Moments moments_of(const Part& part, float pivot, const Pair& sum) {
  const double m = static_cast<double>(part.samples), squares = sum.b - sum.a * sum.a / m;
  return {m, static_cast<double>(pivot) + sum.a / m, squares < 0 ? 0 : squares};  // below 0 by rounding only; NaN stays
}

__device__ __forceinline__ Moments block_total(Moments m) { return block_merge<sum_threads>(m); }
__device__ __forceinline__ Pair block_total(const Pair& p) { return {block_sum<sum_threads>(p.a), block_sum<sum_threads>(p.b)}; }

// The last block of a channel: each thread takes its share of the parts in order, then the threads meet.
template <class Partial, class Result>
__device__ __forceinline__ void add_up(const View& v, const Partials<Partial>& p, std::int64_t channel, const Result& result) {
  const Range share = chunk(p.cut.parts, sum_threads, threadIdx.x);
  Partial sum{};
  for (std::int64_t k = share.begin; k < share.end; ++k) sum = merge(sum, p.partial[k * v.channels + channel]);
  sum = block_total(sum);
  if (threadIdx.x == 0) result.write(channel, sum);
}

// ------------------------------------------------------------------------------------------ over columns

// A part of the rows of the columns of as many channels as have 32 at most, 4 threads to a column.
struct ColumnPart {
  std::int32_t part, block;  // block: of channels
  std::int32_t channel;      // -1: none, and then no rows
  std::int64_t column;       // of C*inner
  std::int64_t first, end;   // rows first, first + column_threads ... before end
};
__device__ __forceinline__ ColumnPart column_part(const View& v, const Parts& cut, std::int32_t part, std::int32_t block) {
  const std::int32_t inner = static_cast<std::int32_t>(v.inner), channels = static_cast<std::int32_t>(cut.channels);
  const std::int32_t own = static_cast<std::int32_t>(threadIdx.x % columns_per_block), channel = block * channels + own / inner;
  const bool exists = own < channels * inner && channel < v.channels;
  const Range rows = chunk(v.outer, cut.parts, part);
  return {part,
          block,
          exists ? channel : -1,
          static_cast<std::int64_t>(channel) * inner + own % inner,
          rows.begin + threadIdx.x / columns_per_block,
          exists ? rows.end : 0};
}

// A part's end without a last row that is padding in this column.
__device__ __forceinline__ std::int64_t end_of_samples(const View& v, const ColumnPart& p) {
  const bool padding = p.end == v.outer && !v.valid(v.outer - 1, static_cast<std::uint32_t>(p.column % v.inner));
  return padding ? p.end - 1 : p.end;
}

// Makes Moments of one thread's `rows` rows, whose pivot is the first of them.
__device__ __forceinline__ Moments moments_of(std::int64_t rows, float pivot, const Pair& sum) {
  const double count = static_cast<double>(rows), mean = sum.a / count, squares = sum.b - sum.a * mean;
  return {count, static_cast<double>(pivot) + mean, squares < 0 ? 0 : squares};
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

// Stores the result of merge_column.
template <class Partial>
__device__ __forceinline__ void put_column(const View& v, const Partials<Partial>& p, const ColumnPart& at, const Partial& sum) {
  if (threadIdx.x < columns_per_block && at.channel >= 0) p.partial[at.part * v.channels * v.inner + at.column] = sum;
}

// A channel's columns are merged in order.
template <class Partial, class Result>
__device__ __forceinline__ void write_columns(const View& v, const ColumnPart& at, Partial sum, const Result& result) {
  if (v.inner > 1) {
    ColumnValues<Partial>& values = shared<ColumnValues<Partial>>();
    if (threadIdx.x < columns_per_block) values.of[threadIdx.x] = sum;
    __syncthreads();
    for (std::int64_t k = 1; k < v.inner && threadIdx.x + k < columns_per_block; ++k) sum = merge(sum, values.of[threadIdx.x + k]);
  }
  if (threadIdx.x < columns_per_block && at.channel >= 0 && threadIdx.x % v.inner == 0) result.write(at.channel, sum);
}

// The last block of its channels: the column's threads share out its parts.
template <class Partial, class Result>
__device__ __forceinline__ void add_up_columns(const View& v, const Partials<Partial>& p, const ColumnPart& at, const Result& result) {
  const Range share = chunk(p.cut.parts, column_threads, threadIdx.x / columns_per_block);
  Partial sum{};
  if (at.channel >= 0)
    for (std::int64_t k = share.begin; k < share.end; ++k) sum = merge(sum, p.partial[k * v.channels * v.inner + at.column]);
  write_columns(v, at, merge_column(sum), result);
}

// ------------------------------------------------------------------------------------------ gradients

struct GradientOperands {
  const float *dy, *y, *x, *mean, *rstd;
  float* dr;  // may be null
};

inline GradientOperands gradient_operands_of(const BatchNormBackwardReduce& call, const Memory& memory) {
  return {memory.at<float>(call.dy),   memory.at<float>(call.y),    memory.at<float>(call.x),
          memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.dr)};
}

// Adds g and g * xhat of one element; returns g. Padding lanes of dy are 0 and add 0.
__device__ __forceinline__ float add_gradient(Activation act, float dy, float y, float x, float mean, float rstd, float& gx, float& g_sum) {
  const float g = folded_gradient(act, dy, y);
  gx = fmaf(g, (x - mean) * rstd, gx);
  g_sum += g;
  return g;
}

}  // namespace norma::kernels::cuda
