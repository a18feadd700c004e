// The filters of Resize, in the Call's scratch memory.
#pragma once
#include <cstdint>

#include "kernels/chunks.h"
#include "kernels/cpu/scratch.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {

// The triangle filter of every output position along one side: y[i] = sum over k < count[i] of weight[i*taps + k] * x[first[i] + k].
class Filter {
 public:
  // PIL's precompute_coeffs with the bilinear filter, in double. memory: filter_bytes().
  NORMA_INLINE Filter(std::int64_t inputs, std::int64_t outputs, std::byte* memory)
      : taps_(filter_taps(inputs, outputs)),
        span_(reinterpret_cast<Range*>(memory)),
        weight_(reinterpret_cast<float*>(memory + outputs * static_cast<std::int64_t>(sizeof(Range)))) {
    const double scale = static_cast<double>(inputs) / static_cast<double>(outputs), support = scale > 1 ? scale : 1;
    for (std::int64_t i = 0; i < outputs; ++i) {
      const double centre = (static_cast<double>(i) + 0.5) * scale;
      const std::int64_t low = static_cast<std::int64_t>(centre - support + 0.5), high = static_cast<std::int64_t>(centre + support + 0.5);
      const Range span{low > 0 ? low : 0, high < inputs ? high : inputs};
      const auto triangle = [&](std::int64_t at) {
        const double d = (static_cast<double>(at) + 0.5 - centre) / support;
        return d < -1 || d > 1 ? 0.0 : 1 - (d < 0 ? -d : d);
      };
      double sum = 0;
      for (std::int64_t at = span.begin; at < span.end; ++at) sum += triangle(at);
      for (std::int64_t at = span.begin; at < span.end; ++at) weight_[i * taps_ + at - span.begin] = static_cast<float>(triangle(at) / sum);
      span_[i] = span;
    }
  }

  NORMA_INLINE Range span(std::int64_t i) const { return span_[i]; }
  NORMA_INLINE const float* weights(std::int64_t i) const { return weight_ + i * taps_; }

 private:
  std::int64_t taps_;
  Range* span_;
  float* weight_;
};

struct Filters {
  Filter vertical, horizontal;
  NORMA_INLINE Filters(const Resize& call, std::byte* scratch)
      : vertical(call.x_dims.h, call.y_dims.h, scratch),
        horizontal(call.x_dims.w, call.y_dims.w, scratch + filter_bytes(call.x_dims.h, call.y_dims.h)) {}
};

}  // namespace norma::kernels::cpu::NORMA_ISA
