// Losses: each lane is one sample.
#include <limits>

#include "kernels/chunks.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

// Integer counts are kept per part of the packs; at most this many parts.
constexpr std::int64_t max_parts = 64;
// Float sums are made of parts: many classes or features in one accumulator would lose digits.
constexpr std::int64_t classes_per_sum = 32, features_per_sum = 128;

inline double sum_in_order(const double* values, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += values[i];
  return sum;
}

// Labels of a pack; lanes past the last sample get ignore_index.
inline I load_labels(const std::int32_t* labels, int valid, std::int32_t ignore_index) {
  std::int32_t lane[16];
  for (int l = 0; l < 16; ++l) lane[l] = l < valid ? labels[l] : ignore_index;
  return load_i32(lane);
}

struct Largest {
  V value;
  I at;
};

// Each lane's first largest of n vectors.
inline Largest first_largest(const float* x, std::int64_t n) {
  Largest top{load(x), set1(std::int32_t{0})};
  for (std::int64_t i = 1; i < n; ++i) {
    const V v = load(x + i * 16);
    const M above = gt(v, top.value);
    top = {select(above, v, top.value), select(above, set1(static_cast<std::int32_t>(i)), top.at)};
  }
  return top;
}

// Losses of one pack's samples (0 where ignored) and their gradients times scale; returns how many are right.
// A label that is neither a class nor ignore_index gives a loss of NaN.
inline std::int64_t cross_entropy_pack(const SoftmaxCrossEntropy& call, const float* logits, float* dlogits, I labels, M counts,
                                       float scale, float (&losses)[16]) {
  const std::int64_t classes = call.dims.c;
  const auto [top, top_class] = first_largest(logits, classes);
  // With s = z - top: loss = (1-smoothing) * (log sum exp(s) - s[label]) + smoothing * (log sum exp(s) - mean of s).
  V sum = zero(), total = zero(), picked = set1(std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t begin = 0; begin < classes; begin += classes_per_sum) {
    const std::int64_t end = begin + classes_per_sum < classes ? begin + classes_per_sum : classes;
    V part_sum = zero(), part_total = zero();
    for (std::int64_t c = begin; c < end; ++c) {
      const V s = load(logits + c * 16) - top, e = exp(s);
      part_sum = part_sum + e;
      part_total = part_total + s;
      picked = select(eq(labels, set1(static_cast<std::int32_t>(c))), s, picked);
      if (dlogits) store(dlogits + c * 16, e);
    }
    sum = sum + part_sum;
    total = total + part_total;
  }
  const V log_sum = log(sum);
  V loss = log_sum - picked;
  const float uniform = static_cast<float>(call.smoothing / static_cast<double>(classes));
  const V on = set1(static_cast<float>(1 - call.smoothing));
  if (call.smoothing != 0)
    loss = fma(on, loss, set1(static_cast<float>(call.smoothing)) * (log_sum - total / set1(static_cast<float>(classes))));
  store(losses, select(counts, loss, zero()));
  if (dlogits) {
    const V inverse = set1(1.0f) / sum, off_target = set1(uniform), on_target = on + off_target, factor = set1(scale);
    for (std::int64_t c = 0; c < classes; ++c) {
      const V q = select(eq(labels, set1(static_cast<std::int32_t>(c))), on_target, off_target);
      const V d = fma(load(dlogits + c * 16), inverse, -q) * factor;
      store(dlogits + c * 16, select(counts, d, zero()));
    }
  }
  return __builtin_popcount(bits(counts & eq(labels, top_class)));
}

}  // namespace

void run(const SoftmaxCrossEntropy& call, const Memory& memory) {
  const Dims& dims = call.dims;
  LossResult& result = *memory.at<LossResult>(call.loss);
  float* const dlogits = memory.at<float>(call.dlogits);
  const float* const logits = memory.at<float>(call.logits);
  const std::int32_t* const labels = memory.at<std::int32_t>(call.labels);
  double* const partial = memory.at<double>(call.partial);

  std::int64_t counted = 0;
  for (std::int64_t i = 0; i < dims.n; ++i) counted += labels[i] != call.ignore_index;
  const float scale = call.reduction == Reduction::mean ? static_cast<float>(1 / static_cast<double>(counted)) : 1.0f;

  const std::int64_t packs = dims.packs(), parts = packs < max_parts ? packs : max_parts, stride = dims.c * 16;
  std::int64_t correct[max_parts] = {};
  parallel_for(parts, [=, &call, &dims, &correct](std::int64_t part) {
    const Range range = chunk(packs, parts, part);
    for (std::int64_t pack = range.begin; pack < range.end; ++pack) {
      const int valid = dims.valid_lanes(pack);
      const I label = load_labels(labels + pack * 16, valid, call.ignore_index);
      const M counts = first(valid) & ~eq(label, set1(call.ignore_index));
      alignas(64) float losses[16];
      correct[part] +=
          cross_entropy_pack(call, logits + pack * stride, dlogits ? dlogits + pack * stride : nullptr, label, counts, scale, losses);
      for (int l = 0; l < valid; ++l) partial[pack * 16 + l] = static_cast<double>(losses[l]);
    }
  });
  LossResult r;
  r.loss_sum = sum_in_order(partial, dims.n);
  r.loss = call.reduction == Reduction::mean ? r.loss_sum / static_cast<double>(counted) : r.loss_sum;
  for (std::int64_t part = 0; part < parts; ++part) r.correct += correct[part];
  r.counted = counted;
  result = r;
}

void run(const MeanSquaredError& call, const Memory& memory) {
  const Dims& dims = call.dims;
  float* const dx = memory.at<float>(call.dx);
  const float* const x = memory.at<float>(call.x);
  const float* const target = memory.at<float>(call.target);
  double* const partial = memory.at<double>(call.partial);
  const bool mean = call.reduction == Reduction::mean;
  const std::int64_t features = dims.features();
  const float scale = mean ? static_cast<float>(2 / static_cast<double>(dims.count())) : 2.0f;
  const double divisor = mean ? static_cast<double>(features) : 1;

  const std::int64_t packs = dims.packs(), parts = packs < max_parts ? packs : max_parts;
  std::int64_t correct[max_parts] = {};
  parallel_for(parts, [=, &dims, &correct](std::int64_t part) {
    const Range range = chunk(packs, parts, part);
    for (std::int64_t pack = range.begin; pack < range.end; ++pack) {
      const int valid = dims.valid_lanes(pack);
      const M keep = first(valid);
      const std::int64_t at = pack * features * 16;
      double sum[16] = {};
      for (std::int64_t begin = 0; begin < features; begin += features_per_sum) {
        const std::int64_t end = begin + features_per_sum < features ? begin + features_per_sum : features;
        V squares = zero();
        for (std::int64_t f = begin; f < end; ++f) {
          const std::int64_t i = at + f * 16;
          const V d = load(x + i) - load(target + i);
          squares = fma(d, d, squares);
          if (dx) store(dx + i, select(keep, d * set1(scale), zero()));
        }
        alignas(64) float lane[16];
        store(lane, squares);
        for (int l = 0; l < 16; ++l) sum[l] += static_cast<double>(lane[l]);
      }
      for (int l = 0; l < valid; ++l) partial[pack * 16 + l] = sum[l] / divisor;
      if (features > 1)
        correct[part] += __builtin_popcount(bits(keep & eq(first_largest(x + at, features).at, first_largest(target + at, features).at)));
    }
  });
  LossResult r;
  for (std::int64_t part = 0; part < parts; ++part) r.correct += correct[part];
  r.loss_sum = sum_in_order(partial, dims.n);
  r.loss = mean ? r.loss_sum / static_cast<double>(dims.n) : r.loss_sum;
  r.counted = dims.n;
  *memory.at<LossResult>(call.loss) = r;
}

}  // namespace norma::kernels::cpu::NORMA_ISA
