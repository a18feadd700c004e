// Calls that one kernel runs, where a backend has such a kernel.
#pragma once
#include <string>
#include <tuple>

#include "kernels/calls/batch_norm.h"
#include "kernels/calls/conv2d.h"
#include "kernels/calls/linear.h"
#include "kernels/calls/optimizer.h"

namespace norma::kernels {

// Bytes that a Call need not read again after the Call before, which has just made or read them.
template <class C>
constexpr double handed_over(const C&) {
  return 0;
}
constexpr double handed_over(const BatchNormStatistics& c) { return c.dims.count() * f32_bytes; }                // x
constexpr double handed_over(const BatchNormBackwardReduce& c) { return c.dims.count() * f32_bytes; }            // dy
constexpr double handed_over(const BatchNormApply& c) { return (c.dims.count() + 2.0 * c.dims.c) * f32_bytes; }  // x, mean, rstd
constexpr double handed_over(const BatchNormBackwardApply& c) {  // dy, x, perhaps y; mean, rstd, dgamma, dbeta
  return ((c.y ? 3.0 : 2.0) * c.dims.count() + 4.0 * c.dims.c) * f32_bytes;
}

// Does the same as its Calls, one after the other. operands() names each value once. A Call's read of a value that an earlier one touches
// is left out. A value that an earlier one reads and a later one updates is the later one's.
template <class... C>
struct Together {
  std::tuple<C...> calls{};

  constexpr auto operands() const {
    std::array<Operand, (std::tuple_size_v<decltype(std::declval<C>().operands())> + ...)> all{};
    std::size_t count = 0;
    const auto append = [&](const auto& operands) {
      const std::size_t before = count;
      for (Operand o : operands) {
        for (std::size_t i = 0; i < before && o.value; ++i) {
          if (all[i].value != o.value) continue;
          if (o.access == Access::read) o.value = {};
          else all[i].value = {};
        }
        all[count++] = o;
      }
    };
    std::apply([&](const auto&... c) { (append(c.operands()), ...); }, calls);
    return all;
  }
  constexpr Cost cost() const {
    const auto& first = std::get<0>(calls);
    return std::apply(
        [&](const auto&... c) {
          return Cost{(c.cost().bytes + ...) - (handed_over(c) + ...) + handed_over(first), (c.cost().flops + ...)};
        },
        calls);
  }
};

template <class C>
std::string name_of_call(const C&) {
  return C::name;
}
// "conv2d_forward+batch_norm_statistics"
template <class... C>
std::string name_of_call(const Together<C...>&) {
  std::string text;
  ((text += (text.empty() ? "" : "+"), text += C::name), ...);
  return text;
}

// A convolution or linear layer of fp32, and the statistics of its output.
using Conv2dForwardStatistics = Together<Conv2dForward, BatchNormStatistics>;
using LinearForwardStatistics = Together<LinearForward, BatchNormStatistics>;
// The gradient of its input, and the sums over that of the batch norm before; without dr.
using Conv2dBackwardInputReduce = Together<Conv2dBackwardInput, BatchNormBackwardReduce>;
using LinearBackwardInputReduce = Together<LinearBackwardInput, BatchNormBackwardReduce>;
// Batch norm by itself, in training. With dr, the second Call of the gradient reads that in place of dy, and no y.
using BatchNormForward = Together<BatchNormStatistics, BatchNormApply>;
using BatchNormBackward = Together<BatchNormBackwardReduce, BatchNormBackwardApply>;
// The end of a step: whatever outlives it.
using EndOfStep = Together<BatchNormRunningUpdate, Update, Advance>;

// Limits of a channel that a GPU keeps on chip until its sums are known. It has up to 2^21 elements in rows (H*W*lanes) of 32 or more, or
// up to 2^17 shorter rows (NHWC). Forward takes none or ReLU: other activations would need registers, too.
inline constexpr std::int64_t resident_row = 32, resident_elements = std::int64_t{1} << 21, resident_rows = std::int64_t{1} << 17;
constexpr bool resident(const Dims& d) {
  const std::int64_t row = d.plane() * d.lanes;
  return row >= resident_row ? d.packs() * row <= resident_elements : d.packs() <= resident_rows;
}
constexpr bool resident(const BatchNormForward& c) {
  const BatchNormApply& apply = std::get<BatchNormApply>(c.calls);
  return resident(apply.dims) && (apply.act == Activation::none || apply.act == Activation::relu);
}
constexpr bool resident(const BatchNormBackward& c) { return resident(std::get<BatchNormBackwardApply>(c.calls).dims); }

}  // namespace norma::kernels
