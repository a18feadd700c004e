// Batch norm in evaluation, and layer, instance and group norm, of one sample.
#include <cmath>

#include "kernels/cpu/activate.h"
#include "kernels/cpu/batch_norm.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/sample/norm.h"
#include "kernels/cpu/sample/sample.h"

namespace norma::kernels::cpu::NORMA_ISA {

void run_sample(const BatchNormRstd& call, const Memory& memory) { run(call, memory); }

void run_sample(const BatchNormApply& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const r = memory.at<float>(call.r);
  const std::int64_t size = dims.plane();
  with_folded_activation(call.act, [&]<Activation act>() {
    for (std::int64_t plane = 0; plane < dims.n * dims.c; ++plane) {
      const Normalise z = normalise(memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.gamma),
                                    memory.at<float>(call.beta), plane % dims.c);
      const std::int64_t begin = plane * size, end = begin + size;
      const auto normalised = [&](std::int64_t i) {
        const V v = z(loadu(x + i));
        return activate(act, r ? v + loadu(r + i) : v);
      };
      std::int64_t i = begin;
      for (; i + 16 <= end; i += 16) storeu(y + i, normalised(i));
      if (i == end) continue;
      alignas(64) float lane[16];
      store(lane, normalised(i));
      for (std::int64_t l = 0; i + l < end; ++l) y[i + l] = lane[l];
    }
  });
}

namespace {

// The chunks, chains and merges of kernels/cpu/group_norm.cpp, whose lanes are samples.
constexpr std::int64_t elements_per_chunk = 64;

struct MomentsOfOne {
  double mean = 0, squares = 0;
};

inline MomentsOfOne moments_of_one(const float* x, std::int64_t elements) {
  MomentsOfOne all;
  for (std::int64_t begin = 0; begin < elements; begin += elements_per_chunk) {
    const std::int64_t count = elements - begin < elements_per_chunk ? elements - begin : elements_per_chunk;
    const float* const from = x + begin;
    const double n = static_cast<double>(count), inverse = 1 / n;
    const float pivot = from[0];
    float four[4] = {};
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4)
      for (int k = 0; k < 4; ++k) four[k] += from[i + k] - pivot;
    for (; i < count; ++i) four[0] += from[i] - pivot;
    const float center = __builtin_fmaf((four[0] + four[1]) + (four[2] + four[3]), static_cast<float>(inverse), pivot);
    float sum[2] = {}, squares[2] = {};
    for (i = 0; i < count; ++i) {
      const float d = from[i] - center;
      sum[i % 2] += d;
      squares[i % 2] = __builtin_fmaf(d, d, squares[i % 2]);
    }
    const double left = static_cast<double>(sum[0] + sum[1]), sum_of_squares = static_cast<double>(squares[0] + squares[1]);
    const double before = static_cast<double>(begin), share = n / (before + n), between = before * share;
    const double own = sum_of_squares - left * left * inverse, mean = static_cast<double>(center) + left * inverse;
    const double delta = mean - all.mean;
    all.mean = begin == 0 ? mean : all.mean + delta * share;
    all.squares += (own < 0 ? 0 : own) + delta * delta * between;
  }
  return all;
}

}  // namespace

void run_sample(const GroupNormForward& call, const Memory& memory) {
  const NormShape& s = call.shape;
  const std::int64_t elements = s.group_elements(), affine = s.affine() / s.groups, run = s.affine_run();
  const float* const all_gammas = memory.at<float>(call.gamma);
  const float* const all_betas = memory.at<float>(call.beta);
  for (std::int64_t tile = 0; tile < s.x.n * s.groups; ++tile) {
    const float* const x = memory.at<float>(call.x) + tile * elements;
    float* const y = memory.at<float>(call.y) + tile * elements;
    const MomentsOfOne m = moments_of_one(x, elements);
    const double var = m.squares * (1 / static_cast<double>(elements));
    const float mean = static_cast<float>(m.mean), rstd = static_cast<float>(reciprocal_std(var + call.eps));
    memory.at<float>(call.mean)[tile] = mean;
    memory.at<float>(call.rstd)[tile] = rstd;
    if (call.var) memory.at<float>(call.var)[tile] = static_cast<float>(var);
    const float* const gamma = all_gammas ? all_gammas + tile % s.groups * affine : nullptr;
    const float* const beta = all_betas ? all_betas + tile % s.groups * affine : nullptr;
    if (gamma && run == 1) {
#pragma omp simd
      for (std::int64_t e = 0; e < elements; ++e) y[e] = __builtin_fmaf((x[e] - mean) * rstd, gamma[e], beta ? beta[e] : 0.0f);
      continue;
    }
    const std::int64_t each = gamma ? run : elements;
    for (std::int64_t a = 0; a * each < elements; ++a) {
      const float scale = gamma ? gamma[a] * rstd : rstd, shift = beta ? beta[a] : 0.0f;
#pragma omp simd
      for (std::int64_t e = a * each; e < (a + 1) * each; ++e) y[e] = __builtin_fmaf(x[e] - mean, scale, shift);
    }
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
