// The reference is the third backend, next to the CPU's and the GPU's. It is naive loops in double over any layout, kept forever: tests and
// `norma verify` compare the other two with it.
//
// It is written once over a number type T: double, or Tracked, which also says what error float arithmetic must cost (tracked.h). Integers
// are held as int64. Only logical elements count: padding lanes are never read and stay 0; scratch operands ("partial") are unused.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/calls.h"
#include "kernels/reference/activate.h"
#include "kernels/reference/tracked.h"

namespace norma::reference {

using kernels::Dims;
using kernels::ValueId;

template <class T>
struct Loss {
  T loss = 0, loss_sum = 0;
  std::int64_t correct = 0, counted = 0;
};

// Storage of one value of a Plan; its dtype and the Call that uses it decide which member counts.
template <class T>
struct Slot {
  T* floats = nullptr;
  std::int64_t* integers = nullptr;
  kernels::StepState* state = nullptr;
  Loss<T>* loss = nullptr;
};

// As kernels::Memory: null for an absent operand.
template <class T>
struct Memory {
  std::vector<Slot<T>> slots;  // [values]

  T* floats(ValueId v) const { return v ? slots[static_cast<std::size_t>(v.index)].floats : nullptr; }
  std::int64_t* integers(ValueId v) const { return v ? slots[static_cast<std::size_t>(v.index)].integers : nullptr; }
  kernels::StepState* state(ValueId v) const { return v ? slots[static_cast<std::size_t>(v.index)].state : nullptr; }
  Loss<T>* loss(ValueId v) const { return v ? slots[static_cast<std::size_t>(v.index)].loss : nullptr; }
};

// The kernels, for T double and Tracked; a Call without one does not compile.
template <class T>
void run(const kernels::Gather& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Resize& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Conv2dForward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Conv2dBackwardInput& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Conv2dBackwardWeight& call, const Memory<T>& memory);
template <class T>
void run(const kernels::LinearForward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::LinearBackwardInput& call, const Memory<T>& memory);
template <class T>
void run(const kernels::LinearBackwardWeight& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormStatistics& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormRstd& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormApply& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormBackwardReduce& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormBackwardApply& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormMaxPool& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormMaxPoolBackwardApply& call, const Memory<T>& memory);
template <class T>
void run(const kernels::BatchNormRunningUpdate& call, const Memory<T>& memory);
template <class T>
void run(const kernels::GroupNormForward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::GroupNormBackward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::GroupNormBackwardInput& call, const Memory<T>& memory);
template <class T>
void run(const kernels::InstanceNormAverage& call, const Memory<T>& memory);
template <class T>
void run(const kernels::ActivationForward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::ActivationBackward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Add& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Dropout& call, const Memory<T>& memory);
template <class T>
void run(const kernels::MaxPoolForward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::MaxPoolBackward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::AvgPoolForward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::AvgPoolBackward& call, const Memory<T>& memory);
template <class T>
void run(const kernels::SoftmaxCrossEntropy& call, const Memory<T>& memory);
template <class T>
void run(const kernels::MeanSquaredError& call, const Memory<T>& memory);
template <class T>
void run(const kernels::HostFunction& call, const Memory<T>& memory);
template <class T>
void run(const kernels::HostLoss& call, const Memory<T>& memory);
template <class T>
void run(const kernels::CheckFinite& call, const Memory<T>& memory);
template <class T>
void run(const kernels::ClipGradients& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Update& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Advance& call, const Memory<T>& memory);
template <class T>
void run(const kernels::Fill& call, const Memory<T>& memory);
template <class T, class... C>
void run(const kernels::Together<C...>& together, const Memory<T>& memory) {
  (run(std::get<C>(together.calls), memory), ...);
}

// f(n, c, h, w) for every logical element, in NCHW order.
template <class F>
void for_each_element(const Dims& d, F f) {
  for (std::int64_t n = 0; n < d.n; ++n)
    for (std::int64_t c = 0; c < d.c; ++c)
      for (std::int64_t h = 0; h < d.h; ++h)
        for (std::int64_t w = 0; w < d.w; ++w) f(n, c, h, w);
}

// f(index) for every element that lies in a padding lane.
template <class F>
void for_each_padding(const Dims& d, F f) {
  for (std::int64_t n = d.n; n < d.packs() * d.lanes; ++n)
    for (std::int64_t c = 0; c < d.c; ++c)
      for (std::int64_t h = 0; h < d.h; ++h)
        for (std::int64_t w = 0; w < d.w; ++w) f(d.index(n, c, h, w));
}

// f(r, s, index of x) for the window positions of output (n, c, p, q) that lie inside x, row by row.
template <class F>
void for_each_in_window(const kernels::PoolShape& shape, std::int64_t n, std::int64_t c, std::int64_t p, std::int64_t q, F f) {
  const kernels::Window& win = shape.window;
  for (std::int64_t r = 0; r < win.kernel_h; ++r)
    for (std::int64_t s = 0; s < win.kernel_w; ++s) {
      const std::int64_t h = p * win.stride_h - win.pad_h + r * win.dilation_h, w = q * win.stride_w - win.pad_w + s * win.dilation_w;
      if (h >= 0 && h < shape.x.h && w >= 0 && w < shape.x.w) f(r, s, shape.x.index(n, c, h, w));
    }
}

// 1 / sqrt(var + eps), and 0 where that root is 0: a constant channel without eps.
template <class T>
T inverse_deviation(const T& var, double eps) {
  using std::sqrt;
  const T root = sqrt(var + T(eps));
  return value(root) == 0 ? T(0) : T(1) / root;
}

}  // namespace norma::reference
