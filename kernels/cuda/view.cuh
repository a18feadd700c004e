// An activation as (outer, C, inner): lanes are (N/L, C, H*W*L), NCHW is (N, C, H*W), NHWC is (N*H*W, C, 1). A row is the inner run of one
// (outer, channel). Elements may number more than 2^31. Within a row, and for one block's work, 32 bits are enough.
#pragma once
#include <stdexcept>
#include <type_traits>

#include "device.cuh"
#include "kernels/chunks.h"
#include "kernels/cuda/divisor.h"
#include "kernels/shapes.h"

namespace norma::kernels::cuda {

struct View {
  std::int64_t outer = 0, channels = 0, inner = 0;
  Divisor by_inner, by_channels;
  LargeDivisor rows_by_inner, groups_by_channels;
  std::int32_t lanes = 1, last_lanes = 1;  // L; those of the last pack that are samples

  View() = default;
  explicit View(const Dims& d)
      : outer(d.packs()), channels(d.c), inner(d.plane() * d.lanes), lanes(d.lanes), last_lanes(d.valid_lanes(d.packs() - 1)) {
    if (inner >= std::int64_t{1} << 31 || channels >= std::int64_t{1} << 31)
      throw std::length_error("a plane or the channels number 2^31 or more elements");
    by_inner = Divisor(inner), by_channels = Divisor(channels);
    rows_by_inner = LargeDivisor(inner), groups_by_channels = LargeDivisor(channels);
  }

  constexpr std::int64_t stored() const { return outer * channels * inner; }

  // Returns true if element i of a row of the given pack belongs to a sample.
  __device__ __forceinline__ bool valid(std::int64_t pack, std::uint32_t i) const {
    return pack + 1 < outer || static_cast<std::int32_t>(i % static_cast<std::uint32_t>(lanes)) < last_lanes;
  }
  // Row of element i: the outer one and the channel, and the position in it.
  struct Place {
    std::int64_t outer;
    std::uint32_t channel, position;
  };
  __device__ __forceinline__ Place place(std::int64_t i) const {
    const LargeDivisor::Result row = rows_by_inner.divide(i), group = groups_by_channels.divide(row.quotient);
    return {group.quotient, static_cast<std::uint32_t>(group.remainder), static_cast<std::uint32_t>(row.remainder)};
  }
};

// n = 1 or 4 floats at an address, four at once where n is 4.
template <int n>
__device__ __forceinline__ void load(const float* p, float (&v)[n]) {
  if constexpr (n == 4) {
    const float4 all = *reinterpret_cast<const float4*>(p);
    v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
  } else {
    v[0] = *p;
  }
}
template <int n>
__device__ __forceinline__ void store(float* p, const float (&v)[n]) {
  if constexpr (n == 4) *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
  else *p = v[0];
}

// As load and store, for small integers.
template <class Index, int n>
__device__ __forceinline__ void load_indices(const Index* p, Index (&v)[n]) {
  static_assert(sizeof(Index) == 1 || sizeof(Index) == 4);
  if constexpr (n == 1) {
    v[0] = *p;
  } else if constexpr (sizeof(Index) == 1) {
    const uchar4 all = *reinterpret_cast<const uchar4*>(p);
    v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
  } else {
    const int4 all = *reinterpret_cast<const int4*>(p);
    v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
  }
}
template <class Index, int n>
__device__ __forceinline__ void store_indices(Index* p, const Index (&v)[n]) {
  static_assert(sizeof(Index) == 1 || sizeof(Index) == 4);
  if constexpr (n == 1) *p = v[0];
  else if constexpr (sizeof(Index) == 1) *reinterpret_cast<uchar4*>(p) = make_uchar4(v[0], v[1], v[2], v[3]);
  else *reinterpret_cast<int4*>(p) = make_int4(v[0], v[1], v[2], v[3]);
}

// Returns true if every pointer that is given may be read four floats at a time.
template <class... T>
bool aligned16(const T*... p) {
  return ((reinterpret_cast<std::uintptr_t>(p) % 16 == 0) && ...);
}

// f.operator()<4>() where runs of `run` floats at these addresses can be taken by fours, else f.operator()<1>().
template <class F, class... T>
void with_vectors(std::int64_t run, F f, const T*... pointers) {
  if (run % 4 == 0 && aligned16(pointers...)) f.template operator()<4>();
  else f.template operator()<1>();
}

inline constexpr int view_threads = 256;

// Calls each.channel(c), then each.apply<vector>(channel, i, pack, position) for all elements of channel c, `vector` neighbours at a time.
// i is the first one's index, in `pack` (of samples) at `position` of its row. A thread takes `turns` vectors, and keeps a channel's
// constants while it can. A second pass over the same data (Each::SecondPass) begins at the end: the cache may still hold some of it.
template <int vector, int turns, class Each>
__global__ void __launch_bounds__(view_threads) view_pass(View view, Each each) {
  constexpr std::uint32_t step = view_threads * vector, tile = step * turns;
  const std::int64_t block = requires { typename Each::SecondPass; }
  ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  const std::int64_t base = block * tile, stored = view.stored();
  const View::Place first = view.place(base);
  std::uint32_t current = ~0u;
  decltype(each.channel(0)) constants{};
#pragma unroll
  for (int k = 0; k < turns; ++k) {
    const std::uint32_t local = static_cast<std::uint32_t>(k) * step + threadIdx.x * vector;
    if (base + local >= stored) return;
    const Divisor::Result row = view.by_inner.divide(first.position + local), at = view.by_channels.divide(first.channel + row.quotient);
    if (at.remainder != current) constants = each.channel(current = at.remainder);
    each.template apply<vector>(constants, base + local, first.outer + at.quotient, row.remainder);
  }
}

// Runs it; `arrays` begin where each reads and writes. A tensor that would make fewer blocks than this is shared out among more threads.
inline constexpr std::int64_t few_blocks = 32;
template <class Each, class... T>
void launch_view(const View& view, CUstream_st* stream, const Each& each, const T*... arrays) {
  with_vectors(
      view.inner,
      [&]<int vector>() {
        const std::int64_t vectors = ceil_div(view.stored(), std::int64_t{vector});
        const auto start = [&]<int turns>(std::integral_constant<int, turns>) {
          launch(named<view_pass<vector, turns, Each>>(), ceil_div(vectors, std::int64_t{view_threads} * turns), view_threads, stream, view,
                 each);
        };
        if (vectors < few_blocks * 4 * view_threads) start(std::integral_constant<int, 1>{});
        else start(std::integral_constant<int, 4>{});
      },
      arrays...);
}

}  // namespace norma::kernels::cuda
