// Layer, instance and group norm. A tile is one pack of samples in one group of channels: M vectors, one after another. A lane is a sample,
// so its statistics are arithmetic between vectors.
#include <cmath>

#include "kernels/chunks.h"
#include "kernels/cpu/batch_norm.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// Vectors summed in float before the sum goes to double: 4 KB, which a second look finds in the nearest cache.
constexpr std::int64_t vectors_per_chunk = 64;

// A number for every lane.
struct Doubles {
  alignas(64) double lane[16] = {};
};
NORMA_INLINE Doubles widen(V v) {
  alignas(64) float narrow[16];
  store(narrow, v);
  Doubles wide;
  for (int l = 0; l < 16; ++l) wide.lane[l] = static_cast<double>(narrow[l]);
  return wide;
}
NORMA_INLINE V narrow(const Doubles& wide) {
  alignas(64) float narrow[16];
  for (int l = 0; l < 16; ++l) narrow[l] = static_cast<float>(wide.lane[l]);
  return load(narrow);
}
// a += factor * v
NORMA_INLINE void add(Doubles& a, const Doubles& v, double factor = 1) {
  for (int l = 0; l < 16; ++l) a.lane[l] += factor * v.lane[l];
}
NORMA_INLINE double sum_lanes(const Doubles& all) {
  Doubles a = all;
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) a.lane[l] += a.lane[l + width];
  return a.lane[0];
}

struct TwoSums {
  V a, b;
};
// Sums over i = 0 .. n-1 the terms that terms(i, a, b) adds to its accumulators, in two chains for each of the sums.
template <class Terms>
NORMA_INLINE TwoSums two_sums(std::int64_t n, Terms terms) {
  V a0 = zero(), a1 = zero(), b0 = zero(), b1 = zero();
  std::int64_t i = 0;
  for (; i + 2 <= n; i += 2) {
    terms(i, a0, b0);
    terms(i + 1, a1, b1);
  }
  if (i < n) terms(i, a0, b0);
  return {a0 + a1, b0 + b1};
}
// The sum of term(i), in four chains.
template <class Term>
NORMA_INLINE V one_sum(std::int64_t n, Term term) {
  V a = zero(), b = zero(), c = zero(), d = zero();
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    a = a + term(i);
    b = b + term(i + 1);
    c = c + term(i + 2);
    d = d + term(i + 3);
  }
  for (; i < n; ++i) a = a + term(i);
  return (a + b) + (c + d);
}

// f(begin, count) for the chunks of n vectors.
template <class F>
NORMA_INLINE void for_chunks(std::int64_t n, F f) {
  for (std::int64_t begin = 0; begin < n; begin += vectors_per_chunk)
    f(begin, n - begin < vectors_per_chunk ? n - begin : vectors_per_chunk);
}

struct Moments {
  Doubles mean, squares;  // sum of squared differences from the mean
};

// A chunk's first vector is near its data, and equal to constant data. The chunk's mean, found from there, is nearer.
NORMA_INLINE Moments moments_of(const float* x, std::int64_t vectors) {
  Moments all;
  for_chunks(vectors, [&](std::int64_t begin, std::int64_t count) {
    const float* const from = x + begin * 16;
    const double n = static_cast<double>(count), inverse = 1 / n;
    const V pivot = load(from);
    const V center =
        fma(one_sum(count, [=](std::int64_t i) { return load(from + i * 16) - pivot; }), set1(static_cast<float>(inverse)), pivot);
    const TwoSums sums = two_sums(count, [=](std::int64_t i, V& sum, V& squares) {
      const V d = load(from + i * 16) - center;
      sum = sum + d;
      squares = fma(d, d, squares);
    });
    const Doubles centers = widen(center), left = widen(sums.a), squares = widen(sums.b);
    const double before = static_cast<double>(begin), share = n / (before + n), between = before * share;
    for (int l = 0; l < 16; ++l) {
      const double own = squares.lane[l] - left.lane[l] * left.lane[l] * inverse, mean = centers.lane[l] + left.lane[l] * inverse;
      const double delta = mean - all.mean.lane[l];
      all.mean.lane[l] = begin == 0 ? mean : all.mean.lane[l] + delta * share;
      all.squares.lane[l] += (own < 0 ? 0 : own) + delta * delta * between;  // below 0 by rounding only; NaN stays
    }
  });
  return all;
}

// Results are written through the caches, or past them.
struct Cached {
  NORMA_INLINE static void put(float* p, V v) { store(p, v); }
  static void end() {}
};
struct PastCaches {
  NORMA_INLINE static void put(float* p, V v) { stream(p, v); }
  static void end() { end_stream(); }
};
template <class F>
NORMA_INLINE void with_store(const Dims& written, F f) {
  if (written.stored() > max_cached_floats) f(PastCaches{});
  else f(Cached{});
}

// One tile of a Call.
struct Tile {
  std::int64_t group, at, vectors, statistics;  // pack of samples; where it begins in x, how long it is; where its statistics are
  std::int64_t first_affine, affine, run;       // its gammas, and the vectors that share one
  M valid;
  Tile(const NormShape& s, std::int64_t number)
      : group(number / s.groups),
        at(number * s.group_elements() * 16),
        vectors(s.group_elements()),
        statistics(number * 16),
        first_affine(number % s.groups * (s.affine() / s.groups)),
        affine(s.affine() / s.groups),
        run(s.affine_run()),
        valid(first(s.x.valid_lanes(group))) {}
};

// f(tile) for all of them, in parallel.
template <class F>
inline void for_tiles(const NormShape& shape, F f) {
  parallel_for(shape.x.packs() * shape.groups, [=, &shape](std::int64_t number) { f(Tile(shape, number)); });
}

// y = z of every vector of a tile, gamma and beta those of its elements.
template <class Store>
NORMA_INLINE void apply(Store, const Tile& t, float* y, const float* x, V mean, V rstd, const float* gamma, const float* beta) {
  if (t.run == 1 && gamma) {
    for (std::int64_t e = 0; e < t.vectors; ++e) {
      const V shift = beta ? set1(beta[e]) : zero();
      Store::put(y + e * 16, fma((load(x + e * 16) - mean) * rstd, set1(gamma[e]), shift));
    }
    return;
  }
  const std::int64_t run = gamma ? t.run : t.vectors;
  for (std::int64_t a = 0; a * run < t.vectors; ++a) {
    const V scale = gamma ? set1(gamma[a]) * rstd : rstd, shift = beta ? set1(beta[a]) : zero();
    for (std::int64_t i = a * run; i < (a + 1) * run; ++i) Store::put(y + i * 16, fma(load(x + i * 16) - mean, scale, shift));
  }
}

}  // namespace

void run(const GroupNormForward& call, const Memory& memory) {
  float* const y = memory.at<float>(call.y);
  float* const means = memory.at<float>(call.mean);
  float* const rstds = memory.at<float>(call.rstd);
  float* const vars = memory.at<float>(call.var);
  const float* const x = memory.at<float>(call.x);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const beta = memory.at<float>(call.beta);
  const double eps = call.eps;
  with_store(call.shape.x, [&](auto store_as) {
    for_tiles(call.shape, [=](const Tile& t) {
      Moments m = moments_of(x + t.at, t.vectors);
      const double inverse = 1 / static_cast<double>(t.vectors);
      Doubles rstd;
      for (int l = 0; l < 16; ++l) {
        m.squares.lane[l] *= inverse;
        rstd.lane[l] = reciprocal_std(m.squares.lane[l] + eps);
      }
      const V mean = select(t.valid, narrow(m.mean), zero()), r = select(t.valid, narrow(rstd), zero());
      store(means + t.statistics, mean);
      store(rstds + t.statistics, r);
      if (vars) store(vars + t.statistics, select(t.valid, narrow(m.squares), zero()));
      apply(store_as, t, y + t.at, x + t.at, mean, r, gamma ? gamma + t.first_affine : nullptr, beta ? beta + t.first_affine : nullptr);
      store_as.end();
    });
  });
}

namespace {

struct BackwardOperands {
  float* dx;  // or null
  const float *dy, *x, *mean, *rstd, *gamma;

  // Returns pointers to the tile's beginning, and to its gammas.
  BackwardOperands of(const Tile& t) const {
    return {dx ? dx + t.at : nullptr, dy + t.at,           x + t.at,
            mean + t.statistics,      rstd + t.statistics, gamma ? gamma + t.first_affine : nullptr};
  }
};

// Sums of g * xhat and of g, of every sample.
struct GradientSums {
  Doubles gx, g;
};

// Without gamma, or all with one.
NORMA_INLINE GradientSums sum_run(const float* dy, const float* x, std::int64_t vectors, V mean, V rstd) {
  GradientSums all;
  for_chunks(vectors, [&](std::int64_t begin, std::int64_t count) {
    const TwoSums sums = two_sums(count, [=](std::int64_t i, V& gx, V& g) {
      const V d = load(dy + (begin + i) * 16);
      gx = fma(d, (load(x + (begin + i) * 16) - mean) * rstd, gx);
      g = g + d;
    });
    add(all.gx, widen(sums.a));
    add(all.g, widen(sums.b));
  });
  return all;
}

// Every run of vectors has its gamma. partial: the tile's part, [affine][2].
inline GradientSums sum_runs(const Tile& t, const BackwardOperands& p, V mean, V rstd, double* partial) {
  GradientSums all;
  for (std::int64_t a = 0; a < t.affine; ++a) {
    const GradientSums run = sum_run(p.dy + a * t.run * 16, p.x + a * t.run * 16, t.run, mean, rstd);
    partial[2 * a] = sum_lanes(run.gx);
    partial[2 * a + 1] = sum_lanes(run.g);
    const double gamma = p.gamma ? static_cast<double>(p.gamma[a]) : 1;
    add(all.gx, run.gx, gamma);
    add(all.g, run.g, gamma);
  }
  return all;
}

// Every vector has its gamma: sums over lanes sixteen vectors at a time.
inline GradientSums sum_elements(const Tile& t, const BackwardOperands& p, V mean, V rstd, double* partial) {
  GradientSums all;
  for_chunks(t.vectors, [&](std::int64_t begin, std::int64_t count) {
    V gx = zero(), g = zero();
    for (std::int64_t first = begin; first < begin + count; first += 16) {
      const std::int64_t rows = begin + count - first < 16 ? begin + count - first : 16;
      const float* const dy = p.dy + first * 16;
      alignas(64) float products[256];
      for (std::int64_t k = 0; k < rows; ++k) {
        const V d = load(dy + k * 16), xhat = (load(p.x + (first + k) * 16) - mean) * rstd;
        const V slope = p.gamma ? d * set1(p.gamma[first + k]) : d;
        store(products + k * 16, d * xhat);
        gx = fma(slope, xhat, gx);
        g = g + slope;
      }
      alignas(64) float sum_gx[16], sum_g[16];
      if (rows == 16) {
        store(sum_gx, reduce_add_rows(products));
        store(sum_g, reduce_add_rows(dy));
      } else {
        for (std::int64_t k = 0; k < rows; ++k) sum_gx[k] = reduce_add(load(products + k * 16)), sum_g[k] = reduce_add(load(dy + k * 16));
      }
      for (std::int64_t k = 0; k < rows; ++k) {
        partial[2 * (first + k)] = static_cast<double>(sum_gx[k]);
        partial[2 * (first + k) + 1] = static_cast<double>(sum_g[k]);
      }
    }
    add(all.gx, widen(gx));
    add(all.g, widen(g));
  });
  return all;
}

// dx = rstd * (g - sum(g)/M - xhat * sum(g * xhat)/M) as k*dy + rest(x), with k = rstd * gamma. In padding lanes all are 0.
template <class Store>
NORMA_INLINE void write_gradient(Store, const Tile& t, const BackwardOperands& p, V mean, V rstd, const GradientSums& sums) {
  const Doubles r = widen(rstd);
  Doubles slopes, offsets;
  const double inverse = 1 / static_cast<double>(t.vectors);
  for (int l = 0; l < 16; ++l) {
    slopes.lane[l] = -r.lane[l] * r.lane[l] * sums.gx.lane[l] * inverse;
    offsets.lane[l] = -r.lane[l] * sums.g.lane[l] * inverse;
  }
  const V slope = select(t.valid, narrow(slopes), zero()), offset = select(t.valid, narrow(offsets), zero());
  const auto rest = [=](std::int64_t i) { return fma(load(p.x + i * 16) - mean, slope, offset); };
  if (t.run == 1 && p.gamma) {
    for (std::int64_t e = 0; e < t.vectors; ++e) Store::put(p.dx + e * 16, fma(rstd * set1(p.gamma[e]), load(p.dy + e * 16), rest(e)));
    return;
  }
  const std::int64_t run = p.gamma ? t.run : t.vectors;
  for (std::int64_t a = 0; a * run < t.vectors; ++a) {
    const V k = p.gamma ? set1(p.gamma[a]) * rstd : rstd;
    for (std::int64_t i = a * run; i < (a + 1) * run; ++i) Store::put(p.dx + i * 16, fma(k, load(p.dy + i * 16), rest(i)));
  }
}

struct LaneStatistics {
  V mean, rstd;
  LaneStatistics(const Tile& t, const BackwardOperands& p)
      : mean(select(t.valid, load(p.mean), zero())), rstd(select(t.valid, load(p.rstd), zero())) {}
};

}  // namespace

// dy is 0 in padding lanes, which therefore add 0.
void run_partial(const GroupNormBackward& call, const Memory& memory) {
  const BackwardOperands all{memory.at<float>(call.dx),   memory.at<float>(call.dy),   memory.at<float>(call.x),
                             memory.at<float>(call.mean), memory.at<float>(call.rstd), memory.at<float>(call.gamma)};
  double* const partials = memory.at<double>(call.partial);
  const std::int64_t affine = call.shape.affine();
  with_store(call.shape.x, [&](auto store_as) {
    for_tiles(call.shape, [=](const Tile& t) {
      const BackwardOperands p = all.of(t);
      const LaneStatistics s(t, p);
      double* const partial = partials + 2 * (t.group * affine + t.first_affine);
      const GradientSums sums = t.run == 1 ? sum_elements(t, p, s.mean, s.rstd, partial) : sum_runs(t, p, s.mean, s.rstd, partial);
      if (!p.dx) return;
      write_gradient(store_as, t, p, s.mean, s.rstd, sums);
      store_as.end();
    });
  });
}

void finish(const GroupNormBackward& call, const Memory& memory) {
  float* const dgamma = memory.at<float>(call.dgamma);
  float* const dbeta = memory.at<float>(call.dbeta);
  const Dims affine = call.shape.x.with(call.shape.affine(), 1, 1);
  sum_groups(affine, memory.at<double>(call.partial), [=](std::int64_t a, double sum_gx, double sum_g) {
    dgamma[a] = static_cast<float>(sum_gx);
    if (dbeta) dbeta[a] = static_cast<float>(sum_g);
  });
}

void run(const GroupNormBackwardInput& call, const Memory& memory) {
  const BackwardOperands all{memory.at<float>(call.dx),   memory.at<float>(call.dy),   memory.at<float>(call.x),
                             memory.at<float>(call.mean), memory.at<float>(call.rstd), nullptr};
  with_store(call.shape.x, [&](auto store_as) {
    for_tiles(call.shape, [=](const Tile& t) {
      const BackwardOperands p = all.of(t);
      const LaneStatistics s(t, p);
      write_gradient(store_as, t, p, s.mean, s.rstd, sum_run(p.dy, p.x, t.vectors, s.mean, s.rstd));
      store_as.end();
    });
  });
}

void run_partial(const InstanceNormAverage& call, const Memory& memory) {
  const Dims& dims = call.dims;
  const float* const mean = memory.at<float>(call.sample_mean);
  const float* const var = memory.at<float>(call.sample_var);
  double* const partial = memory.at<double>(call.partial);
  for (std::int64_t i = 0; i < dims.packs() * dims.c; ++i) {
    double means = 0, vars = 0;
    for (int l = 0; l < dims.valid_lanes(i / dims.c); ++l) {
      means += static_cast<double>(mean[i * 16 + l]);
      vars += static_cast<double>(var[i * 16 + l]);
    }
    partial[2 * i] = means;
    partial[2 * i + 1] = vars;
  }
}

void finish(const InstanceNormAverage& call, const Memory& memory) {
  float* const mean = memory.at<float>(call.mean);
  float* const var = memory.at<float>(call.var);
  const double n = static_cast<double>(call.dims.n);
  sum_groups(call.dims, memory.at<double>(call.partial), [=](std::int64_t c, double means, double vars) {
    mean[c] = static_cast<float>(means / n);
    var[c] = static_cast<float>(vars / n);
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
