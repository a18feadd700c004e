// Calls: layer norm (Ba, Kiros and Hinton 2016), instance norm (Ulyanov, Vedaldi and Lempitsky 2016) and group norm (Wu and He 2018). Group
// norm is layer norm with one group and instance norm with a group a channel. Statistics are those of one sample and one group of its
// channels, (N,G,1,1); in padding lanes they are 0.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// mean, var (biased; when given) and rstd = 1/sqrt(var + eps) of the M elements of every sample and group; and
// y = gamma * ((x - mean) * rstd) + beta. gamma and beta are the element's or its channel's; absent: 1, 0.
// Statistics are made in chunks of a tile: their mean, then squares of differences from it in float. Chunks are merged in double and index
// order (Chan, Golub and LeVeque 1979). Elements that are all equal give a variance of exactly 0.
struct GroupNormForward {
  static constexpr const char* name = "group_norm_forward";
  ValueId y{}, mean{}, rstd{}, var{}, x{}, gamma{}, beta{};
  NormShape shape{};
  double eps = 1e-5;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 7> operands() const {
    return {{{y, Access::write, "y"},
             {mean, Access::write, "mean"},
             {rstd, Access::write, "rstd"},
             {var, Access::write, "var"},
             {x, Access::read, "x"},
             {gamma, Access::read, "gamma"},
             {beta, Access::read, "beta"}}};
  }
  constexpr Cost cost() const {
    return {(2.0 * shape.x.count() + (var ? 3.0 : 2.0) * shape.statistics().count() +
             ((gamma ? 1.0 : 0.0) + (beta ? 1.0 : 0.0)) * shape.affine()) *
                f32_bytes,
            8.0 * shape.x.count()};
  }
};

// With g = dy * gamma and xhat = (x - mean) * rstd: dx = rstd * (g - sum(g)/M - xhat * sum(g * xhat)/M) (when given; 0 in padding lanes).
// These sums are over a sample's group. dgamma = sum(dy * xhat), dbeta = sum(dy) (when given), over the batch and all elements that share a
// gamma.
// Sums of a pack of samples are in float, flushed to double before they grow long. Sums over groups are in double and index order.
// partial: f64 [packs of samples][affine][2].
struct GroupNormBackward {
  static constexpr const char* name = "group_norm_backward";
  ValueId dx{}, dgamma{}, dbeta{}, partial{}, dy{}, x{}, mean{}, rstd{}, gamma{};
  NormShape shape{};

  static constexpr bool reduces = true;
  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 9> operands() const {
    return {{{dx, Access::write, "dx"},
             {dgamma, Access::write, "dgamma"},
             {dbeta, Access::write, "dbeta"},
             {partial, Access::write, "partial"},
             {dy, Access::read, "dy"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"},
             {gamma, Access::read, "gamma"}}};
  }
  constexpr std::int64_t partial_bytes() const { return shape.x.packs() * shape.affine() * 2 * 8; }
  constexpr Cost cost() const {
    return {((dx ? 3.0 : 2.0) * shape.x.count() + 2.0 * shape.statistics().count() + (dbeta ? 3.0 : 2.0) * shape.affine()) * f32_bytes,
            (dx ? 14.0 : 6.0) * shape.x.count()};
  }
};

// dx of the above where there is no gamma: nothing is summed over the batch.
struct GroupNormBackwardInput {
  static constexpr const char* name = "group_norm_backward_input";
  ValueId dx{}, dy{}, x{}, mean{}, rstd{};
  NormShape shape{};

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 5> operands() const {
    return {{{dx, Access::write, "dx"},
             {dy, Access::read, "dy"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"}}};
  }
  constexpr Cost cost() const { return {(3.0 * shape.x.count() + 2.0 * shape.statistics().count()) * f32_bytes, 13.0 * shape.x.count()}; }
};

// mean[c], var[c]: averages over samples of sample_mean and sample_var (N,C,1,1), an instance norm's statistics. They are made in double
// and a fixed order; partial: f64 [packs of samples][C][2].
struct InstanceNormAverage {
  static constexpr const char* name = "instance_norm_average";
  ValueId mean{}, var{}, partial{}, sample_mean{}, sample_var{};
  Dims dims{};  // (N,C,1,1)

  static constexpr bool reduces = true;
  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 5> operands() const {
    return {{{mean, Access::write, "mean"},
             {var, Access::write, "var"},
             {partial, Access::write, "partial"},
             {sample_mean, Access::read, "sample_mean"},
             {sample_var, Access::read, "sample_var"}}};
  }
  constexpr std::int64_t partial_bytes() const { return dims.packs() * dims.c * 2 * 8; }
  constexpr Cost cost() const { return {(2.0 * dims.count() + 2.0 * dims.c) * f32_bytes, 2.0 * dims.count()}; }
};

}  // namespace norma::kernels
