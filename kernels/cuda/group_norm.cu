// Layer, instance and group norm. A block has a tile: one pack of samples in one group of channels, M rows of L lanes. Thread t always has
// lane t % L, one sample; L divides a warp. Threads of a lane meet in shared memory.
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/calls.h"
#include "kernels/cuda/divisor.h"

namespace norma::kernels::cuda {
namespace {

constexpr int norm_threads = 256, norm_warps = norm_threads / warp;
// Values summed in float before the sum goes to double.
constexpr int values_per_flush = 8;

// Cut of a Call into tiles. Within a tile 32 bits are enough.
struct Tiles {
  std::int64_t samples = 0, sample_groups = 0, groups = 0;
  std::int64_t rows = 0;             // M
  std::int64_t affine = 0, run = 0;  // gammas of a tile, and the rows that share one
  Divisor by_run;
  std::int32_t lanes = 1;

  Tiles() = default;
  explicit Tiles(const NormShape& s)
      : samples(s.x.n),
        sample_groups(s.x.packs()),
        groups(s.groups),
        rows(s.group_elements()),
        affine(s.affine() / s.groups),
        run(s.affine_run()),
        lanes(s.x.lanes) {
    if (rows * lanes >= std::int64_t{1} << 31) throw std::length_error("a group of channels has 2^31 or more elements");
    if (warp % lanes != 0) throw std::length_error("lanes must divide a warp");
    by_run = Divisor(run);
  }
  std::int64_t blocks() const { return sample_groups * groups; }
};

// The block's tile.
struct Tile {
  std::int64_t sample_group, group, first, statistics;  // beginnings of the tile and of the thread's statistics
  std::int32_t lane;
  bool valid;  // the thread's lane is a sample
  __device__ __forceinline__ explicit Tile(const Tiles& t)
      : sample_group(blockIdx.x / t.groups),
        group(blockIdx.x - sample_group * t.groups),
        first(blockIdx.x * t.rows * t.lanes),
        lane(static_cast<std::int32_t>(threadIdx.x) % t.lanes) {
    statistics = static_cast<std::int64_t>(blockIdx.x) * t.lanes + lane;
    valid = sample_group * t.lanes + lane < t.samples;
  }
};

// f(index within the tile, row) for the thread's elements.
template <class F>
__device__ __forceinline__ void for_rows(const Tiles& t, F f) {
  const std::uint32_t elements = static_cast<std::uint32_t>(t.rows * t.lanes), lanes = static_cast<std::uint32_t>(t.lanes);
  for (std::uint32_t i = threadIdx.x; i < elements; i += norm_threads) f(i, i / lanes);
}

// Merges the values of a lane's threads in the order of a tree; all of them get the result. Until the next barrier it stays in shared
// memory.
template <class T>
__device__ __forceinline__ T merge_lane(const T& value, std::int32_t lanes) {
  struct Values {
    T of[norm_threads];
  };
  Values& values = shared<Values>();
  const int t = static_cast<int>(threadIdx.x);
  values.of[t] = value;
  __syncthreads();
  for (int width = norm_threads / 2; width >= lanes; width /= 2) {
    if (t < width) values.of[t] = merge(values.of[t], values.of[t + width]);
    __syncthreads();
  }
  return values.of[t % lanes];
}

// ------------------------------------------------------------------------------------------ forward

struct Forward {
  Tiles tiles;
  double eps;
  float *y, *mean, *rstd, *var;   // var may be null
  const float *x, *gamma, *beta;  // gamma and beta may be null
};

// The pivot of a thread is the first value it sees.
__device__ __forceinline__ Moments thread_moments(const Tiles& t, const float* x) {
  const std::uint32_t elements = static_cast<std::uint32_t>(t.rows * t.lanes);
  if (threadIdx.x >= elements) return {0, 0, 0};
  const float pivot = x[threadIdx.x];
  double sum = 0, squares = 0, count = 0;
  for (std::uint32_t i = threadIdx.x; i < elements;) {
    float s = 0, q = 0;
    for (int k = 0; k < values_per_flush && i < elements; ++k, i += norm_threads) {
      const float d = x[i] - pivot;
      s += d;
      q = fmaf(d, d, q);
      ++count;
    }
    sum += static_cast<double>(s), squares += static_cast<double>(q);
  }
  const double mean = sum / count, left = squares - sum * mean;
  return {count, static_cast<double>(pivot) + mean, left < 0 ? 0 : left};  // below 0 by rounding only; NaN stays
}

// At least 4 blocks to a multiprocessor: without saying so the compiler takes too few registers for capability 9.
__global__ void __launch_bounds__(norm_threads, 4) group_norm_forward(Forward p) {
  const Tile tile(p.tiles);
  const float* const x = p.x + tile.first;
  const Moments m = merge_lane(thread_moments(p.tiles, x), p.tiles.lanes);
  const double variance = m.squares / m.count;
  const float mean = tile.valid ? static_cast<float>(m.mean) : 0.0f;
  const float rstd = tile.valid ? static_cast<float>(reciprocal_std(variance + p.eps)) : 0.0f;
  if (threadIdx.x < static_cast<unsigned>(p.tiles.lanes)) {
    p.mean[tile.statistics] = mean;
    p.rstd[tile.statistics] = rstd;
    if (p.var) p.var[tile.statistics] = tile.valid ? static_cast<float>(variance) : 0.0f;
  }
  const float* const gamma = p.gamma ? p.gamma + tile.group * p.tiles.affine : nullptr;
  const float* const beta = p.beta ? p.beta + tile.group * p.tiles.affine : nullptr;
  float* const y = p.y + tile.first;
  for_rows(p.tiles, [&](std::uint32_t i, std::uint32_t row) {
    const std::uint32_t a = p.tiles.by_run.divide(row).quotient;
    y[i] = fmaf((x[i] - mean) * rstd, gamma ? gamma[a] : 1.0f, beta ? beta[a] : 0.0f);
  });
}

// ------------------------------------------------------------------------------------------ backward

// A warp takes the rows that share a gamma, or one part of them. There are as many parts as give every warp of the block work.
std::int64_t parts_of(const Tiles& t) {
  const std::int64_t wanted = ceil_div(norm_warps, t.affine), most = ceil_div(t.run * t.lanes, warp);
  return wanted < most ? wanted : most;
}

struct Backward {
  Tiles tiles;
  std::int64_t parts;
  float *dx, *dgamma, *dbeta;  // each may be null
  const float *dy, *x, *mean, *rstd, *gamma;
  Pair* partial;  // [packs of samples][affine of all groups][parts]; null: nothing is summed over the batch
  unsigned* counters;
};

// Sums of dy * xhat and of dy over the thread's elements of one part of the rows that share gamma `a`. dy is 0 in padding lanes.
__device__ __forceinline__ Pair part_sums(const Backward& p, const Tile& tile, std::int64_t a, std::int64_t part, float mean, float rstd) {
  const std::int64_t elements = p.tiles.run * p.tiles.lanes;
  const Range of = chunk(ceil_div(elements, warp), p.parts, part);
  const std::uint32_t end = static_cast<std::uint32_t>(of.end * warp < elements ? of.end * warp : elements);
  const float* const dy = p.dy + tile.first + a * elements;
  const float* const x = p.x + tile.first + a * elements;
  Pair sum{0, 0};
  for (std::uint32_t i = static_cast<std::uint32_t>(of.begin * warp) + static_cast<std::uint32_t>(lane_index()); i < end;) {
    float gx = 0, g = 0;
    for (int k = 0; k < values_per_flush && i < end; ++k, i += warp) {
      const float d = dy[i];
      gx = fmaf(d, (x[i] - mean) * rstd, gx);
      g += d;
    }
    sum.a += static_cast<double>(gx), sum.b += static_cast<double>(g);
  }
  return sum;
}

// By the last block of a group of channels: dgamma and dbeta from all packs of samples and parts, in order.
__device__ __forceinline__ void finish_affine(const Backward& p, const Tile& tile) {
  const std::int64_t all = p.tiles.affine * p.tiles.groups;
  for (std::int64_t a = tile.group * p.tiles.affine + threadIdx.x; a < (tile.group + 1) * p.tiles.affine; a += norm_threads) {
    Pair sum{0, 0};
    for (std::int64_t q = 0; q < p.tiles.sample_groups; ++q)
      for (std::int64_t part = 0; part < p.parts; ++part) sum = merge(sum, p.partial[(q * all + a) * p.parts + part]);
    p.dgamma[a] = static_cast<float>(sum.a);
    if (p.dbeta) p.dbeta[a] = static_cast<float>(sum.b);
  }
}

__global__ void __launch_bounds__(norm_threads) group_norm_backward(Backward p) {
  const Tile tile(p.tiles);
  const float mean = tile.valid ? p.mean[tile.statistics] : 0.0f, rstd = tile.valid ? p.rstd[tile.statistics] : 0.0f;
  const std::int64_t first_affine = tile.group * p.tiles.affine, all = p.tiles.affine * p.tiles.groups;
  Pair sum{0, 0};
  for (std::int64_t item = warp_index(); item < p.tiles.affine * p.parts; item += norm_warps) {
    const std::int64_t a = item / p.parts, part = item - a * p.parts;
    Pair of = part_sums(p, tile, a, part, mean, rstd);
    const double gamma = p.gamma ? static_cast<double>(p.gamma[first_affine + a]) : 1;
    sum.a += gamma * of.a, sum.b += gamma * of.b;
    if (!p.partial) continue;
    of = warp_merge(of);
    if (lane_index() == 0) p.partial[(tile.sample_group * all + first_affine + a) * p.parts + part] = of;
  }
  if (p.dx) {
    sum = merge_lane(sum, p.tiles.lanes);
    const double r = static_cast<double>(rstd), inverse = 1 / static_cast<double>(p.tiles.rows);
    const float slope = static_cast<float>(-r * r * sum.a * inverse), offset = static_cast<float>(-r * sum.b * inverse);
    const float* const gamma = p.gamma ? p.gamma + first_affine : nullptr;
    for_rows(p.tiles, [&](std::uint32_t i, std::uint32_t row) {
      const float k = gamma ? rstd * gamma[p.tiles.by_run.divide(row).quotient] : rstd;
      const float d = fmaf(k, p.dy[tile.first + i], fmaf(p.x[tile.first + i] - mean, slope, offset));
      p.dx[tile.first + i] = tile.valid ? d : 0.0f;
    });
  }
  if (p.partial && last_to_arrive(p.counters + tile.group, p.tiles.sample_groups)) finish_affine(p, tile);
}

// ------------------------------------------------------------------------------------------ averages over the samples

struct Average {
  Dims dims;
  float *mean, *var;
  const float *sample_mean, *sample_var;
};

// Warp: a channel.
__global__ void __launch_bounds__(norm_threads) instance_norm_average(Average p) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * norm_warps + warp_index();
  if (channel >= p.dims.c) return;
  double mean = 0, var = 0;
  for (std::int64_t n = lane_index(); n < p.dims.n; n += warp) {
    const std::int64_t i = (n / p.dims.lanes * p.dims.c + channel) * p.dims.lanes + n % p.dims.lanes;
    mean += static_cast<double>(p.sample_mean[i]);
    var += static_cast<double>(p.sample_var[i]);
  }
  mean = warp_sum(mean);
  var = warp_sum(var);
  if (lane_index() != 0) return;
  p.mean[channel] = static_cast<float>(mean / static_cast<double>(p.dims.n));
  p.var[channel] = static_cast<float>(var / static_cast<double>(p.dims.n));
}

}  // namespace

Needs needs(const GroupNormBackward& call) {
  const Tiles tiles(call.shape);
  return {static_cast<std::size_t>(tiles.sample_groups * call.shape.affine() * parts_of(tiles)) * sizeof(Pair),
          static_cast<std::size_t>(tiles.groups)};
}

void enqueue(const GroupNormForward& call, const Memory& memory, const Queue& queue) {
  const Forward p{.tiles = Tiles(call.shape),
                  .eps = call.eps,
                  .y = memory.at<float>(call.y),
                  .mean = memory.at<float>(call.mean),
                  .rstd = memory.at<float>(call.rstd),
                  .var = memory.at<float>(call.var),
                  .x = memory.at<float>(call.x),
                  .gamma = memory.at<float>(call.gamma),
                  .beta = memory.at<float>(call.beta)};
  launch(named<group_norm_forward>(), p.tiles.blocks(), norm_threads, queue.stream, p);
}

void enqueue(const GroupNormBackward& call, const Memory& memory, const Queue& queue) {
  const Tiles tiles(call.shape);
  const Backward p{.tiles = tiles,
                   .parts = parts_of(tiles),
                   .dx = memory.at<float>(call.dx),
                   .dgamma = memory.at<float>(call.dgamma),
                   .dbeta = memory.at<float>(call.dbeta),
                   .dy = memory.at<float>(call.dy),
                   .x = memory.at<float>(call.x),
                   .mean = memory.at<float>(call.mean),
                   .rstd = memory.at<float>(call.rstd),
                   .gamma = memory.at<float>(call.gamma),
                   .partial = reinterpret_cast<Pair*>(queue.workspace),
                   .counters = queue.counters};
  launch(named<group_norm_backward>(), tiles.blocks(), norm_threads, queue.stream, p);
}

void enqueue(const GroupNormBackwardInput& call, const Memory& memory, const Queue& queue) {
  Tiles tiles(call.shape);
  tiles.affine = 1, tiles.run = tiles.rows;  // as if a whole group shared a gamma of 1
  const Backward p{.tiles = tiles,
                   .parts = parts_of(tiles),
                   .dx = memory.at<float>(call.dx),
                   .dgamma = nullptr,
                   .dbeta = nullptr,
                   .dy = memory.at<float>(call.dy),
                   .x = memory.at<float>(call.x),
                   .mean = memory.at<float>(call.mean),
                   .rstd = memory.at<float>(call.rstd),
                   .gamma = nullptr,
                   .partial = nullptr,
                   .counters = nullptr};
  launch(named<group_norm_backward>(), tiles.blocks(), norm_threads, queue.stream, p);
}

void enqueue(const InstanceNormAverage& call, const Memory& memory, const Queue& queue) {
  const Average p{call.dims, memory.at<float>(call.mean), memory.at<float>(call.var), memory.at<float>(call.sample_mean),
                  memory.at<float>(call.sample_var)};
  launch(named<instance_norm_average>(), ceil_div(call.dims.c, norm_warps), norm_threads, queue.stream, p);
}

}  // namespace norma::kernels::cuda
