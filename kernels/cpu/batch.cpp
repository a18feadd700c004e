// From stored samples to a batch in lanes, and resampling of one.
#include <cstring>

#include "kernels/batch_order.h"
#include "kernels/chunks.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/resize_filter.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

typedef std::uint8_t Bytes __attribute__((vector_size(16)));

NORMA_INLINE Bytes interleave_low(Bytes a, Bytes b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
NORMA_INLINE Bytes interleave_high(Bytes a, Bytes b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// The next 16 bytes of 16 samples as 16 vectors: four rounds, each of which interleaves row i with row i + 8.
NORMA_INLINE void transpose(const std::uint8_t* const (&samples)[16], std::int64_t at, std::uint8_t (&out)[16][16]) {
  Bytes row[16], next[16];
  for (int l = 0; l < 16; ++l) std::memcpy(&row[l], samples[l] + at, 16);
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = interleave_low(row[i], row[i + 8]);
      next[2 * i + 1] = interleave_high(row[i], row[i + 8]);
    }
#pragma GCC unroll 16
    for (int l = 0; l < 16; ++l) row[l] = next[l];
  }
  std::memcpy(out, row, sizeof out);
}

// Positions of a plane that are one thread's work at a time.
constexpr std::int64_t positions_per_part = 1024;

// Finds the start of each sample of a pack; lanes past the last sample point to the pack's first.
template <class T>
NORMA_INLINE void find_samples(const T* source, const BatchOrder& order, std::int64_t first, std::int64_t features, int valid,
                               const T* (&samples)[16]) {
  for (int l = 0; l < 16; ++l) samples[l] = source + order[first + (l < valid ? l : 0)] * features;
}

NORMA_INLINE V gather_lanes(const float* const (&samples)[16], std::int64_t at) {
  alignas(64) float lane[16];
  for (int l = 0; l < 16; ++l) lane[l] = samples[l][at];
  return load(lane);
}
NORMA_INLINE V gather_lanes(const std::uint8_t* const (&samples)[16], std::int64_t at) {
  std::uint8_t lane[16];
  for (int l = 0; l < 16; ++l) lane[l] = samples[l][at];
  return to_float(load_u8(lane));
}

// y = fma(scale, u, offset) over one channel of one pack: rounded once.
struct Affine {
  V scale, offset;
  M valid;
  NORMA_INLINE void operator()(float* y, V u) const { store(y, select(valid, fma(scale, u, offset), zero())); }
};

// Positions [begin, end) of a plane whose samples' positions start at `at` and whose vectors start at y.
NORMA_INLINE void gather_plane(const std::uint8_t* const (&samples)[16], std::int64_t at, Range range, float* y, Affine affine) {
  std::int64_t i = range.begin;
  for (; i + 16 <= range.end; i += 16) {
    std::uint8_t tile[16][16];
    transpose(samples, at + i, tile);
    for (int k = 0; k < 16; ++k) affine(y + (i + k) * 16, to_float(load_u8(tile[k])));
  }
  for (; i < range.end; ++i) affine(y + i * 16, gather_lanes(samples, at + i));
}
NORMA_INLINE void gather_plane(const float* const (&samples)[16], std::int64_t at, Range range, float* y, Affine affine) {
  for (std::int64_t i = range.begin; i < range.end; ++i) affine(y + i * 16, gather_lanes(samples, at + i));
}

template <class T>
inline void gather_samples(const Gather& call, const Memory& memory, const BatchOrder& order) {
  const Dims& dims = call.dims;
  float* const y = memory.at<float>(call.y);
  const T* const source = memory.at<T>(call.source);
  const float* const scale = memory.at<float>(call.scale);
  const float* const offset = memory.at<float>(call.offset);
  const std::int64_t positions = dims.plane(), parts = ceil_div(positions, positions_per_part);
  parallel_for(dims.packs() * dims.c * parts, [=, &dims, &order](std::int64_t item) {
    const std::int64_t plane = item / parts, pack = plane / dims.c, c = plane % dims.c, begin = item % parts * positions_per_part;
    const int valid = dims.valid_lanes(pack);
    const T* samples[16];
    find_samples(source, order, memory.first_sample + pack * 16, dims.features(), valid, samples);
    const std::int64_t end = begin + positions_per_part < positions ? begin + positions_per_part : positions;
    gather_plane(samples, c * positions, {begin, end}, y + plane * positions * 16,
                 Affine{set1(scale ? scale[c] : 1.0f), set1(offset ? offset[c] : 0.0f), first(valid)});
  });
}

inline void gather_targets(const Gather& call, const Memory& memory, const BatchOrder& order) {
  const Dims& dims = call.target_dims;
  float* const out = memory.at<float>(call.targets_out);
  const float* const targets = memory.at<float>(call.targets);
  const std::int64_t features = dims.features();
  parallel_for(dims.packs(), [=, &dims, &order](std::int64_t pack) {
    const int valid = dims.valid_lanes(pack);
    const float* samples[16];
    find_samples(targets, order, memory.first_sample + pack * 16, features, valid, samples);
    gather_plane(samples, 0, {0, features}, out + pack * features * 16, Affine{set1(1.0f), zero(), first(valid)});
  });
}

}  // namespace

void run(const Gather& call, const Memory& memory) {
  const BatchOrder order(*memory.at<StepState>(call.state), call.shuffle);
  if (call.source_type == DType::u8) gather_samples<std::uint8_t>(call, memory, order);
  else gather_samples<float>(call, memory, order);
  if (std::int32_t* const out = memory.at<std::int32_t>(call.labels_out)) {
    const std::int32_t* const labels = memory.at<std::int32_t>(call.labels);
    for (std::int64_t i = 0; i < call.dims.n; ++i) out[i] = labels[order[memory.first_sample + i]];
  }
  if (call.targets_out) gather_targets(call, memory, order);
}

void run(const Resize& call, const Memory& memory) {
  const Dims &in = call.x_dims, &out = call.y_dims;
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const Filters filters(call, memory.scratch);
  // A row is weighted across before rows are weighted down, as two separate passes would. Doing both at once needs no image in between. The
  // filters are short (two supports): this costs at most four multiply-adds for every element of x, or nine of y.
  parallel_for(out.packs() * out.c * out.h, [=, &filters, &in, &out](std::int64_t row) {
    const std::int64_t plane = row / out.h;
    const Range rows = filters.vertical.span(row % out.h);
    const float* const down = filters.vertical.weights(row % out.h);
    for (std::int64_t q = 0; q < out.w; ++q) {
      const Range columns = filters.horizontal.span(q);
      const float* const across = filters.horizontal.weights(q);
      V sum = zero();
      for (std::int64_t r = rows.begin; r < rows.end; ++r) {
        const float* const line = x + ((plane * in.h + r) * in.w + columns.begin) * 16;
        V part = zero();
        for (std::int64_t s = 0; s < columns.end - columns.begin; ++s) part = fma(set1(across[s]), load(line + s * 16), part);
        sum = fma(set1(down[r - rows.begin]), part, sum);
      }
      store(y + (row * out.w + q) * 16, sum);
    }
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
