// Samples as they come, elementwise Calls and functions of the host, of one sample; the choice of a Call's kernel.
// Not std::visit: see kernels/cpu/dispatch.cpp.
#include <utility>
#include <variant>

#include "kernels/batch_order.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/resize_filter.h"
#include "kernels/cpu/sample/sample.h"
#include "simd.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

template <class T>
inline void gather_plain(const Gather& call, const Memory& memory, const BatchOrder& order) {
  const Dims& dims = call.dims;
  const float* const scale = memory.at<float>(call.scale);
  const float* const offset = memory.at<float>(call.offset);
  const std::int64_t size = dims.plane();
  for (std::int64_t n = 0; n < dims.n; ++n)
    for (std::int64_t c = 0; c < dims.c; ++c) {
      const T* const from = memory.at<T>(call.source) + (order[n] * dims.c + c) * size;
      float* const to = memory.at<float>(call.y) + (n * dims.c + c) * size;
      const float a = scale ? scale[c] : 1.0f, b = offset ? offset[c] : 0.0f;
#pragma omp simd
      for (std::int64_t i = 0; i < size; ++i) to[i] = __builtin_fmaf(a, static_cast<float>(from[i]), b);
    }
}

}  // namespace

void run_sample(const Gather& call, const Memory& memory) {
  const BatchOrder order(*memory.at<StepState>(call.state), call.shuffle);
  if (call.source_type == DType::u8) gather_plain<std::uint8_t>(call, memory, order);
  else gather_plain<float>(call, memory, order);
}

void run_sample(const Resize& call, const Memory& memory) {
  const Dims &in = call.x_dims, &out = call.y_dims;
  const Filters filters(call, memory.scratch);
  float* y = memory.at<float>(call.y);
  for (std::int64_t plane = 0; plane < out.n * out.c; ++plane)
    for (std::int64_t p = 0; p < out.h; ++p)
      for (std::int64_t q = 0; q < out.w; ++q) {
        const Range rows = filters.vertical.span(p), columns = filters.horizontal.span(q);
        const float* const across = filters.horizontal.weights(q);
        float sum = 0;
        for (std::int64_t r = rows.begin; r < rows.end; ++r) {
          const float* const line = memory.at<float>(call.x) + (plane * in.h + r) * in.w + columns.begin;
          float part = 0;
          for (std::int64_t s = 0; s < columns.end - columns.begin; ++s) part = __builtin_fmaf(across[s], line[s], part);
          sum = __builtin_fmaf(filters.vertical.weights(p)[r - rows.begin], part, sum);
        }
        *y++ = sum;
      }
}

// These look at no lanes.
void run_sample(const ActivationForward& call, const Memory& memory) { run(call, memory); }
void run_sample(const Add& call, const Memory& memory) { run(call, memory); }
void run_sample(const HostFunction& call, const Memory& memory) { run(call, memory); }

namespace {

template <std::size_t... Index>
inline void run_sample_alternative(const Call& call, const Memory& memory, std::index_sequence<Index...>) {
  const auto run_if = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) {
    if constexpr (serves_samples<std::variant_alternative_t<I, Call>>)
      if (call.index() == I) run_sample(*std::get_if<I>(&call), memory);
  };
  (run_if(std::integral_constant<std::size_t, Index>{}), ...);
}

}  // namespace

void run_sample_call(const Call& call, const Memory& memory) {
  run_sample_alternative(call, memory, std::make_index_sequence<std::variant_size_v<Call>>{});
}

}  // namespace norma::kernels::cpu::NORMA_ISA
