// Reference: losses.
#include <cmath>

#include "kernels/reference/reference.h"

namespace norma::reference {

using namespace kernels;

template <class T>
void run(const SoftmaxCrossEntropy& call, const Memory<T>& m) {
  using std::exp, std::log;
  const Dims& d = call.dims;
  const T* logits = m.floats(call.logits);
  const std::int64_t* labels = m.integers(call.labels);
  Loss<T> loss;
  for (std::int64_t n = 0; n < d.n; ++n) loss.counted += labels[n] != call.ignore_index;
  const T weight = call.reduction == Reduction::mean ? T(1) / T(static_cast<double>(loss.counted)) : T(1);
  for (std::int64_t n = 0; n < d.n; ++n) {
    const bool ignored = labels[n] == call.ignore_index;
    std::int64_t top = 0;
    for (std::int64_t c = 1; c < d.c; ++c)
      if (logits[d.index(n, c, 0, 0)] > logits[d.index(n, top, 0, 0)]) top = c;
    const T largest = logits[d.index(n, top, 0, 0)];
    T sum = 0;
    for (std::int64_t c = 0; c < d.c; ++c) sum += exp(logits[d.index(n, c, 0, 0)] - largest);
    const T log_sum = log(sum);
    for (std::int64_t c = 0; c < d.c; ++c) {
      const std::int64_t i = d.index(n, c, 0, 0);
      const T shifted = logits[i] - largest;
      const T q = scalar<T>(call.smoothing / static_cast<double>(d.c) + (c == labels[n] ? 1 - call.smoothing : 0));
      if (!ignored) loss.loss_sum += q * (log_sum - shifted);
      if (call.dlogits) m.floats(call.dlogits)[i] = ignored ? T(0) : (exp(shifted) / sum - q) * weight;
    }
    if (!ignored) loss.correct += top == labels[n];
  }
  loss.loss = call.reduction == Reduction::mean ? loss.loss_sum / T(static_cast<double>(loss.counted)) : loss.loss_sum;
  *m.loss(call.loss) = loss;
}

template <class T>
void run(const MeanSquaredError& call, const Memory<T>& m) {
  const Dims& d = call.dims;
  const bool mean = call.reduction == Reduction::mean;
  const T features(mean ? static_cast<double>(d.features()) : 1), elements(mean ? static_cast<double>(d.count()) : 1);
  Loss<T> loss;
  T sum = 0;
  for_each_element(d, [&](auto n, auto c, auto h, auto w) {
    const auto i = d.index(n, c, h, w);
    const T difference = m.floats(call.x)[i] - m.floats(call.target)[i];
    sum += difference * difference;
    if (call.dx) m.floats(call.dx)[i] = T(2) * difference / elements;
  });
  const auto first_largest = [&](ValueId v, std::int64_t n) {
    const auto at = [&](std::int64_t f) { return m.floats(v)[d.index(n, f / d.plane(), f % d.plane() / d.w, f % d.w)]; };
    std::int64_t top = 0;
    for (std::int64_t f = 1; f < d.features(); ++f)
      if (at(f) > at(top)) top = f;
    return top;
  };
  for (std::int64_t n = 0; n < d.n && d.features() > 1; ++n) loss.correct += first_largest(call.x, n) == first_largest(call.target, n);
  loss.loss = sum / elements;
  loss.loss_sum = sum / features;
  loss.counted = d.n;
  *m.loss(call.loss) = loss;
}

// ---- both number types

template void run(const SoftmaxCrossEntropy&, const Memory<double>&);
template void run(const SoftmaxCrossEntropy&, const Memory<Tracked>&);
template void run(const MeanSquaredError&, const Memory<double>&);
template void run(const MeanSquaredError&, const Memory<Tracked>&);

}  // namespace norma::reference
