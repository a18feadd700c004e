// Losses. A block takes 32 samples; its 8 warps share out the classes or features. Each sample's loss goes to `partial`, and the last
// block adds them up.
#include "kernels/cuda/calls.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/view.cuh"

namespace norma::kernels::cuda {
namespace {

constexpr int loss_threads = 256, samples_per_block = warp, slices = loss_threads / samples_per_block;

// Verdict on a sample, in addition to its loss.
enum Verdict : std::uint8_t { ignored = 0, counted = 1, right = 2 };  // right: counted, too

// Combines the slices' values of each sample, slice 0 first; every thread gets its sample's. Shared memory is free again afterwards.
template <class T, class Combine>
__device__ __forceinline__ T over_slices(const T& value, Combine combine) {
  struct Values {
    T of[slices][samples_per_block];
  };
  Values& values = shared<Values>();
  values.of[warp_index()][lane_index()] = value;
  __syncthreads();
  T all = values.of[0][lane_index()];
  for (int k = 1; k < slices; ++k) all = combine(all, values.of[k][lane_index()]);
  __syncthreads();
  return all;
}

struct Peak {
  float value;
  std::int32_t at;  // -1: of nothing
};
// Returns the first of equals. A NaN at 0 is kept and one elsewhere ignored, as comparing in order does.
__device__ __forceinline__ Peak larger(Peak a, Peak b) {
  if (b.at < 0) return a;
  if (a.at < 0 || b.at < a.at) {
    const Peak swapped = a;
    a = b, b = swapped;
  }
  return b.at >= 0 && (b.value > a.value || (a.value != a.value && a.at != 0)) ? b : a;
}

// The first largest of the sample's elements: those of this thread's slice, then of all.
__device__ __forceinline__ Peak first_largest(const float* x, std::int64_t elements, std::int32_t stride) {
  Peak top{0, -1};
  for (std::int64_t i = warp_index(); i < elements; i += slices) top = larger(top, {x[i * stride], static_cast<std::int32_t>(i)});
  return over_slices(top, [](const Peak& a, const Peak& b) { return larger(a, b); });
}

// Totals over all samples.
struct Total {
  std::int64_t n;
  bool mean;
  double* losses;          // [n]
  std::uint8_t* verdicts;  // [n]
  unsigned* counter;
  LossResult* result;
};

// By the last block, of all samples: each thread adds up its share in order, then the threads meet. All threads must call.
__device__ __forceinline__ void add_up(const Total& total) {
  if (!last_to_arrive(total.counter, gridDim.x)) return;
  const Range mine = chunk(total.n, loss_threads, threadIdx.x);
  double sum = 0, count = 0, correct = 0;
  for (std::int64_t i = mine.begin; i < mine.end; ++i) {
    sum += total.losses[i];
    count += total.verdicts[i] != ignored;
    correct += total.verdicts[i] == right;
  }
  sum = block_sum<loss_threads>(sum);
  count = block_sum<loss_threads>(count);
  correct = block_sum<loss_threads>(correct);
  if (threadIdx.x != 0) return;
  total.result->loss_sum = sum;
  total.result->loss = total.mean ? sum / count : sum;
  total.result->counted = static_cast<std::int64_t>(count);
  total.result->correct = static_cast<std::int64_t>(correct);
}

struct CrossEntropyParameters {
  Dims dims;
  const float* logits;
  float* dlogits;
  const std::int32_t* labels;
  Total total;
  std::int32_t ignore_index;
  float on, uniform, smoothing;
};

__global__ void __launch_bounds__(loss_threads) cross_entropy(CrossEntropyParameters p) {
  const Dims& d = p.dims;
  float scale = 1.0f;
  if (p.total.mean && p.dlogits) {  // every block counts for itself
    double count = 0;
    for (std::int64_t i = threadIdx.x; i < d.n; i += loss_threads) count += p.labels[i] != p.ignore_index;
    scale = static_cast<float>(1 / block_sum<loss_threads>(count));
  }
  const std::int64_t sample = static_cast<std::int64_t>(blockIdx.x) * samples_per_block + lane_index(), stored = d.packs() * d.lanes;
  const bool exists = sample < stored, counts = sample < d.n && p.labels[sample] != p.ignore_index;
  const std::int32_t label = counts ? p.labels[sample] : p.ignore_index;
  const std::int64_t first = exists ? sample / d.lanes * d.c * d.lanes + sample % d.lanes : 0;
  const std::int64_t classes = exists ? d.c : 0;
  const float* const z = p.logits + first;
  const Peak top = first_largest(z, classes, d.lanes);

  // With s = z - top: loss = (1-smoothing) * (log sum exp(s) - s[label]) + smoothing * (log sum exp(s) - mean of s).
  struct Sums {
    float exponentials, total, picked;
    std::int32_t found;  // 0 or 1; in shared memory that nobody wrote lies no valid bool
  };
  Sums sums{0, 0, 0, false};
  for (std::int64_t c = warp_index(); c < classes; c += slices) {
    const float s = z[c * d.lanes] - top.value;
    sums.exponentials += exponential(s);
    sums.total += s;
    if (c == label) sums.picked = s, sums.found = true;
  }
  sums = over_slices(sums, [](const Sums& a, const Sums& b) {
    return Sums{a.exponentials + b.exponentials, a.total + b.total, a.found ? a.picked : b.picked, a.found || b.found};
  });
  if (exists && p.dlogits) {
    const float inverse = 1.0f / sums.exponentials, on_target = p.on + p.uniform;
    for (std::int64_t c = warp_index(); c < classes; c += slices) {
      const float e = exponential(z[c * d.lanes] - top.value);
      p.dlogits[first + c * d.lanes] = counts ? fmaf(e, inverse, -(c == label ? on_target : p.uniform)) * scale : 0.0f;
    }
  }
  if (warp_index() == 0 && sample < d.n) {
    const float log_sum = logarithm(sums.exponentials);
    float loss = sums.found ? log_sum - sums.picked : __int_as_float(0x7FC00000);  // a label that is no class: NaN
    if (p.smoothing != 0) loss = fmaf(p.on, loss, p.smoothing * (log_sum - sums.total / static_cast<float>(d.c)));
    p.total.losses[sample] = counts ? static_cast<double>(loss) : 0.0;
    p.total.verdicts[sample] = !counts ? ignored : label == top.at ? right : counted;
  }
  add_up(p.total);
}

struct SquaredErrorParameters {
  Dims dims;
  const float *x, *target;
  float* dx;
  Total total;
  float scale;
  double divisor;
};

// Float sums this long go to double.
constexpr int features_per_sum = 32;

__global__ void __launch_bounds__(loss_threads) squared_error(SquaredErrorParameters p) {
  const Dims& d = p.dims;
  const std::int64_t sample = static_cast<std::int64_t>(blockIdx.x) * samples_per_block + lane_index(), stored = d.packs() * d.lanes;
  const bool exists = sample < stored;
  const std::int64_t features = exists ? d.features() : 0;
  const std::int64_t first = exists ? sample / d.lanes * features * d.lanes + sample % d.lanes : 0;
  double sum = 0;
  for (std::int64_t f = warp_index(); f < features;) {
    float squares = 0;
    for (int k = 0; k < features_per_sum && f < features; ++k, f += slices) {
      const std::int64_t i = first + f * d.lanes;
      const float difference = p.x[i] - p.target[i];
      squares = fmaf(difference, difference, squares);
      if (p.dx) p.dx[i] = sample < d.n ? difference * p.scale : 0.0f;
    }
    sum += static_cast<double>(squares);
  }
  sum = over_slices(sum, [](double a, double b) { return a + b; });
  const Peak is = first_largest(p.x + first, features, d.lanes), wanted = first_largest(p.target + first, features, d.lanes);
  if (warp_index() == 0 && sample < d.n) {
    p.total.losses[sample] = sum / p.divisor;
    p.total.verdicts[sample] = features > 1 && is.at == wanted.at ? right : counted;
  }
  add_up(p.total);
}

// Makes the Total for a Call of either kind.
template <class C>
Total total_of(const C& call, const Memory& memory, const Queue& queue) {
  return {.n = call.dims.n,
          .mean = call.reduction == Reduction::mean,
          .losses = memory.at<double>(call.partial),
          .verdicts = reinterpret_cast<std::uint8_t*>(queue.workspace),
          .counter = queue.counters,
          .result = memory.at<LossResult>(call.loss)};
}

std::int64_t blocks_for(const Dims& dims) { return ceil_div(dims.packs() * dims.lanes, samples_per_block); }

}  // namespace

Needs needs(const SoftmaxCrossEntropy& call) { return {static_cast<std::size_t>(call.dims.n), 1}; }
Needs needs(const MeanSquaredError& call) { return {static_cast<std::size_t>(call.dims.n), 1}; }

void enqueue(const SoftmaxCrossEntropy& call, const Memory& memory, const Queue& queue) {
  const CrossEntropyParameters p{.dims = call.dims,
                                 .logits = memory.at<float>(call.logits),
                                 .dlogits = memory.at<float>(call.dlogits),
                                 .labels = memory.at<std::int32_t>(call.labels),
                                 .total = total_of(call, memory, queue),
                                 .ignore_index = call.ignore_index,
                                 .on = static_cast<float>(1 - call.smoothing),
                                 .uniform = static_cast<float>(call.smoothing / static_cast<double>(call.dims.c)),
                                 .smoothing = static_cast<float>(call.smoothing)};
  launch(named<cross_entropy>(), blocks_for(call.dims), loss_threads, queue.stream, p);
}

void enqueue(const MeanSquaredError& call, const Memory& memory, const Queue& queue) {
  const bool mean = call.reduction == Reduction::mean;
  const SquaredErrorParameters p{.dims = call.dims,
                                 .x = memory.at<float>(call.x),
                                 .target = memory.at<float>(call.target),
                                 .dx = memory.at<float>(call.dx),
                                 .total = total_of(call, memory, queue),
                                 .scale = mean ? static_cast<float>(2 / static_cast<double>(call.dims.count())) : 2.0f,
                                 .divisor = mean ? static_cast<double>(call.dims.features()) : 1};
  launch(named<squared_error>(), blocks_for(call.dims), loss_threads, queue.stream, p);
}

}  // namespace norma::kernels::cuda
