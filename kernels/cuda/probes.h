// Kernels that measure the device at its best; no Call uses them. Host code: nothing of CUDA is included here.
#pragma once
#include <cstdint>

#include "norma/types.h"

struct CUstream_st;  // cudaStream_t points to one

namespace norma::kernels::cuda::probe {

// ---- throughput; arrays are 16-byte aligned, n a multiple of 4

// y = x
void copy(float* y, const float* x, std::int64_t n, CUstream_st* stream);
// Copies past the caches.
void copy_streaming(float* y, const float* x, std::int64_t n, CUstream_st* stream);
// sums[b] = the sum of block b's part of x, of read_blocks(n)
std::int64_t read_blocks(std::int64_t n);
void read(float* sums, const float* x, std::int64_t n, CUstream_st* stream);

// Each thread of `blocks` blocks makes `rounds` rounds of multiply-adds in registers. It writes the results: y,
// multiply_add_elements(blocks).
std::int64_t multiply_add_elements(std::int64_t blocks);
double multiply_add_flops(std::int64_t blocks, std::int64_t rounds);
void multiply_add(float* y, std::int64_t rounds, std::int64_t blocks, CUstream_st* stream);

// Makes matrix products on tensor cores, of tf32 or bf16; compute capability 8 or later.
double products_flops(Precision precision, std::int64_t blocks, std::int64_t rounds);
void products(Precision precision, float* y, std::int64_t rounds, std::int64_t blocks, CUstream_st* stream);

// ---- latency: kernels that do next to nothing. Each counts the waits it made, so that a test sees them.

inline constexpr int latency_threads = 128;  // of a block

// A kernel of `blocks` blocks: ++*count.
void node(unsigned* count, std::int64_t blocks, CUstream_st* stream);
// A kernel whose blocks, all resident at once, meet `meetings` times: *count += meetings.
void grid_barriers(unsigned* count, std::int64_t blocks, int meetings, CUstream_st* stream);

// Compute capability 9 or later (hopper/latency.cu). A node that may begin before the kernel before it has ended, and waits for that end
// itself: programmatic dependent launch.
void early_node(unsigned* count, std::int64_t blocks, CUstream_st* stream);
// grid_barriers of one cluster of `blocks` blocks, up to 8.
void cluster_barriers(unsigned* count, int blocks, int meetings, CUstream_st* stream);

}  // namespace norma::kernels::cuda::probe
