// Batch normalisation in one pass over memory, along rows. The blocks of a channel keep their parts of it on chip while they wait for its
// sums.
// Parts, sums and arithmetic are those of the Calls one by one, and so are the bits.
#include "kernels/cuda/batch_norm_resident.cuh"
#include "kernels/cuda/calls.h"

namespace norma::kernels::cuda {
namespace {

constexpr int held = elements_per_part / sum_threads;  // elements of a thread in a part
static_assert(resident_elements == elements_per_part * max_parts && resident_row == min_row);

// Work of one block: its parts, of channels team, team + teams, ...
struct Share {
  std::int64_t blocks;  // of a team
  std::int64_t team, teams;
  std::int64_t first;  // part
};
__device__ __forceinline__ Share share_of(const Parts& cut, int parts_of_block) {
  const std::int64_t blocks = ceil_div(cut.parts, parts_of_block), team = blockIdx.x / blocks;
  return {blocks, team, gridDim.x / blocks, (blockIdx.x - team * blocks) * parts_of_block};
}

// f(k, place) for each vector k of the calling thread's elements of a part that there is. Unrolled, so that k is a register's number;
// places are computed anew each time, since there are no registers left to keep them.
template <int vector, class F>
__device__ __forceinline__ void for_each_held(const View& v, std::int64_t channel, const Part& part, F f) {
  const std::uint32_t from = computed_anew(part.first);
#pragma unroll
  for (int k = 0; k < held / vector; ++k) {
    const std::uint32_t i = (static_cast<std::uint32_t>(k) * sum_threads + threadIdx.x) * vector;
    if (i < part.count) f(k, part.place(v, channel, from, i));
  }
}

// Adds up what terms(k, place, a, b) adds to its accumulators, over the block.
template <int vector, class Terms>
__device__ __forceinline__ Pair sum_held(const View& v, std::int64_t channel, const Part& part, Terms terms) {
  Pair sum{0, 0};
  float a[vector] = {}, b[vector] = {};
  const auto flush = [&] {
#pragma unroll
    for (int j = 0; j < vector; ++j) {
      sum.a += static_cast<double>(a[j]), sum.b += static_cast<double>(b[j]);
      a[j] = b[j] = 0;
    }
  };
  for_each_held<vector>(v, channel, part, [&](int k, const Part::Place& at) {
    terms(k, at, a, b);
    if ((k + 1) % vectors_per_flush == 0) flush();
  });
  flush();
  return {block_sum<sum_threads>(sum.a), block_sum<sum_threads>(sum.b)};
}

// Leaves the channel's result, of the parts that its blocks have written, where all their threads can read it.
template <class Partial, class Result>
__device__ __forceinline__ void finish(const View& v, const Partials<Partial>& p, std::int64_t channel, const Share& share,
                                       const Result& result) {
  meet({p.counters + 2 * channel, p.counters + 2 * channel + 1}, share.blocks, [&] { add_up(v, p, channel, result); });
}

// Blocks of a multiprocessor that there are registers for. Some channels are read and written while others wait. Moving the data on chip
// must therefore take longer than a channel waits: about 4 us.
constexpr int forward_blocks = 4, forward_parts = 4, backward_parts = 1;
template <int vector>
constexpr int backward_blocks = vector == 4 ? 7 : 5;

// The elements of a block's parts; each thread's are only its own, so that no barrier is needed. Four floats are read and written at once.
template <int vector>
struct alignas(vector * sizeof(float)) Tiles {
  float of[forward_parts][held / vector][sum_threads][vector];
};

template <int vector>
__global__ void __launch_bounds__(sum_threads, forward_blocks)
    resident_forward(View v, Partials<Moments> partials, ForwardOperands p, Statistics result, Normalisation normalisation) {
  auto& tiles = shared<Tiles<vector>>().of;
  const Share share = share_of(partials.cut, forward_parts);
  Part parts[forward_parts];
#pragma unroll
  for (int q = 0; q < forward_parts; ++q) {
    const bool exists = share.first + q < partials.cut.parts;
    parts[q] = Part(v, partials.cut.parts, exists ? share.first + q : 0);
    if (!exists) parts[q].count = 0;
  }
  for (std::int64_t channel = share.team; channel < v.channels; channel += share.teams) {
#pragma unroll
    for (int q = 0; q < forward_parts; ++q) {
      auto& tile = tiles[q];
      const Part& part = parts[q];
      float x[held / vector][vector];
      for_each_held<vector>(v, channel, part, [&](int k, const Part::Place& at) { load(p.x + at.index, x[k]); });
      for_each_held<vector>(v, channel, part, [&](int k, const Part::Place&) { store(tile[k][threadIdx.x], x[k]); });
    }
#pragma unroll
    for (int q = 0; q < forward_parts; ++q) {
      if (parts[q].count == 0) continue;
      const auto& tile = tiles[q];
      const Part& part = parts[q];
      const float pivot = pivot_of(v, channel, part, p.x);
      const Pair sum = sum_held<vector>(v, channel, part, [&](int k, const Part::Place& at, float(&sums)[vector], float(&squares)[vector]) {
        float x[vector];
        load(tile[k][threadIdx.x], x);
#pragma unroll
        for (int j = 0; j < vector; ++j) {
          const float d = v.valid(at.pack, at.position + static_cast<std::uint32_t>(j)) ? x[j] - pivot : 0.0f;
          sums[j] += d;
          squares[j] = fmaf(d, d, squares[j]);
        }
      });
      if (threadIdx.x == 0) partials.partial[(share.first + q) * v.channels + channel] = moments_of(part, pivot, sum);
    }
    finish(v, partials, channel, share, result);
    const Normalisation::Channel z = normalisation.channel(channel);
#pragma unroll
    for (int q = 0; q < forward_parts; ++q) {
      const auto& tile = tiles[q];
      const Part& part = parts[q];
      for_each_held<vector>(v, channel, part, [&](int k, const Part::Place& at) {
        float y[vector], residual[vector] = {};
        load(tile[k][threadIdx.x], y);
        if (p.r) load(p.r + at.index, residual);
#pragma unroll
        for (int j = 0; j < vector; ++j)
          y[j] = folded_activate(p.relu ? Activation::relu : Activation::none, p.r ? z(y[j]) + residual[j] : z(y[j]));
        store(p.y + at.index, y);
      });
    }
  }
}

template <int vector>
__global__ void __launch_bounds__(sum_threads, backward_blocks<vector>)
    resident_backward(View v, Partials<Pair> partials, Activation act, GradientOperands p, float* dx, GradientSums result,
                      BackwardNormalisation normalisation) {
  const Share share = share_of(partials.cut, backward_parts);
  const Part part(v, partials.cut.parts, share.first);
  for (std::int64_t channel = share.team; channel < v.channels; channel += share.teams) {
    const float mean = p.mean[channel], rstd = p.rstd[channel];
    float g[held / vector][vector], x[held / vector][vector];
    for_each_held<vector>(v, channel, part, [&](int k, const Part::Place& at) {
      float y[vector] = {};
      load(p.dy + at.index, g[k]);
      load(p.x + at.index, x[k]);
      if (act != Activation::none) load(p.y + at.index, y);
#pragma unroll
      for (int j = 0; j < vector; ++j) g[k][j] = folded_gradient(act, g[k][j], y[j]);
    });
    const Pair sum = sum_held<vector>(v, channel, part, [&](int k, const Part::Place&, float(&gx)[vector], float(&all)[vector]) {
#pragma unroll
      for (int j = 0; j < vector; ++j) add_gradient(Activation::none, g[k][j], 0.0f, x[k][j], mean, rstd, gx[j], all[j]);
    });
    if (threadIdx.x == 0) partials.partial[share.first * v.channels + channel] = sum;
    finish(v, partials, channel, share, result);
    const BackwardNormalisation::Channel of = normalisation.channel(channel);
    for_each_held<vector>(v, channel, part, [&](int k, const Part::Place& at) {
      if (p.dr) store(p.dr + at.index, g[k]);
#pragma unroll
      for (int j = 0; j < vector; ++j)
        x[k][j] = v.valid(at.pack, at.position + static_cast<std::uint32_t>(j)) ? of(g[k][j], x[k][j]) : 0.0f;
      store(dx + at.index, x[k]);
    });
  }
}

template <class Partial>
Needs needs_of_resident(const Dims& dims) {
  return {needs_of_sums<Partial>(dims).workspace, static_cast<std::size_t>(2 * dims.c)};
}

}  // namespace

Needs needs(const BatchNormForward& call) { return needs_of_resident<Moments>(std::get<0>(call.calls).dims); }
Needs needs(const BatchNormBackward& call) { return needs_of_resident<Pair>(std::get<0>(call.calls).dims); }

// The Calls run one by one if the device does not hold the data.

void enqueue(const BatchNormForward& call, const Memory& memory, const Queue& queue) {
  const auto& [statistics, apply] = call.calls;
  const View view(apply.dims);
  const auto partials = partials_of<Moments>(view, queue);
  const ForwardOperands p{apply.act == Activation::relu, memory.at<float>(apply.y), memory.at<float>(apply.x), memory.at<float>(apply.r)};
  const Statistics result = statistics_of(statistics, memory);
  const Normalisation normalisation = normalisation_of(apply, memory);
  bool launched = false;
  if (resident(call) && partials.cut.along_rows)
    with_vectors(
        view.inner,
        [&]<int vector>() {
          launched = launch_resident(named<resident_forward<vector>>(), forward_blocks, ceil_div(partials.cut.parts, forward_parts),
                                     view.channels, queue, view, partials, p, result, normalisation);
        },
        p.x, p.y, p.r);
  else if (resident(call)) launched = launch_resident_columns(view, partials, p, result, normalisation, queue);
  if (launched) return;
  enqueue(statistics, memory, queue);
  enqueue(apply, memory, queue);
}

void enqueue(const BatchNormBackward& call, const Memory& memory, const Queue& queue) {
  const auto& reduce = std::get<0>(call.calls);
  const auto& apply = std::get<1>(call.calls);
  const View view(apply.dims);
  const auto partials = partials_of<Pair>(view, queue);
  const GradientOperands g = gradient_operands_of(reduce, memory);
  float* const dx = memory.at<float>(apply.dx);
  const GradientSums result = gradient_sums_of(reduce, memory);
  const BackwardNormalisation normalisation = normalisation_of(apply, memory);
  bool launched = false;
  if (resident(call) && partials.cut.along_rows)
    with_vectors(
        view.inner,
        [&]<int vector>() {
          launched =
              launch_resident(named<resident_backward<vector>>(), backward_blocks<vector>, ceil_div(partials.cut.parts, backward_parts),
                              view.channels, queue, view, partials, reduce.act, g, dx, result, normalisation);
        },
        g.dy, g.y, g.x, g.dr, dx);
  else if (resident(call)) launched = launch_resident_columns(view, partials, reduce.act, g, dx, result, normalisation, queue);
  if (launched) return;
  enqueue(reduce, memory, queue);
  enqueue(apply, memory, queue);
}

}  // namespace norma::kernels::cuda
