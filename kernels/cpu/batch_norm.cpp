// Batch normalisation. Every pass works on planes: the H*W vectors of one pack of samples and one channel.
#include "kernels/cpu/batch_norm.h"

#include <cmath>

#include "kernels/chunks.h"
#include "kernels/cpu/activate.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// Returns a value near one plane's data, so that squares of differences from it cancel little. Constant data give exactly their value. It
// is the mean of the plane's first vector and, if there is more, its middle one.
inline float pivot_of(const float* x, std::int64_t vectors, M valid, int valid_lanes) {
  double sum = reduce_add_double(select(valid, load(x), zero()));
  if (vectors == 1) return static_cast<float>(sum / valid_lanes);
  sum += reduce_add_double(select(valid, load(x + vectors / 2 * 16), zero()));
  return static_cast<float>(sum / (2 * valid_lanes));
}

// out[i] = value(i) for the vectors i of one plane.
template <class F>
NORMA_INLINE void write_plane(float* out, std::int64_t plane, std::int64_t vectors, bool large, F value) {
  const std::int64_t begin = plane * vectors * 16, end = begin + vectors * 16;
  if (!large) {
    for (std::int64_t i = begin; i < end; i += 16) store(out + i, value(i));
    return;
  }
  for (std::int64_t i = begin; i < end; i += 16) stream(out + i, value(i));
  end_stream();
}

}  // namespace

void run_partial(const BatchNormStatistics& call, const Memory& memory) {
  const Dims& dims = call.dims;
  const float* const x = memory.at<float>(call.x);
  double* const partial = memory.at<double>(call.partial);
  parallel_for(dims.packs() * dims.c, [=, &dims](std::int64_t plane) {
    const float* const first_vector = x + plane * dims.plane() * 16;
    const int lanes = dims.valid_lanes(plane / dims.c);
    const M valid = first(lanes);
    const float pivot = pivot_of(first_vector, dims.plane(), valid, lanes);
    const V center = set1(pivot);
    const Pair sum = sum_plane(dims.plane(), [=](std::int64_t i, V& sums, V& squares) {
      const V d = select(valid, load(first_vector + i * 16) - center, zero());
      sums = sums + d;
      squares = fma(d, d, squares);
    });
    const double m = static_cast<double>(lanes * dims.plane()), squares = sum.b - sum.a * sum.a / m;
    partial[2 * plane] = static_cast<double>(pivot) + sum.a / m;
    partial[2 * plane + 1] = squares < 0 ? 0 : squares;  // below 0 by rounding only; NaN stays
  });
}

void finish(const BatchNormStatistics& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const mean = memory.at<float>(call.mean);
  float* const var = memory.at<float>(call.var);
  float* const rstd = memory.at<float>(call.rstd);
  const double* const partial = memory.at<double>(call.partial);
  const double eps = call.eps;
  parallel_for(ceil_div(dims.c, channels_per_block), [=, &dims](std::int64_t block) {
    const std::int64_t begin = block * channels_per_block;
    const std::int64_t channels = dims.c - begin < channels_per_block ? dims.c - begin : channels_per_block;
    double means[channels_per_block] = {}, squares[channels_per_block] = {}, m = 0;
    for (std::int64_t pack = 0; pack < dims.packs(); ++pack) {
      const double more = static_cast<double>(dims.valid_lanes(pack) * dims.plane()), all = m + more;
      const double share = more / all, between = m * share;
      const double* const part = partial + 2 * (pack * dims.c + begin);
      for (std::int64_t c = 0; c < channels; ++c) {
        const double delta = part[2 * c] - means[c];
        means[c] = pack == 0 ? part[2 * c] : means[c] + delta * share;
        squares[c] += part[2 * c + 1] + delta * delta * between;
      }
      m = all;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      const double v = squares[c] / m;
      mean[begin + c] = static_cast<float>(means[c]);
      var[begin + c] = static_cast<float>(v);
      rstd[begin + c] = static_cast<float>(reciprocal_std(v + eps));
    }
  });
}

void run(const BatchNormRstd& call, const Memory& memory) {
  float* const rstd = memory.at<float>(call.rstd);
  const float* const var = memory.at<float>(call.var);
  for (std::int64_t c = 0; c < call.channels; ++c) rstd[c] = static_cast<float>(reciprocal_std(static_cast<double>(var[c]) + call.eps));
}

void run(const BatchNormApply& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const beta = memory.at<float>(call.beta);
  const float* const r = memory.at<float>(call.r);
  const bool large = dims.stored() > max_cached_floats;
  with_folded_activation(call.act, [&]<Activation act>() {
    parallel_for(dims.packs() * dims.c, [=, &dims](std::int64_t plane) {
      const Normalise z = normalise(mean, rstd, gamma, beta, plane % dims.c);
      if (r) write_plane(y, plane, dims.plane(), large, [&](std::int64_t i) { return activate(act, z(load(x + i)) + load(r + i)); });
      else write_plane(y, plane, dims.plane(), large, [&](std::int64_t i) { return activate(act, z(load(x + i))); });
    });
  });
}

namespace {

// write(at, g) with every vector of g, and write.end() after a plane.
template <class Write>
void sum_gradients(const BatchNormBackwardReduce& call, const Memory& memory, Write write) {
  const Dims& dims = call.dims;
  const float* const dy = memory.at<float>(call.dy);
  const float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  double* const partial = memory.at<double>(call.partial);
  with_folded_activation(call.act, [&]<Activation act>() {
    parallel_for(dims.packs() * dims.c, [=, &dims](std::int64_t plane) {
      const std::int64_t begin = plane * dims.plane() * 16;
      const V mu = set1(mean[plane % dims.c]), r = set1(rstd[plane % dims.c]);
      const Pair sum = sum_plane(dims.plane(), [=](std::int64_t i, V& sum_gx, V& sum_g) {
        const std::int64_t at = begin + i * 16;
        const V g = activation_gradient(act, load(dy + at), act == Activation::none ? zero() : load(y + at));
        write(at, g);
        sum_gx = fma(g, (load(x + at) - mu) * r, sum_gx);
        sum_g = sum_g + g;
      });
      write.end();
      partial[2 * plane] = sum.a;
      partial[2 * plane + 1] = sum.b;
    });
  });
}

struct WriteNothing {
  NORMA_INLINE void operator()(std::int64_t, V) const {}
  void end() const {}
};
struct WriteCached {
  float* out;
  NORMA_INLINE void operator()(std::int64_t at, V v) const { store(out + at, v); }
  void end() const {}
};
struct WritePastCaches {
  float* out;
  NORMA_INLINE void operator()(std::int64_t at, V v) const { stream(out + at, v); }
  void end() const { end_stream(); }
};

}  // namespace

// dy is 0 in padding lanes, which therefore add 0.
void run_partial(const BatchNormBackwardReduce& call, const Memory& memory) {
  float* const dr = memory.at<float>(call.dr);
  if (!dr) sum_gradients(call, memory, WriteNothing{});
  else if (call.dims.stored() <= max_cached_floats) sum_gradients(call, memory, WriteCached{dr});
  else sum_gradients(call, memory, WritePastCaches{dr});
}

void finish(const BatchNormBackwardReduce& call, const Memory& memory) {
  float* const dgamma = memory.at<float>(call.dgamma);
  float* const dbeta = memory.at<float>(call.dbeta);
  sum_groups(call.dims, memory.at<double>(call.partial), [=](std::int64_t c, double sum_gx, double sum_g) {
    dgamma[c] = static_cast<float>(sum_gx);
    dbeta[c] = static_cast<float>(sum_g);
  });
}

void run(const BatchNormBackwardApply& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const dgamma = call.batch_statistics ? memory.at<float>(call.dgamma) : nullptr;
  const float* const dbeta = memory.at<float>(call.dbeta);
  const double m = static_cast<double>(call.count);
  const bool large = dims.stored() > max_cached_floats;
  with_folded_activation(call.act, [&]<Activation act>() {
    parallel_for(dims.packs() * dims.c, [=, &dims](std::int64_t plane) {
      const BackwardApply apply =
          backward_apply(mean, rstd, gamma, dgamma, dbeta, m, plane % dims.c, first(dims.valid_lanes(plane / dims.c)));
      write_plane(dx, plane, dims.plane(), large, [&](std::int64_t i) {
        const V g = activation_gradient(act, load(dy + i), act == Activation::none ? zero() : load(y + i));
        return fma(apply.k, g, dgamma ? apply.rest(load(x + i)) : zero());
      });
    });
  });
}

void run(const BatchNormRunningUpdate& call, const Memory& memory) {
  if (call.state && memory.at<StepState>(call.state)->status != 0) return;
  for (std::int64_t l = 0; l < call.used; ++l) {
    const BatchNormRunningUpdate::Layer& of = call.layers[static_cast<std::size_t>(l)];
    float* const running_mean = memory.at<float>(of.running_mean);
    float* const running_var = memory.at<float>(of.running_var);
    const float* const mean = memory.at<float>(of.mean);
    const float* const var = memory.at<float>(of.var);
    const std::int64_t tracked = ++*memory.at<std::int64_t>(of.tracked);
    const double f = of.cumulative ? 1 / static_cast<double>(tracked) : of.momentum;
    const double unbiased = static_cast<double>(of.count) / static_cast<double>(of.count - 1);  // count > 1: lower refuses others
    for (std::int64_t c = 0; c < of.channels; ++c) {
      running_mean[c] = static_cast<float>((1 - f) * static_cast<double>(running_mean[c]) + f * static_cast<double>(mean[c]));
      running_var[c] = static_cast<float>((1 - f) * static_cast<double>(running_var[c]) + f * (static_cast<double>(var[c]) * unbiased));
    }
  }
}

}  // namespace norma::kernels::cpu::NORMA_ISA
