// Measures the most that the device moves and computes.
#include "kernels/cuda/probes.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/view.cuh"
#include "tensor.cuh"

namespace norma::kernels::cuda::probe {
namespace {

constexpr int threads = 256, vectors = 4;  // loads of 16 bytes that a thread has on the way at a time
constexpr std::int64_t copy_tile = std::int64_t{threads} * vectors * 4;
constexpr std::int64_t tiles_per_read = 16, read_tile = copy_tile * tiles_per_read;

template <bool streaming>
__global__ void __launch_bounds__(threads) copy_kernel(float* __restrict__ y, const float* __restrict__ x, std::int64_t n) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * copy_tile + threadIdx.x * 4;
  float4 v[vectors];
#pragma unroll
  for (int k = 0; k < vectors; ++k)
    if (const std::int64_t i = begin + k * threads * 4; i < n) {
      const float4* const from = reinterpret_cast<const float4*>(x + i);
      v[k] = streaming ? load_streaming(from) : *from;
    }
#pragma unroll
  for (int k = 0; k < vectors; ++k)
    if (const std::int64_t i = begin + k * threads * 4; i < n) {
      float4* const to = reinterpret_cast<float4*>(y + i);
      if (streaming) store_streaming(to, v[k]);
      else *to = v[k];
    }
}

__global__ void __launch_bounds__(threads) read_kernel(float* sums, const float* __restrict__ x, std::int64_t n) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * read_tile + threadIdx.x * 4;
  float sum[4] = {};
  for (std::int64_t tile = 0; tile < tiles_per_read; ++tile) {
    float v[vectors][4] = {};
#pragma unroll
    for (int k = 0; k < vectors; ++k)
      if (const std::int64_t i = begin + tile * copy_tile + k * threads * 4; i < n) load(x + i, v[k]);
#pragma unroll
    for (int k = 0; k < vectors; ++k)
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += v[k][j];
  }
  const float all = block_sum<threads>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  if (threadIdx.x == 0) sums[blockIdx.x] = all;
}

// Latency of a multiply-add is 4 cycles; two warps of a scheduler's with 8 chains each keep it busy.
constexpr int chains = 8, unrolled = 8;

// Converges to 2 from any start: neither overflow nor denormals.
__global__ void __launch_bounds__(threads) multiply_add_kernel(float* y, std::int64_t rounds) {
  float a[chains];
#pragma unroll
  for (int c = 0; c < chains; ++c) a[c] = static_cast<float>(threadIdx.x + c);
  for (std::int64_t r = 0; r < rounds; r += unrolled)
#pragma unroll
    for (int k = 0; k < unrolled; ++k)
#pragma unroll
      for (int c = 0; c < chains; ++c) a[c] = fmaf(a[c], 0.5f, 1.0f);
#pragma unroll
  for (int c = 1; c < chains; ++c) a[0] += a[c];
  y[static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x] = a[0];
}

// Multiplies matrices of ones: the results are exact.
template <Precision precision>
__global__ void __launch_bounds__(threads) products_kernel(float* y, std::int64_t rounds) {
  const std::uint32_t one = make_word<precision>([](int) { return static_cast<float>(blockDim.x / threads); });
  const std::uint32_t a[4] = {one, one, one, one}, b[2] = {one, one};
  float d[chains][4] = {};
  for (std::int64_t r = 0; r < rounds; ++r)
#pragma unroll
    for (int c = 0; c < chains; ++c) add_product<precision>(d[c], a, b);
  float sum = 0;
#pragma unroll
  for (int c = 0; c < chains; ++c) sum += (d[c][0] + d[c][1]) + (d[c][2] + d[c][3]);
  y[static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x] = sum;
}

}  // namespace

void copy(float* y, const float* x, std::int64_t n, CUstream_st* stream) {
  launch(named<copy_kernel<false>>(), ceil_div(n, copy_tile), threads, stream, y, x, n);
}

void copy_streaming(float* y, const float* x, std::int64_t n, CUstream_st* stream) {
  launch(named<copy_kernel<true>>(), ceil_div(n, copy_tile), threads, stream, y, x, n);
}

std::int64_t read_blocks(std::int64_t n) { return ceil_div(n, read_tile); }

void read(float* sums, const float* x, std::int64_t n, CUstream_st* stream) {
  launch(named<read_kernel>(), read_blocks(n), threads, stream, sums, x, n);
}

std::int64_t multiply_add_elements(std::int64_t blocks) { return blocks * threads; }

double multiply_add_flops(std::int64_t blocks, std::int64_t rounds) {
  return 2.0 * chains * static_cast<double>(ceil_div(rounds, std::int64_t{unrolled}) * unrolled * multiply_add_elements(blocks));
}

void multiply_add(float* y, std::int64_t rounds, std::int64_t blocks, CUstream_st* stream) {
  launch(named<multiply_add_kernel>(), blocks, threads, stream, y, rounds);
}

double products_flops(Precision precision, std::int64_t blocks, std::int64_t rounds) {
  const int factors = precision == Precision::tf32 ? factors_per_word<Precision::tf32> : factors_per_word<Precision::bf16>;
  const double of_product = 2.0 * product_rows * product_columns * product_words * factors;
  return of_product * chains * static_cast<double>(rounds * multiply_add_elements(blocks) / warp);
}

void products(Precision precision, float* y, std::int64_t rounds, std::int64_t blocks, CUstream_st* stream) {
  const auto kernel = precision == Precision::tf32 ? named<products_kernel<Precision::tf32>>() : named<products_kernel<Precision::bf16>>();
  launch(kernel, blocks, threads, stream, y, rounds);
}

}  // namespace norma::kernels::cuda::probe
