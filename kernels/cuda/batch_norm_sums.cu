// Batch normalisation: the sums, forward and backward. They are made in parts whose number depends on the sizes alone: along rows where
// they are long, else with neighbouring channels in neighbouring threads.
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {
namespace {

// ------------------------------------------------------------------------------------------ the parts of a channel's sums

// Rows as long as a warp are summed along; of shorter ones (BatchNorm1d, NHWC) every element of C*inner is a column of its own.
constexpr std::int64_t min_row = warp;
constexpr int sum_threads = 128;
constexpr std::int64_t elements_per_part = 2048;  // 16 for a thread
constexpr std::int64_t columns_per_block = 32, column_threads = sum_threads / columns_per_block, rows_per_part = 64;
constexpr std::int64_t max_parts = 1024;

// How a channel's sum is cut: `parts` of its elements (rows), or of its rows with `columns` partial sums each (columns).
// The partial sums of channel c are those at ((part * C) + c) * columns + column.
struct Parts {
  bool along_rows = true;
  std::int64_t parts = 1, columns = 1;
  std::int64_t per_channel() const { return parts * columns; }
};

Parts parts_of(const View& v) {
  const auto cut = [](std::int64_t n, std::int64_t size) { return n < size ? 1 : n / size < max_parts ? ceil_div(n, size) : max_parts; };
  if (v.inner >= min_row) return {true, cut(v.outer * v.inner, elements_per_part), 1};
  return {false, cut(v.outer, rows_per_part), v.inner};
}

template <class Partial>
std::size_t partial_bytes(const Dims& dims) {
  const View view(dims);
  return static_cast<std::size_t>(parts_of(view).per_channel() * view.channels) * sizeof(Partial);
}

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

struct Pair {
  double a, b;
};

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

// Block: one part of one channel. Neighbouring blocks take neighbouring channels.
template <int vector>
__global__ void __launch_bounds__(sum_threads) statistics_rows(View v, std::int64_t parts, const float* __restrict__ x, Moments* partial) {
  const std::int64_t part = blockIdx.x / v.channels, channel = blockIdx.x - part * v.channels;
  const Range range = part_range(v, parts, part);
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
  if (threadIdx.x != 0) return;
  const double m = static_cast<double>(count_valid(v, range)), squares = sum.b - sum.a * sum.a / m;
  partial[blockIdx.x] = {m, static_cast<double>(pivot) + sum.a / m, squares < 0 ? 0 : squares};  // below 0 by rounding only; NaN stays
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
    gradients_rows(View v, std::int64_t parts, Activation act, GradientOperands p, Pair* partial) {
  const std::int64_t part = blockIdx.x / v.channels, channel = blockIdx.x - part * v.channels;
  const float mean = p.mean[channel], rstd = p.rstd[channel];
  const Pair sum = sum_part<vector>(v, channel, part_range(v, parts, part),
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
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// ------------------------------------------------------------------------------------------ sums over columns

// Block: 32 neighbouring columns of C*inner, 4 threads to a column, one part of the rows. Of a thread's rows f(index, row) is called.
struct ColumnPart {
  std::int64_t column = 0, first = 0, end = 0;  // rows first, first + column_threads ... before end
};
__device__ __forceinline__ ColumnPart column_part(const View& v, std::int64_t parts) {
  const std::int64_t blocks = ceil_div(v.channels * v.inner, columns_per_block), part = blockIdx.x / blocks;
  const Range rows = chunk(v.outer, parts, part);
  return {(blockIdx.x - part * blocks) * columns_per_block + threadIdx.x % columns_per_block, rows.begin + threadIdx.x / columns_per_block,
          rows.end};
}

// The column's threads' values, merged in their order by the first. Once in a kernel: shared memory is not free again afterwards.
template <class T, class Merge>
__device__ __forceinline__ T merge_column(const T& value, Merge merge_two) {
  struct Values {
    T of[sum_threads];
  };
  Values& values = shared<Values>();
  values.of[threadIdx.x] = value;
  __syncthreads();
  T sum = value;
  if (threadIdx.x < columns_per_block)
    for (int k = 1; k < static_cast<int>(column_threads); ++k) sum = merge_two(sum, values.of[k * columns_per_block + threadIdx.x]);
  return sum;
}

// Each thread's pivot is the first value it sees. At least 8 blocks to a multiprocessor: without saying so the compiler takes too few
// registers.
__global__ void __launch_bounds__(sum_threads, 8)
    statistics_columns(View v, std::int64_t parts, const float* __restrict__ x, Moments* partial) {
  const ColumnPart p = column_part(v, parts);
  const std::int64_t columns = v.channels * v.inner;
  Moments m{0, 0, 0};
  if (p.column < columns) {
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
  m = merge_column(m, [](const Moments& a, const Moments& b) { return merge(a, b); });
  if (threadIdx.x < columns_per_block && p.column < columns)
    partial[blockIdx.x / ceil_div(columns, columns_per_block) * columns + p.column] = m;
}

__global__ void __launch_bounds__(sum_threads)
    gradients_columns(View v, std::int64_t parts, Activation act, GradientOperands g, Pair* partial) {
  const ColumnPart p = column_part(v, parts);
  const std::int64_t columns = v.channels * v.inner;
  Pair sum{0, 0};
  if (p.column < columns) {
    const std::int64_t channel = p.column / v.inner;
    const float mean = g.mean[channel], rstd = g.rstd[channel];
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
  sum = merge_column(sum, [](const Pair& a, const Pair& b) { return Pair{a.a + b.a, a.b + b.b}; });
  if (threadIdx.x < columns_per_block && p.column < columns)
    partial[blockIdx.x / ceil_div(columns, columns_per_block) * columns + p.column] = sum;
}

// ------------------------------------------------------------------------------------------ the parts together

constexpr int finish_threads = 128, channels_per_finish = finish_threads / warp;

// Warp: one channel. Each lane takes its share of the parts in order, then the lanes meet.
__global__ void __launch_bounds__(finish_threads)
    finish_statistics(std::int64_t channels, Parts parts, double eps, const Moments* __restrict__ partial, float* mean, float* var,
                      float* rstd) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * channels_per_finish + warp_index();
  if (channel >= channels) return;
  const Range mine = chunk(parts.parts * parts.columns, warp, lane_index());
  Moments m{0, 0, 0};
  for (std::int64_t k = mine.begin; k < mine.end; ++k)
    m = merge(m, partial[(k / parts.columns * channels + channel) * parts.columns + k % parts.columns]);
  m = warp_merge(m);
  if (lane_index() != 0) return;
  const double v = m.squares / m.count;
  mean[channel] = static_cast<float>(m.mean);
  var[channel] = static_cast<float>(v);
  rstd[channel] = static_cast<float>(1 / sqrt(v + eps));
}

__global__ void __launch_bounds__(finish_threads)
    finish_gradients(std::int64_t channels, Parts parts, const Pair* __restrict__ partial, float* dgamma, float* dbeta) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * channels_per_finish + warp_index();
  if (channel >= channels) return;
  const Range mine = chunk(parts.parts * parts.columns, warp, lane_index());
  Pair sum{0, 0};
  for (std::int64_t k = mine.begin; k < mine.end; ++k) {
    const Pair p = partial[(k / parts.columns * channels + channel) * parts.columns + k % parts.columns];
    sum.a += p.a, sum.b += p.b;
  }
  const double gx = warp_sum(sum.a), g = warp_sum(sum.b);
  if (lane_index() != 0) return;
  dgamma[channel] = static_cast<float>(gx);
  dbeta[channel] = static_cast<float>(g);
}

}  // namespace

std::size_t workspace_of(const BatchNormStatistics& call) { return partial_bytes<Moments>(call.dims); }
std::size_t workspace_of(const BatchNormBackwardReduce& call) { return partial_bytes<Pair>(call.dims); }

void enqueue(const BatchNormStatistics& call, const Memory& memory, const Queue& queue) {
  const View view(call.dims);
  const Parts parts = parts_of(view);
  const float* const x = memory.at<float>(call.x);
  Moments* const partial = reinterpret_cast<Moments*>(queue.workspace);
  if (parts.along_rows) {
    with_vectors(
        view.inner,
        [&]<int vector>() {
          launch(statistics_rows<vector>, parts.parts * view.channels, sum_threads, queue.stream, view, parts.parts, x, partial);
        },
        x);
  } else {
    launch(statistics_columns, ceil_div(view.channels * view.inner, columns_per_block) * parts.parts, sum_threads, queue.stream, view,
           parts.parts, x, partial);
  }
  launch(finish_statistics, ceil_div(view.channels, channels_per_finish), finish_threads, queue.stream, view.channels, parts, call.eps,
         partial, memory.at<float>(call.mean), memory.at<float>(call.var), memory.at<float>(call.rstd));
}

void enqueue(const BatchNormBackwardReduce& call, const Memory& memory, const Queue& queue) {
  const View view(call.dims);
  const Parts parts = parts_of(view);
  const GradientOperands g{memory.at<float>(call.dy),   memory.at<float>(call.y),    memory.at<float>(call.x),
                           memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.dr)};
  Pair* const partial = reinterpret_cast<Pair*>(queue.workspace);
  if (parts.along_rows) {
    with_vectors(
        view.inner,
        [&]<int vector>() {
          launch(gradients_rows<vector>, parts.parts * view.channels, sum_threads, queue.stream, view, parts.parts, call.act, g, partial);
        },
        g.dy, g.y, g.x, g.dr);
  } else {
    launch(gradients_columns, ceil_div(view.channels * view.inner, columns_per_block) * parts.parts, sum_threads, queue.stream, view,
           parts.parts, call.act, g, partial);
  }
  launch(finish_gradients, ceil_div(view.channels, channels_per_finish), finish_threads, queue.stream, view.channels, parts, partial,
         memory.at<float>(call.dgamma), memory.at<float>(call.dbeta));
}

}  // namespace norma::kernels::cuda
