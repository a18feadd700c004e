// Batch normalisation. Every pass works on planes: the H*W vectors of one group of samples and one channel. Sums of a plane are in
// float, flushed to double before they grow long; planes are added in double and in order, so threads do not change a bit.
#include <cmath>

#include "kernels/chunks.h"
#include "kernels/cpu/activate.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// Vectors summed in float, four by four, before the sum goes to double. Near a large mean all squares of x - pivot are small multiples
// of one power of two, and adding them one by one rounds down more often than up: over means of 1 to 1e5 standard deviations a chain
// of 128 is up to 9e-7 off, 32 fours are 2e-8 off.
constexpr std::int64_t vectors_per_flush = 128;
// Channels whose partial sums are added up by one thread.
constexpr std::int64_t channels_per_block = 32;

struct Pair {
  double a, b;
};

// Adds up what terms(i, a, b) adds to its two accumulators, over the vectors i of a plane and over lanes.
template <class Terms>
NORMA_INLINE Pair sum_plane(std::int64_t vectors, Terms terms) {
  Pair sum{0, 0};
  for (std::int64_t begin = 0; begin < vectors; begin += vectors_per_flush) {
    const std::int64_t end = begin + vectors_per_flush < vectors ? begin + vectors_per_flush : vectors;
    V a = zero(), b = zero();
    std::int64_t i = begin;
    for (; i + 4 <= end; i += 4) {
      V four_a = zero(), four_b = zero();
      for (int k = 0; k < 4; ++k) terms(i + k, four_a, four_b);
      a = a + four_a;
      b = b + four_b;
    }
    for (; i < end; ++i) terms(i, a, b);
    sum.a += reduce_add_double(a);
    sum.b += reduce_add_double(b);
  }
  return sum;
}

// partial[group][c] = sums over every plane of what terms(plane, c, valid) makes: a function for sum_plane.
template <class Terms>
inline void sum_planes(const Dims& dims, double* partial, Terms terms) {
  parallel_for(dims.groups() * dims.c, [=, &dims](std::int64_t plane) {
    const M valid = first(dims.valid_lanes(plane / dims.c));
    const Pair sum = sum_plane(dims.plane(), terms(plane, plane % dims.c, valid));
    partial[2 * plane] = sum.a;
    partial[2 * plane + 1] = sum.b;
  });
}

// finish(c, a, b) with each channel's sums over the groups.
template <class Finish>
inline void sum_groups(const Dims& dims, const double* partial, Finish finish) {
  parallel_for(ceil_div(dims.c, channels_per_block), [=, &dims](std::int64_t block) {
    const std::int64_t begin = block * channels_per_block;
    const std::int64_t channels = dims.c - begin < channels_per_block ? dims.c - begin : channels_per_block;
    double sum[2 * channels_per_block] = {};
    for (std::int64_t group = 0; group < dims.groups(); ++group)
      for (std::int64_t k = 0; k < 2 * channels; ++k) sum[k] += partial[2 * (group * dims.c + begin) + k];
    for (std::int64_t c = 0; c < channels; ++c) finish(begin + c, sum[2 * c], sum[2 * c + 1]);
  });
}

// The 32 elements of a channel, evenly spaced in logical order, whose mean is its pivot. That is near the data, so that squares of
// differences from it cancel little; and exactly the data's value where they are constant.
class PivotPositions {
 public:
  explicit PivotPositions(const Dims& dims) : plane_(dims.plane()) {
    const std::int64_t m = dims.n * plane_;
    for (std::int64_t k = 0; k < 32; ++k) {
      const std::int64_t at = k * m / 32;
      offset_[k] = dims.index(at / plane_, 0, 0, 0) + at % plane_ * 16;
    }
  }
  float mean(const float* x, std::int64_t c) const {
    double sum = 0;
    for (std::int64_t offset : offset_) sum += static_cast<double>(x[c * plane_ * 16 + offset]);
    return static_cast<float>(sum / 32);
  }

 private:
  std::int64_t plane_, offset_[32];
};

inline float reciprocal_std(double var, double eps) { return static_cast<float>(1 / std::sqrt(var + eps)); }

}  // namespace

void run(const BatchNormStatistics& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const mean = memory.at<float>(call.mean);
  float* const var = memory.at<float>(call.var);
  float* const rstd = memory.at<float>(call.rstd);
  const float* const x = memory.at<float>(call.x);
  double* const partial = memory.at<double>(call.partial);

  const PivotPositions pivot(dims);
  parallel_for(dims.c, [=, &pivot](std::int64_t c) { mean[c] = pivot.mean(x, c); });  // until the sums are known
  sum_planes(dims, partial, [=, &dims](std::int64_t plane, std::int64_t c, M valid) {
    const float* const first_vector = x + plane * dims.plane() * 16;
    const V center = set1(mean[c]);
    return [=](std::int64_t i, V& sum, V& squares) {
      const V d = select(valid, load(first_vector + i * 16) - center, zero());
      sum = sum + d;
      squares = fma(d, d, squares);
    };
  });
  const double m = static_cast<double>(dims.n * dims.plane()), eps = call.eps;
  sum_groups(dims, partial, [=](std::int64_t c, double sum, double squares) {
    const double biased = (squares - sum * sum / m) / m;
    const double v = biased < 0 ? 0 : biased;  // below 0 by rounding only; NaN stays
    mean[c] = static_cast<float>(static_cast<double>(mean[c]) + sum / m);
    var[c] = static_cast<float>(v);
    rstd[c] = reciprocal_std(v, eps);
  });
}

void run(const BatchNormRstd& call, const Memory& memory) {
  float* const rstd = memory.at<float>(call.rstd);
  const float* const var = memory.at<float>(call.var);
  for (std::int64_t c = 0; c < call.channels; ++c) rstd[c] = reciprocal_std(static_cast<double>(var[c]), call.eps);
}

void run(const BatchNormApply& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const beta = memory.at<float>(call.beta);
  with_activation(call.act, [&]<Activation act>() {
    parallel_for(dims.groups() * dims.c, [=, &dims](std::int64_t plane) {
      const std::int64_t c = plane % dims.c, begin = plane * dims.plane() * 16, end = begin + dims.plane() * 16;
      const V mu = set1(mean[c]), r = set1(rstd[c]), weight = set1(gamma ? gamma[c] : 1.0f), bias = set1(beta ? beta[c] : 0.0f);
      for (std::int64_t i = begin; i < end; i += 16) store(y + i, activate<act>(fma(weight, (load(x + i) - mu) * r, bias)));
    });
  });
}

void run(const BatchNormBackwardReduce& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const dgamma = memory.at<float>(call.dgamma);
  float* const dbeta = memory.at<float>(call.dbeta);
  const float* const dy = memory.at<float>(call.dy);
  const float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  double* const partial = memory.at<double>(call.partial);
  with_activation(call.act, [&]<Activation act>() {
    sum_planes(dims, partial, [=, &dims](std::int64_t plane, std::int64_t c, M valid) {
      const std::int64_t begin = plane * dims.plane() * 16;
      const V mu = set1(mean[c]), r = set1(rstd[c]);
      return [=](std::int64_t i, V& sum_gx, V& sum_g) {
        const std::int64_t at = begin + i * 16;
        const V g = activation_gradient<act>(load(dy + at), act == Activation::none ? zero() : load(y + at));
        const V xhat = (load(x + at) - mu) * r;
        sum_gx = select(valid, fma(g, xhat, sum_gx), sum_gx);
        sum_g = select(valid, sum_g + g, sum_g);
      };
    });
  });
  sum_groups(dims, partial, [=](std::int64_t c, double sum_gx, double sum_g) {
    dgamma[c] = static_cast<float>(sum_gx);
    dbeta[c] = static_cast<float>(sum_g);
  });
}

namespace {

// dx of one plane: k * (g - a - xhat*b), with k = gamma*rstd, a = dbeta/m, b = dgamma/m (or k * g).
template <Activation act, bool batch_statistics>
inline void backward_apply(const BatchNormBackwardApply& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const dgamma = memory.at<float>(call.dgamma);
  const float* const dbeta = memory.at<float>(call.dbeta);
  const double m = static_cast<double>(dims.n * dims.plane());
  parallel_for(dims.groups() * dims.c, [=, &dims](std::int64_t plane) {
    const std::int64_t c = plane % dims.c, begin = plane * dims.plane() * 16, end = begin + dims.plane() * 16;
    const M valid = first(dims.valid_lanes(plane / dims.c));
    const V k = set1((gamma ? gamma[c] : 1.0f) * rstd[c]);
    V mu = zero(), r = zero(), a = zero(), b = zero();
    if constexpr (batch_statistics) {
      mu = set1(mean[c]);
      r = set1(rstd[c]);
      a = set1(static_cast<float>(static_cast<double>(dbeta[c]) / m));
      b = set1(static_cast<float>(static_cast<double>(dgamma[c]) / m));
    }
    for (std::int64_t i = begin; i < end; i += 16) {
      V g = activation_gradient<act>(load(dy + i), act == Activation::none ? zero() : load(y + i));
      if constexpr (batch_statistics) g = fma(-((load(x + i) - mu) * r), b, g - a);
      store(dx + i, select(valid, k * g, zero()));
    }
  });
}

}  // namespace

void run(const BatchNormBackwardApply& call, const Memory& memory) {
  with_activation(call.act, [&]<Activation act>() {
    if (call.batch_statistics) backward_apply<act, true>(call, memory);
    else backward_apply<act, false>(call, memory);
  });
}

void run(const BatchNormRunningUpdate& call, const Memory& memory) {
  if (call.state && memory.at<StepState>(call.state)->status != 0) return;
  float* const running_mean = memory.at<float>(call.running_mean);
  float* const running_var = memory.at<float>(call.running_var);
  const float* const mean = memory.at<float>(call.mean);
  const float* const var = memory.at<float>(call.var);
  const std::int64_t tracked = ++*memory.at<std::int64_t>(call.tracked);
  const double f = call.cumulative ? 1 / static_cast<double>(tracked) : call.momentum;
  const double unbiased = static_cast<double>(call.count) / static_cast<double>(call.count - 1);  // count > 1: lower refuses others
  for (std::int64_t c = 0; c < call.channels; ++c) {
    running_mean[c] = static_cast<float>((1 - f) * static_cast<double>(running_mean[c]) + f * static_cast<double>(mean[c]));
    running_var[c] = static_cast<float>((1 - f) * static_cast<double>(running_var[c]) + f * (static_cast<double>(var[c]) * unbiased));
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
