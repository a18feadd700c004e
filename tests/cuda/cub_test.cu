// Sums and merges of reduce.cuh, and the batch statistics, beside CUB's: BlockReduce, DeviceReduce and DeviceSegmentedReduce. Errors of
// both against double are printed and bounded. norma's bits must be equal in two runs. CUB promises that of its own. Where it does not
// hold, a line says so and nothing fails: no change of norma could mend it.
#include <gtest/gtest.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <cub/block/block_reduce.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_segmented_reduce.cuh>
#include <random>
#include <utility>
#include <vector>

#include "apps/yardsticks/cub.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/reduce.cuh"
#include "tests/cuda/device_bytes.h"

namespace norma::test {
namespace {

using kernels::Dims;
using kernels::ValueId;
using kernels::cuda::Moments;

constexpr double float_unit = 0x1p-24, double_unit = 0x1p-53;

// ------------------------------------------------------------------------------------------ what is compared

struct Chan {
  __device__ Moments operator()(const Moments& a, const Moments& b) const { return kernels::cuda::merge(a, b); }
};

// The Moments of one element: number j of channel `number / count`, in packs of L samples.
struct MomentsOf {
  const float* x;
  std::int64_t count, channels, plane, lanes;  // count: of a channel
  __device__ Moments operator()(std::int64_t number) const {
    const std::int64_t channel = number / count, j = number - channel * count, n = j / plane, i = j - n * plane;
    return {1, static_cast<double>(x[((n / lanes * channels + channel) * plane + i) * lanes + n % lanes]), 0};
  }
};

struct TimesCount {
  std::int64_t count;
  __host__ __device__ std::int64_t operator()(std::int64_t k) const { return k * count; }
};

// Every thread's result of norma's, and CUB's of the block.
template <int threads>
__global__ void block_sums(const float* x, float* ours, float* cubs) {
  using Reduce = cub::BlockReduce<float, threads>;
  __shared__ typename Reduce::TempStorage storage;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  ours[i] = kernels::cuda::block_sum<threads>(x[i]);
  const float sum = Reduce(storage).Sum(x[i]);
  if (threadIdx.x == 0) cubs[blockIdx.x] = sum;
}

template <int threads>
__global__ void block_moments(const float* x, Moments* ours, Moments* cubs) {
  using Reduce = cub::BlockReduce<Moments, threads>;
  __shared__ typename Reduce::TempStorage storage;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  const Moments one{1, static_cast<double>(x[i]), 0};
  ours[i] = kernels::cuda::block_merge<threads>(one);
  const Moments all = Reduce(storage).Reduce(one, Chan{});
  if (threadIdx.x == 0) cubs[blockIdx.x] = all;
}

constexpr int grid_blocks = 64, grid_threads = 256;

// The sum of all blocks' elements, by the last block to arrive.
__global__ void grid_sum(const float* x, std::int64_t n, float* partial, unsigned* counter, float* result) {
  float sum = 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * grid_threads + threadIdx.x; i < n; i += grid_blocks * grid_threads)
    sum += x[i];
  sum = kernels::cuda::block_sum<grid_threads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  if (!kernels::cuda::last_to_arrive(counter, grid_blocks)) return;
  sum = kernels::cuda::block_sum<grid_threads>(threadIdx.x < grid_blocks ? partial[threadIdx.x] : 0.0f);
  if (threadIdx.x == 0) *result = sum;
}

__global__ void grid_moments(const float* x, std::int64_t n, Moments* partial, unsigned* counter, Moments* result) {
  Moments m{0, 0, 0};
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * grid_threads + threadIdx.x; i < n; i += grid_blocks * grid_threads)
    m = kernels::cuda::merge(m, Moments{1, static_cast<double>(x[i]), 0});
  m = kernels::cuda::block_merge<grid_threads>(m);
  if (threadIdx.x == 0) partial[blockIdx.x] = m;
  if (!kernels::cuda::last_to_arrive(counter, grid_blocks)) return;
  m = kernels::cuda::block_merge<grid_threads>(threadIdx.x < grid_blocks ? partial[threadIdx.x] : Moments{0, 0, 0});
  if (threadIdx.x == 0) *result = m;
}

// ------------------------------------------------------------------------------------------ memory of the GPU

template <class T>
class Array {
 public:
  explicit Array(std::size_t n) : bytes_(n * sizeof(T)) { cuda::check(cudaMemset(bytes_.data(), 0, bytes_.size()), "clearing memory"); }
  explicit Array(const std::vector<T>& values) : bytes_(values.size() * sizeof(T)) { bytes_.write(std::as_bytes(std::span(values))); }
  T* data() const { return reinterpret_cast<T*>(bytes_.data()); }
  std::vector<T> read() const {
    cuda::check(cudaGetLastError(), "launching a test kernel");
    std::vector<T> values(bytes_.size() / sizeof(T));
    bytes_.read(std::as_writable_bytes(std::span(values)));
    return values;
  }

 private:
  DeviceBytes bytes_;
};

// Gives CUB the temporary memory that it asks for.
template <class Call>
void run_cub(const Call& call) {
  std::size_t bytes = 0;
  cuda::check(call(nullptr, bytes), "asking CUB for its needs");
  const DeviceBytes temporary(std::max<std::size_t>(bytes, 1));
  cuda::check(call(temporary.data(), bytes), "running CUB");
  cuda::check(cudaDeviceSynchronize(), "running CUB");
}

// ------------------------------------------------------------------------------------------ errors

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// The result of run(), which gives the same bits again.
template <class Run>
auto repeated(const char* what, bool is_norma, const Run& run) {
  const auto first = run();
  const bool equal = same_bits(first, run());
  if (is_norma) {
    EXPECT_TRUE(equal) << what << ": another run gives other bits";
  } else if (!equal) {
    std::printf("CUB gives other bits in another run: %s\n", what);
  }
  return first;
}

std::vector<float> noise(std::int64_t n, double mean) {
  std::mt19937_64 random(20261130);
  std::normal_distribution<double> normal(mean, 1);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(normal(random));
  return x;
}

struct Exact {
  double mean = 0, squares = 0, magnitude = 0, largest = 0;  // magnitude: sum of |x|
  double sum = 0;
};
template <class At>
Exact exact(std::int64_t n, const At& at) {
  long double sum = 0, squares = 0;
  Exact e;
  for (std::int64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(at(i));
    sum += static_cast<long double>(v), e.magnitude += std::abs(v), e.largest = std::max(e.largest, std::abs(v));
  }
  const long double mean = sum / static_cast<long double>(n);
  for (std::int64_t i = 0; i < n; ++i) squares += (static_cast<long double>(at(i)) - mean) * (static_cast<long double>(at(i)) - mean);
  e.sum = static_cast<double>(sum), e.mean = static_cast<double>(mean), e.squares = static_cast<double>(squares);
  return e;
}

// Each addend passes `depth` additions: the error is at most depth * unit * sum of |x|, to first order. Twice that is allowed.
double sum_bound(const Exact& e, double depth) { return 2 * depth * float_unit * e.magnitude; }

// A merge errs by 8 units of the largest |x| in the mean: 8 * depth in all. Differences of means inherit twice that.
double mean_bound(const Exact& e, double depth) { return 8 * depth * double_unit * e.largest; }
// The merges' weights add up to depth * n at most. So by Cauchy-Schwarz 32 * depth^1.5 * unit * largest / std, relative.
double squares_bound(const Exact& e, double n, double depth) {
  return e.squares * 2 * depth * double_unit + 32 * std::pow(depth, 1.5) * double_unit * e.largest * std::sqrt(n * e.squares);
}

// Additions on an element's way: those of its thread, 5 of its warp, the block's warps.
constexpr double block_depth(int threads) { return 5 + threads / 32; }
double grid_depth(std::int64_t n) {
  return std::ceil(static_cast<double>(n) / (grid_blocks * grid_threads)) + 2 * block_depth(grid_threads);
}
// CUB's order is its own. Its blocks have at least 128 threads, and their partial results go through two such blocks at most.
double cub_depth(std::int64_t n) { return static_cast<double>(n) / 128 + 64; }

void expect_moments(const char* who, const Moments& is, const Exact& e, double n, double depth) {
  EXPECT_EQ(is.count, n) << who;
  EXPECT_LE(std::abs(is.mean - e.mean), mean_bound(e, depth)) << who << ": mean " << is.mean << " instead of " << e.mean;
  EXPECT_LE(std::abs(is.squares - e.squares), squares_bound(e, n, depth))
      << who << ": squares " << is.squares << " instead of " << e.squares;
}
double relative(double is, double expected) { return expected == 0 ? std::abs(is) : std::abs(is - expected) / std::abs(expected); }

// ------------------------------------------------------------------------------------------ inside a block

template <int threads>
void check_block() {
  constexpr std::int64_t blocks = 40, n = blocks * threads;
  for (const double ratio : {0.0, 1e5}) {
    const std::vector<float> host = noise(n, ratio);
    const Array<float> x(host);
    const auto sums = [&](bool of_cub) {
      const Array<float> ours(n), cubs(blocks);
      block_sums<threads><<<blocks, threads>>>(x.data(), ours.data(), cubs.data());
      return of_cub ? cubs.read() : ours.read();
    };
    const auto moments = [&](bool of_cub) {
      const Array<Moments> ours(n), cubs(blocks);
      block_moments<threads><<<blocks, threads>>>(x.data(), ours.data(), cubs.data());
      return of_cub ? cubs.read() : ours.read();
    };
    const auto sum = repeated("block_sum", true, [&] { return sums(false); });
    const auto cub_sum = repeated("BlockReduce, sum", false, [&] { return sums(true); });
    const auto merged = repeated("block_merge", true, [&] { return moments(false); });
    const auto cub_merged = repeated("BlockReduce, Chan's merge", false, [&] { return moments(true); });
    double worst[4] = {};
    for (std::int64_t b = 0; b < blocks; ++b) {
      const auto at = [&](std::int64_t i) { return host[static_cast<std::size_t>(b * threads + i)]; };
      const Exact e = exact(threads, at);
      const std::size_t first = static_cast<std::size_t>(b * threads), block = static_cast<std::size_t>(b);
      for (std::size_t t = 1; t < threads; ++t) {  // every thread has the result
        ASSERT_EQ(std::memcmp(&sum[first + t], &sum[first], sizeof(float)), 0) << "thread " << t;
        ASSERT_EQ(std::memcmp(&merged[first + t], &merged[first], sizeof(Moments)), 0) << "thread " << t;
      }
      EXPECT_LE(std::abs(static_cast<double>(sum[first]) - e.sum), sum_bound(e, block_depth(threads)));
      EXPECT_LE(std::abs(static_cast<double>(cub_sum[block]) - e.sum), sum_bound(e, threads));
      expect_moments("block_merge", merged[first], e, threads, block_depth(threads));
      expect_moments("BlockReduce", cub_merged[block], e, threads, threads);
      const double errors[] = {relative(static_cast<double>(sum[first]), e.sum), relative(static_cast<double>(cub_sum[block]), e.sum),
                               relative(merged[first].squares, e.squares), relative(cub_merged[block].squares, e.squares)};
      for (int i = 0; i < 4; ++i) worst[i] = std::max(worst[i], errors[i]);
    }
    std::printf("%3d threads, mean/std %-6.0e sum: norma %.1e, CUB %.1e; squares: norma %.1e, CUB %.1e\n", threads, ratio, worst[0],
                worst[1], worst[2], worst[3]);
  }
}

TEST(Cub, BlockReduceAgrees) {
  check_block<32>();
  check_block<256>();
}

// ------------------------------------------------------------------------------------------ over the device

TEST(Cub, DeviceReduceAgrees) {
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{31}, std::int64_t{4097}, std::int64_t{1} << 20, std::int64_t{1'500'001}})
    for (const double ratio : {0.0, 1e3, 1e5}) {
      const std::vector<float> host = noise(n, ratio);
      const Exact e = exact(n, [&](std::int64_t i) { return host[static_cast<std::size_t>(i)]; });
      const Array<float> x(host);
      const Array<unsigned> counter(1);
      const auto sum = repeated("block_sum and last_to_arrive", true, [&] {
        const Array<float> partial(grid_blocks), result(1);
        grid_sum<<<grid_blocks, grid_threads>>>(x.data(), n, partial.data(), counter.data(), result.data());
        return result.read();
      });
      const auto merged = repeated("block_merge and last_to_arrive", true, [&] {
        const Array<Moments> partial(grid_blocks), result(1);
        grid_moments<<<grid_blocks, grid_threads>>>(x.data(), n, partial.data(), counter.data(), result.data());
        return result.read();
      });
      EXPECT_EQ(counter.read()[0], 0u);
      const auto cub_sum = repeated("DeviceReduce::Sum", false, [&] {
        const Array<float> result(1);
        run_cub([&](void* memory, std::size_t& bytes) {
          return cub::DeviceReduce::Sum(memory, bytes, static_cast<const float*>(x.data()), result.data(), n);
        });
        return result.read();
      });
      const auto cub_merged = repeated("DeviceReduce::Reduce, Chan's merge", false, [&] {
        const Array<Moments> result(1);
        const auto in = thrust::make_transform_iterator(thrust::make_counting_iterator(std::int64_t{0}), MomentsOf{x.data(), n, 1, n, 1});
        run_cub([&](void* memory, std::size_t& bytes) {
          return cub::DeviceReduce::Reduce(memory, bytes, in, result.data(), n, Chan{}, Moments{0, 0, 0});
        });
        return result.read();
      });
      EXPECT_LE(std::abs(static_cast<double>(sum[0]) - e.sum), sum_bound(e, grid_depth(n))) << n;
      EXPECT_LE(std::abs(static_cast<double>(cub_sum[0]) - e.sum), sum_bound(e, cub_depth(n))) << n;
      expect_moments("block_merge and last_to_arrive", merged[0], e, static_cast<double>(n), grid_depth(n));
      expect_moments("DeviceReduce", cub_merged[0], e, static_cast<double>(n), cub_depth(n));
      std::printf("%7lld values, mean/std %-6.0e sum: norma %.1e, CUB %.1e; squares: norma %.1e, CUB %.1e\n", static_cast<long long>(n),
                  ratio, relative(static_cast<double>(sum[0]), e.sum), relative(static_cast<double>(cub_sum[0]), e.sum),
                  relative(merged[0].squares, e.squares), relative(cub_merged[0].squares, e.squares));
    }
}

// ------------------------------------------------------------------------------------------ over channels

// mean, then var, of every channel.
std::vector<float> batch_statistics(const Dims& d, const Array<float>& x) {
  const kernels::BatchNormStatistics call{
      .mean = ValueId{0}, .var = ValueId{1}, .rstd = ValueId{2}, .x = ValueId{3}, .partial = ValueId{4}, .dims = d};
  const std::size_t channels = static_cast<std::size_t>(d.c);
  const Array<float> mean(channels), var(channels), rstd(channels);
  const DeviceBytes partial(static_cast<std::size_t>(call.partial_bytes()));
  const auto bytes_of = [](const auto& array) { return reinterpret_cast<std::byte*>(array.data()); };
  std::byte* const addresses[] = {bytes_of(mean), bytes_of(var), bytes_of(rstd), bytes_of(x), partial.data()};
  run_on_gpu(call, addresses);
  std::vector<float> results = mean.read();
  const std::vector<float> variances = var.read();
  results.insert(results.end(), variances.begin(), variances.end());
  return results;
}

TEST(Cub, DeviceSegmentedReduceAgreesWithBatchStatistics) {
  constexpr int pack = kernels::cuda::lanes;
  for (const Dims& d : {Dims{256, 6, 24, 24, pack}, Dims{256, 16, 8, 8, 1}, Dims{256, 120, 1, 1, pack}, Dims{1000, 40, 1, 1, 1},
                        Dims{37, 3, 5, 7, pack}, Dims{3, 2, 213, 209, 1}})
    for (const double ratio : {0.0, 1e3, 1e5}) {
      const std::int64_t count = d.n * d.plane();
      const auto place = [&](std::int64_t c, std::int64_t j) {
        const std::int64_t n = j / d.plane(), i = j % d.plane();
        return static_cast<std::size_t>(((n / d.lanes * d.c + c) * d.plane() + i) * d.lanes + n % d.lanes);
      };
      const std::vector<float> values = noise(d.c * count, ratio);
      std::vector<float> host(static_cast<std::size_t>(d.stored()), 1e3f);  // padding, which must not count
      for (std::int64_t c = 0; c < d.c; ++c)
        for (std::int64_t j = 0; j < count; ++j) host[place(c, j)] = values[static_cast<std::size_t>(c * count + j)];
      const Array<float> x(host);
      const std::vector<float> ours = repeated("batch statistics", true, [&] { return batch_statistics(d, x); });
      const std::vector<Moments> cubs = repeated("DeviceSegmentedReduce, Chan's merge", false, [&] {
        const Array<Moments> result(static_cast<std::size_t>(d.c));
        const auto numbers = thrust::make_counting_iterator(std::int64_t{0});
        const auto in = thrust::make_transform_iterator(numbers, MomentsOf{x.data(), count, d.c, d.plane(), d.lanes});
        const auto edges = thrust::make_transform_iterator(numbers, TimesCount{count});
        run_cub([&](void* memory, std::size_t& bytes) {
          return cub::DeviceSegmentedReduce::Reduce(memory, bytes, in, result.data(), d.c, edges, edges + 1, Chan{}, Moments{0, 0, 0});
        });
        return result.read();
      });
      double worst = 0, worst_cub = 0;
      for (std::int64_t c = 0; c < d.c; ++c) {
        const std::size_t k = static_cast<std::size_t>(c);
        const Exact e = exact(count, [&](std::int64_t j) { return values[static_cast<std::size_t>(c * count + j)]; });
        const double n = static_cast<double>(count), mean = static_cast<double>(ours[k]),
                     var = static_cast<double>(ours[static_cast<std::size_t>(d.c) + k]), spread = std::sqrt(e.squares / n);
        EXPECT_LE(relative(var, e.squares / n), 1e-6) << "channel " << c;  // the promise of batch_norm_statistics
        // The mean is rounded to float. Before, 8 differences from a pivot, of 6 deviations at most, are added in float.
        EXPECT_LE(std::abs(mean - e.mean), float_unit * std::abs(e.mean) + 8 * float_unit * 12 * spread) << "channel " << c;
        expect_moments("DeviceSegmentedReduce", cubs[k], e, n, cub_depth(count));
        worst = std::max(worst, relative(var, e.squares / n)), worst_cub = std::max(worst_cub, relative(cubs[k].squares, e.squares));
      }
      std::printf("(%lld,%lld,%lld,%lld) in %d lanes, mean/std %-6.0e variance: norma %.1e, CUB %.1e\n", static_cast<long long>(d.n),
                  static_cast<long long>(d.c), static_cast<long long>(d.h), static_cast<long long>(d.w), static_cast<int>(d.lanes), ratio,
                  worst, worst_cub);
    }
}

// ------------------------------------------------------------------------------------------ the yardstick of norma bench bn

TEST(Cub, TheYardstickComputesStatisticsSumsAndCopies) {
  const NormaCub& cub = *norma_cub();
  for (const NormaCubTensor& t : {NormaCubTensor{5, 3, 7}, NormaCubTensor{300, 10, 1}, NormaCubTensor{8, 6, 4608}}) {
    char error[256] = "";
    void* const tensors = cub.create(0, &t, 3, error, sizeof error);
    ASSERT_TRUE(tensors) << error;
    for (const NormaCubWork work : {norma_cub_statistics, norma_cub_read, norma_cub_copy})
      EXPECT_GT(cub.run(tensors, work, error, sizeof error), 0) << error;
    const std::int64_t count = t.outer * t.inner, n = count * t.channels;
    std::vector<float> statistics(static_cast<std::size_t>(3 * t.channels)), sum(1), copy(static_cast<std::size_t>(n));
    EXPECT_TRUE(cub.read(tensors, norma_cub_statistics, statistics.data()));
    EXPECT_TRUE(cub.read(tensors, norma_cub_read, sum.data()));
    EXPECT_TRUE(cub.read(tensors, norma_cub_copy, copy.data()));
    cub.destroy(tensors);
    for (std::int64_t c = 0; c < t.channels; ++c) {
      const Exact e = exact(count, [&](std::int64_t j) { return norma_cub_value((j / t.inner * t.channels + c) * t.inner + j % t.inner); });
      const double var = e.squares / static_cast<double>(count);
      const auto got = [&](std::int64_t row) { return static_cast<double>(statistics[static_cast<std::size_t>(row * t.channels + c)]); };
      // Each is rounded to float once; the sums in double err by less.
      EXPECT_NEAR(got(0), e.mean, 2 * float_unit * (std::abs(e.mean) + 1e-6));
      EXPECT_NEAR(got(1), var, 2 * float_unit * var);
      EXPECT_NEAR(got(2) * std::sqrt(var + 1e-5), 1, 2 * float_unit);
    }
    const Exact all = exact(n, norma_cub_value);
    EXPECT_NEAR(static_cast<double>(sum[0]), all.sum, sum_bound(all, cub_depth(n)));
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(copy[static_cast<std::size_t>(i)], norma_cub_value(i)) << i;
  }
  const NormaCubTensor none{0, 1, 1};
  char error[256] = "";
  EXPECT_FALSE(cub.create(0, &none, 1, error, sizeof error));
  EXPECT_STRNE(error, "");
}

}  // namespace
}  // namespace norma::test
