// Batch norm, activation and max pooling in one pass over planes, and its adjoint.
#include "kernels/cpu/activate.h"
#include "kernels/cpu/batch_norm.h"
#include "kernels/cpu/calls.h"
#include "kernels/cpu/windows.h"

namespace norma::kernels::cpu::NORMA_ISA {

void run(const BatchNormMaxPool& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const y = memory.at<float>(call.y);
  std::uint8_t* const argmax = memory.at<std::uint8_t>(call.argmax);
  float* const largest = memory.at<float>(call.largest);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const beta = memory.at<float>(call.beta);
  const std::int64_t channels = call.shape.x.c, x_plane = g.h.size * g.w.size * 16, y_plane = g.y_h * g.y_w * 16;
  const Activation activation = call.act;
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes, [=](std::int64_t n) {
      const float* const plane = x + n * x_plane;
      float* const out = y + n * y_plane;
      std::uint8_t* const index_out = argmax ? argmax + n * y_plane : nullptr;
      float* const largest_out = largest ? largest + n * y_plane : nullptr;
      const Normalise z = normalise(mean, rstd, gamma, beta, n % channels);
      for (std::int64_t p = 0; p < g.y_h; ++p)
        for_windows<kernel>(
            g, p, [&](std::int64_t q, const auto& taps) __attribute__((always_inline)) {
              const Largest best = first_largest(g, taps, plane, z);
              const std::int64_t at = (p * g.y_w + q) * 16;
              store(out + at, best.value);
              if (index_out) store_index(index_out + at, best.index);
              if (largest_out) store(largest_out + at, best.x);
            });
      with_folded_activation(activation, [&]<Activation act>() {  // a second pass, over a plane in the nearest cache
        if constexpr (act != Activation::none)
          for (std::int64_t i = 0; i < y_plane; i += 16) store(out + i, activate(act, load(out + i)));
      });
    });
  });
}

// If windows tile x, each element meets one of them. Otherwise the plane of dx first collects g.
void run(const BatchNormMaxPoolBackwardApply& call, const Memory& memory) {
  const Geometry g(call.shape);
  float* const dx = memory.at<float>(call.dx);
  const float* const dy = memory.at<float>(call.dy);
  const float* const y = call.y ? memory.at<float>(call.y) : dy;
  const std::uint8_t* const argmax = memory.at<std::uint8_t>(call.argmax);
  const float* const x = memory.at<float>(call.x);
  const float* const mean = memory.at<float>(call.mean);
  const float* const rstd = memory.at<float>(call.rstd);
  const float* const gamma = memory.at<float>(call.gamma);
  const float* const dgamma = call.batch_statistics ? memory.at<float>(call.dgamma) : nullptr;
  const float* const dbeta = memory.at<float>(call.dbeta);
  const double m = static_cast<double>(call.count);
  const Dims& dims = call.shape.x;
  const std::int64_t x_plane = g.h.size * g.w.size * 16;
  const Activation act = call.act;
  const bool tiles = g.tiles();
  with_kernel(g, [&]<int kernel>() {
    parallel_for(g.planes, [=, &dims](std::int64_t n) {
      const float* const plane = x + n * x_plane;
      float* const out = dx + n * x_plane;
      const BackwardApply apply = backward_apply(mean, rstd, gamma, dgamma, dbeta, m, n % dims.c, first(dims.valid_lanes(n / dims.c)));
      const auto each_window = [&](auto f) __attribute__((always_inline)) {
        for (std::int64_t p = 0; p < g.y_h; ++p)
          for_windows<kernel>(
              g, p, [&](std::int64_t q, const auto& taps) __attribute__((always_inline)) {
                const std::int64_t at = ((n * g.y_h + p) * g.y_w + q) * 16;
                const V gradient = folded_gradient(act, load(dy + at), load(y + at));
                const I index = load_index(argmax + at);
                for (std::int64_t i = taps.r.begin; i < taps.r.end; ++i)
                  for (std::int64_t j = taps.s.begin; j < taps.s.end; ++j)
                    f(taps.at(i, j), select(eq(index, tap_index(g, i, j)), gradient, zero()));
              });
      };
      if (tiles) {
        each_window([&](std::int64_t at, V share)
                        __attribute__((always_inline)) { store(out + at, fma(apply.k, share, apply.rest(load(plane + at)))); });
        return;
      }
      for (std::int64_t i = 0; i < x_plane; i += 16) store(out + i, zero());
      each_window([&](std::int64_t at, V share) __attribute__((always_inline)) { store(out + at, load(out + at) + share); });
      for (std::int64_t i = 0; i < x_plane; i += 16) store(out + i, fma(apply.k, load(out + i), apply.rest(load(plane + i))));
    });
  });
}

}  // namespace norma::kernels::cpu::NORMA_ISA
