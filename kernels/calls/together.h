// Calls that one kernel runs, where a backend has such a kernel.
#pragma once
#include <string_view>
#include <tuple>

#include "kernels/calls/batch_norm.h"
#include "kernels/calls/convolution.h"
#include "kernels/calls/linear.h"
#include "kernels/calls/step.h"

namespace norma::kernels {

// Bytes that a Call need not read again where the Call before has just made them.
template <class C>
constexpr double handed_over(const C&) {
  return 0;
}
constexpr double handed_over(const BatchNormStatistics& c) { return c.dims.count() * f32_bytes; }      // x
constexpr double handed_over(const BatchNormBackwardReduce& c) { return c.dims.count() * f32_bytes; }  // dy

// The same as its Calls, one after the other. operands() names each value once: what a Call reads of one before it is left out, and what
// an earlier one reads and a later one updates is the later one's.
template <class... C>
struct Together {
 private:
  static constexpr std::size_t length = (std::string_view(C::name).size() + ...) + sizeof...(C);
  static constexpr std::array<char, length> joined = [] {
    std::array<char, length> text{};
    std::size_t at = 0;
    for (const std::string_view part : {std::string_view(C::name)...}) {
      if (at) text[at++] = '+';
      for (const char letter : part) text[at++] = letter;
    }
    return text;
  }();

 public:
  static constexpr const char* name = joined.data();  // "conv2d_forward+batch_norm_statistics"
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
    return std::apply(
        [](const auto&... c) {
          return Cost{(c.cost().bytes + ...) - (handed_over(c) + ...), (c.cost().flops + ...)};
        },
        calls);
  }
};

// A convolution or linear layer, and the statistics of what it makes.
using Conv2dForwardStatistics = Together<Conv2dForward, BatchNormStatistics>;
using LinearForwardStatistics = Together<LinearForward, BatchNormStatistics>;
// The gradient of its input, and the sums over that of the batch norm before; without dr.
using Conv2dBackwardInputReduce = Together<Conv2dBackwardInput, BatchNormBackwardReduce>;
using LinearBackwardInputReduce = Together<LinearBackwardInput, BatchNormBackwardReduce>;
// The end of a step: whatever outlives it.
using SgdStep = Together<BatchNormRunningUpdate, Sgd, Advance>;
using AdamStep = Together<BatchNormRunningUpdate, Adam, Advance>;

}  // namespace norma::kernels
