// Max and average pooling. Forward passes work on output rows; backward passes on planes, since windows of one plane may overlap.
#include "kernels/cpu/calls.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/windows.h"

namespace norma::kernels::cpu::NORMA_ISA {
namespace {

template <class Index>
inline void max_forward(const MaxPoolForward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const y = memory.at<float>(call.y);
  Index* const argmax = memory.at<Index>(call.argmax);
  const float* const x = memory.at<float>(call.x);
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes * g.y_h, [=](std::int64_t row) {
      const float* const plane = x + row / g.y_h * g.h.size * g.w.size * 16;
      for_windows<kernel>(
          g, row % g.y_h, [&](std::int64_t q, const auto& taps) __attribute__((always_inline)) {
            const Largest best = first_largest(g, taps, plane, [](V v) { return v; });
            const std::int64_t at = (row * g.y_w + q) * 16;
            store(y + at, best.value);
            if (argmax) store_index(argmax + at, best.index);
          });
    });
  });
}

template <class Index, bool disjoint>
inline void max_backward(const MaxPoolBackward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const Index* const argmax = memory.at<Index>(call.argmax);
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes, [=](std::int64_t n) {
      float* const plane = dx + n * g.h.size * g.w.size * 16;
      clear<disjoint>(g, plane);
      for (std::int64_t p = 0; p < g.y_h; ++p)
        for_windows<kernel>(
            g, p, [&](std::int64_t q, const auto& taps) __attribute__((always_inline)) {
              const std::int64_t at = ((n * g.y_h + p) * g.y_w + q) * 16;
              const V d = load(dy + at);
              const I index = load_index(argmax + at);
              for (std::int64_t r = taps.r.begin; r < taps.r.end; ++r)
                for (std::int64_t s = taps.s.begin; s < taps.s.end; ++s)
                  scatter<disjoint>(plane + taps.at(r, s), select(eq(index, tap_index(g, r, s)), d, zero()));
            });
    });
  });
}

template <bool disjoint>
inline void avg_backward(const AvgPoolBackward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const bool include_pad = call.include_pad;
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes, [=](std::int64_t n) {
      float* const plane = dx + n * g.h.size * g.w.size * 16;
      clear<disjoint>(g, plane);
      for (std::int64_t p = 0; p < g.y_h; ++p)
        for_windows<kernel>(
            g, p, [&](std::int64_t q, const auto& taps) __attribute__((always_inline)) {
              const V d = load(dy + ((n * g.y_h + p) * g.y_w + q) * 16) / set1(divisor(g, p, q, include_pad));
              for (std::int64_t r = taps.r.begin; r < taps.r.end; ++r)
                for (std::int64_t s = taps.s.begin; s < taps.s.end; ++s) scatter<disjoint>(plane + taps.at(r, s), d);
            });
    });
  });
}

}  // namespace

void run(const MaxPoolForward& call, const Memory& memory) {
  if (call.index_type == DType::u8) max_forward<std::uint8_t>(call, memory);
  else max_forward<std::int32_t>(call, memory);
}

void run(const MaxPoolBackward& call, const Memory& memory) {
  const bool disjoint = Geometry(call.shape).disjoint();
  if (call.index_type == DType::u8)
    disjoint ? max_backward<std::uint8_t, true>(call, memory) : max_backward<std::uint8_t, false>(call, memory);
  else disjoint ? max_backward<std::int32_t, true>(call, memory) : max_backward<std::int32_t, false>(call, memory);
}

void run(const AvgPoolForward& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const y = memory.at<float>(call.y);
  const float* const x = memory.at<float>(call.x);
  const bool include_pad = call.include_pad;
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes * g.y_h, [=](std::int64_t row) {
      const std::int64_t p = row % g.y_h;
      const float* const plane = x + row / g.y_h * g.h.size * g.w.size * 16;
      for_windows<kernel>(
          g, p, [&](std::int64_t q, const auto& taps) __attribute__((always_inline)) {
            V sum = zero();
            for (std::int64_t r = taps.r.begin; r < taps.r.end; ++r) {
              V line = zero();
              for (std::int64_t s = taps.s.begin; s < taps.s.end; ++s) line = line + load(plane + taps.at(r, s));
              sum = sum + line;
            }
            store(y + (row * g.y_w + q) * 16, sum / set1(divisor(g, p, q, include_pad)));
          });
    });
  });
}

void run(const AvgPoolBackward& call, const Memory& memory) {
  if (Geometry(call.shape).disjoint()) avg_backward<true>(call, memory);
  else avg_backward<false>(call, memory);
}

}  // namespace norma::kernels::cpu::NORMA_ISA
