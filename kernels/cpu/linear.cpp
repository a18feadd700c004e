// LinearForward, LinearBackwardInput and LinearBackwardWeight: register blocks over outputs and packs of samples.
#include <cassert>
#include <cstring>
#include <utility>

#include "kernels/chunks.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/correlate.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {

namespace {

// One pack of samples alone gives a register block one column. More outs then keep the multiply-adds' latency covered (AVX2, 120 x 256: 87
// instead of 56 GFLOP/s).
constexpr int single_outs = 8;

template <int... Index>
inline void correlate_single(const Correlation& a, std::int64_t outs, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const Correlation&);
  static constexpr Kernel kernels[] = {&correlate_block<Index + 1, 1, 0, 0, false>...};
  kernels[outs - 1](a);
}

// y[g][o] = b[o] + sum over i of w[o*w_out + i*w_in] * x[g][i], for all packs of samples g.
// One index is one block of outputs of one block of packs.
inline void multiply(float* y, const float* x, const float* w, const float* b, std::int64_t packs, std::int64_t outs, std::int64_t ins,
                     std::int64_t w_out, std::int64_t w_in) {
  const std::int64_t pack_blocks = ceil_div(packs, max_cols), most_outs = packs == 1 ? single_outs : row_outs;
  const std::int64_t out_blocks = ceil_div(outs, most_outs);
  parallel_for(pack_blocks * out_blocks, [=](std::int64_t item) {
    const Range g = chunk(packs, pack_blocks, item / out_blocks), o = chunk(outs, out_blocks, item % out_blocks);
    Correlation a{};
    a.x = x + g.begin * ins * lanes;
    a.x_column = ins * lanes;
    a.x_tap = lanes;
    a.w = w + o.begin * w_out;
    a.w_out = w_out;
    a.w_tap = w_in;
    a.b = b ? b + o.begin : nullptr;
    a.y = y + (g.begin * outs + o.begin) * lanes;
    a.y_out = lanes;
    a.y_column = outs * lanes;
    a.channels = a.rows = 1;
    a.taps = ins;
    if (packs == 1) correlate_single(a, o.end - o.begin, std::make_integer_sequence<int, single_outs>{});
    else correlate_row<0, 0, false>(a, o.end - o.begin, g.end - g.begin);
  });
}

constexpr int weight_outs = registers >= 32 ? 6 : 4, weight_cols = registers >= 32 ? 4 : 3;

// sum[o][f] += sum over (g, lane) of dy[g][o][lane] * x[g][lane][f]; x has weight_columns columns.
struct WeightSums {
  const float *dy, *x;
  float* sum;
  std::int64_t sum_row, dy_pack, packs;
  bool resume;  // the sums start from memory, otherwise from 0
};

template <int Outs, int Cols>
inline void add_samples(const WeightSums& sums) {
  const WeightSums a = sums;  // a store could change what the reference refers to
  Register sum[Outs][Cols];
#pragma GCC unroll 8
  for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) sum[o][j] = a.resume ? loadu_register(a.sum + o * a.sum_row + j * register_lanes) : broadcast(0.0f);
  const float* x = a.x;
  for (std::int64_t g = 0; g < a.packs; ++g) {
    const float* dy = a.dy + g * a.dy_pack;
    for (std::int64_t lane = 0; lane < lanes; ++lane, ++dy, x += weight_columns) {
      Register xj[Cols];
#pragma GCC unroll 8
      for (int j = 0; j < Cols; ++j) xj[j] = load_register(x + j * register_lanes);
#pragma GCC unroll 8
      for (int o = 0; o < Outs; ++o) {
        const Register dyo = broadcast(dy[o * lanes]);
#pragma GCC unroll 8
        for (int j = 0; j < Cols; ++j) sum[o][j] = fma(xj[j], dyo, sum[o][j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) storeu_register(a.sum + o * a.sum_row + j * register_lanes, sum[o][j]);
}

// to[lane][f] = from[f][lane] for f < width, rounded up to a register with zeros.
inline void transpose_features(float* to, const float* from, std::int64_t width) {
  std::int64_t f = 0;
  for (; f + lanes <= width; f += lanes) transpose(to + f, weight_columns, from + f * lanes, lanes);
  if (f == width) return;
  alignas(64) float rest[lanes * lanes] = {};
  std::memcpy(rest, from + f * lanes, static_cast<std::size_t>((width - f) * lanes) * sizeof(float));
  transpose(to + f, weight_columns, rest, lanes);
}

template <int... Index>
inline void add_samples(const WeightSums& a, std::int64_t outs, std::int64_t cols, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const WeightSums&);
  static constexpr Kernel kernels[] = {&add_samples<Index / weight_cols + 1, Index % weight_cols + 1>...};
  kernels[(outs - 1) * weight_cols + (cols - 1)](a);
}

}  // namespace

void run(const LinearForward& call, const Memory& memory) {
  assert(call.x_dims.lanes == lanes && call.y_dims.lanes == lanes);
  const std::int64_t features = call.x_dims.c, outs = call.y_dims.c;
  multiply(memory.at<float>(call.y), memory.at<const float>(call.x), memory.at<const float>(call.w), memory.at<const float>(call.b),
           call.x_dims.packs(), outs, features, features, 1);
}

void run(const LinearBackwardInput& call, const Memory& memory) {
  assert(call.x_dims.lanes == lanes && call.y_dims.lanes == lanes);
  const std::int64_t features = call.x_dims.c, outs = call.y_dims.c;
  multiply(memory.at<float>(call.dx), memory.at<const float>(call.dy), memory.at<const float>(call.w), nullptr, call.x_dims.packs(),
           features, outs, 1, features);
}

// The features become the lanes: x is transposed. Each weight is one chain of fma over the samples in order, which needs no sum over lanes.
// One index is a block of outputs and weight_columns features; indices of the first features sum db.
void run(const LinearBackwardWeight& call, const Memory& memory) {
  assert(call.x_dims.lanes == lanes && call.y_dims.lanes == lanes);
  const float* x = memory.at<const float>(call.x);
  const float* dy = memory.at<const float>(call.dy);
  float* dw = memory.at<float>(call.dw);
  float* db = memory.at<float>(call.db);
  const std::int64_t features = call.x_dims.c, outs = call.y_dims.c, packs = call.x_dims.packs();
  const std::int64_t feature_blocks = ceil_div(features, weight_columns), out_parts = ceil_div(outs, max_weight_outs);
  const PerThread<LinearWeightBuffer> buffer(memory);
  parallel_for(feature_blocks * out_parts, [=](std::int64_t item) {
    float *const transposed = (*buffer).x, *const sums = (*buffer).sums;
    const Range o = chunk(outs, out_parts, item % out_parts);
    const Range vectors = chunk(ceil_div(features, lanes), feature_blocks, item / out_parts);
    const std::int64_t first = vectors.begin * lanes, past = vectors.end * lanes, width = (past < features ? past : features) - first;
    const std::int64_t count = o.end - o.begin, out_blocks = ceil_div(count, weight_outs), registers_wide = ceil_div(width, register_lanes);
    const std::int64_t column_blocks = ceil_div(registers_wide, weight_cols);
    const bool whole = width % register_lanes == 0;  // no register hangs over the end of a row of dw
    for (std::int64_t g = 0; g < packs; g += weight_packs) {
      WeightSums a{};
      a.resume = g > 0;
      a.sum_row = whole ? features : weight_columns;
      a.packs = packs - g < weight_packs ? packs - g : weight_packs;
      a.dy_pack = outs * lanes;
      for (std::int64_t i = 0; i < a.packs; ++i)
        transpose_features(transposed + i * lanes * weight_columns, x + ((g + i) * features + first) * lanes, width);
      for (std::int64_t i = 0; i < out_blocks; ++i) {
        const Range block = chunk(count, out_blocks, i);
        a.dy = dy + (g * outs + o.begin + block.begin) * lanes;
        for (std::int64_t j = 0; j < column_blocks; ++j) {
          const Range c = chunk(registers_wide, column_blocks, j);
          a.x = transposed + c.begin * register_lanes;
          a.sum = (whole ? dw + o.begin * features + first : sums) + block.begin * a.sum_row + c.begin * register_lanes;
          add_samples(a, block.end - block.begin, c.end - c.begin, std::make_integer_sequence<int, weight_outs * weight_cols>{});
        }
      }
    }
    for (std::int64_t j = 0; j < count && !whole; ++j)
      std::memcpy(dw + (o.begin + j) * features + first, sums + j * weight_columns, static_cast<std::size_t>(width) * sizeof(float));
    if (!db || first > 0) return;
    for (std::int64_t j = o.begin; j < o.end; ++j) {
      V sum = zero();
      for (std::int64_t g = 0; g < packs; ++g) sum = sum + load(dy + (g * outs + j) * lanes);
      db[j] = reduce_add(sum);
    }
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
