// Calls: batch norm, alone and with the pooling that follows.
#pragma once
#include "kernels/calls/operand.h"

namespace norma::kernels {

// mean[c], var[c] (biased) and rstd[c] = 1/sqrt(var + eps) of the m elements of a channel. A constant channel gives exactly 0.
// partial: f64 [packs][C][2]: mean, squares. A pack takes a pivot from fixed positions of its plane; d = x - pivot. Over the pack's own m
// elements, mean = pivot + sum(d)/m and squares = sum(d*d) - sum(d)^2/m. Sums are in float. Packs are merged in double and index order
// (Chan, Golub and LeVeque 1979).
struct BatchNormStatistics {
  static constexpr const char* name = "batch_norm_statistics";
  ValueId mean{}, var{}, rstd{}, x{}, partial{};  // f32 (C) each but x
  Dims dims{};
  double eps = 1e-5;

  static constexpr bool reduces = true;
  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 5> operands() const {
    return {{{mean, Access::write, "mean"},
             {var, Access::write, "var"},
             {rstd, Access::write, "rstd"},
             {partial, Access::write, "partial"},
             {x, Access::read, "x"}}};
  }
  constexpr std::int64_t partial_bytes() const { return dims.packs() * dims.c * 2 * 8; }
  constexpr Cost cost() const { return {(dims.count() + 3.0 * dims.c) * f32_bytes, 4.0 * dims.count()}; }
};

// rstd[c] = 1/sqrt(var[c] + eps): evaluation, from the running variance
struct BatchNormRstd {
  static constexpr const char* name = "batch_norm_rstd";
  ValueId rstd{}, var{};
  std::int64_t channels = 0;
  double eps = 1e-5;

  constexpr std::array<Operand, 2> operands() const { return {{{rstd, Access::write, "rstd"}, {var, Access::read, "var"}}}; }
  constexpr Cost cost() const { return {2.0 * channels * f32_bytes, 3.0 * channels}; }
};

//   y = act(gamma[c] * ((x - mean[c]) * rstd[c]) + beta[c] + r)               gamma, beta, r absent: 1, 0, 0
// r has the dims of y and is a residual block's other summand. It is added to the rounded rest, as an Add after this Call would.
struct BatchNormApply {
  static constexpr const char* name = "batch_norm_apply";
  ValueId y{}, x{}, mean{}, rstd{}, gamma{}, beta{}, r{};
  Dims dims{};
  Activation act = Activation::none;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 7> operands() const {
    return {{{y, Access::write, "y"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"},
             {gamma, Access::read, "gamma"},
             {beta, Access::read, "beta"},
             {r, Access::read, "r"}}};
  }
  constexpr Cost cost() const { return {((r ? 3.0 : 2.0) * dims.count() + 4.0 * dims.c) * f32_bytes, (r ? 5.0 : 4.0) * dims.count()}; }
};

// g = dy * act'(y) and xhat = (x - mean[c]) * rstd[c] give dgamma[c] = sum(g * xhat), dbeta[c] = sum(g).
// y is read only when act is not none. Sums are as in BatchNormStatistics; partial: f64 [packs][C][2].
// dr (when given; dims of x) = g, the gradient of BatchNormApply's r. The BackwardApply that follows then reads it as its dy, with act
// none. Both together move 7 tensors; making dr in addition to dy and y would take 8. Padding lanes of dr are 0, as those of dy are.
struct BatchNormBackwardReduce {
  static constexpr const char* name = "batch_norm_backward_reduce";
  ValueId dgamma{}, dbeta{}, dr{}, dy{}, y{}, x{}, mean{}, rstd{}, partial{};
  Dims dims{};
  Activation act = Activation::none;

  static constexpr bool reduces = true;
  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 9> operands() const {
    return {{{dgamma, Access::write, "dgamma"},
             {dbeta, Access::write, "dbeta"},
             {dr, Access::write, "dr"},
             {partial, Access::write, "partial"},
             {dy, Access::read, "dy"},
             {y, Access::read, "y"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"}}};
  }
  constexpr std::int64_t partial_bytes() const { return dims.packs() * dims.c * 2 * 8; }
  constexpr Cost cost() const {
    return {((y ? 3.0 : 2.0) * dims.count() + (dr ? 1.0 : 0.0) * dims.count() + 4.0 * dims.c) * f32_bytes, 6.0 * dims.count()};
  }
};

// batch_statistics: dx = gamma[c] * rstd[c] * (g - dbeta[c]/m - xhat * dgamma[c]/m);
// otherwise (mean and rstd are constants) dx = gamma[c] * rstd[c] * g. g and xhat are as above; gamma absent: 1; m = count. Padding lanes
// of dx are set to 0.
struct BatchNormBackwardApply {
  static constexpr const char* name = "batch_norm_backward_apply";
  ValueId dx{}, dy{}, y{}, x{}, mean{}, rstd{}, gamma{}, dgamma{}, dbeta{};
  Dims dims{};
  std::int64_t count = 0;  // elements of a channel in the whole batch
  Activation act = Activation::none;
  bool batch_statistics = true;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 9> operands() const {
    return {{{dx, Access::write, "dx"},
             {dy, Access::read, "dy"},
             {y, Access::read, "y"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"},
             {gamma, Access::read, "gamma"},
             {dgamma, Access::read, "dgamma"},
             {dbeta, Access::read, "dbeta"}}};
  }
  constexpr Cost cost() const { return {((y ? 4.0 : 3.0) * dims.count() + 5.0 * dims.c) * f32_bytes, 8.0 * dims.count()}; }
};

// Batch norm, activation and max pooling in one pass. With z = gamma[c] * ((x - mean[c]) * rstd[c]) + beta[c]: y = act(max of z over the
// window), as act is monotonic. argmax = r * kernel_w + s of the first largest z. largest = its x (when given; dims of y). dgamma and dbeta
// are those of a BatchNormBackwardReduce of dy, y and largest.
// Windows have at most 256 taps, one at least inside x, and no dilation.
struct BatchNormMaxPool {
  static constexpr const char* name = "batch_norm_max_pool";
  ValueId y{}, argmax{}, largest{}, x{}, mean{}, rstd{}, gamma{}, beta{};  // argmax: u8
  PoolShape shape{};
  Activation act = Activation::none;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 8> operands() const {
    return {{{y, Access::write, "y"},
             {argmax, Access::write, "argmax"},
             {largest, Access::write, "largest"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"},
             {gamma, Access::read, "gamma"},
             {beta, Access::read, "beta"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + (largest ? 2.0 : 1.0) * shape.y.count() + 4.0 * shape.x.c) * f32_bytes + (argmax ? shape.y.count() : 0),
            4.0 * shape.x.count() + shape.y.count() * (shape.window.area() + 1.0)};
  }
};

// dx as BatchNormBackwardApply makes it of g. For an element of x, g is the sum of dy * act'(y) over the windows whose argmax it is.
struct BatchNormMaxPoolBackwardApply {
  static constexpr const char* name = "batch_norm_max_pool_backward_apply";
  ValueId dx{}, dy{}, y{}, argmax{}, x{}, mean{}, rstd{}, gamma{}, dgamma{}, dbeta{};
  PoolShape shape{};
  std::int64_t count = 0;  // elements of a channel of x in the whole batch
  Activation act = Activation::none;
  bool batch_statistics = true;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 10> operands() const {
    return {{{dx, Access::write, "dx"},
             {dy, Access::read, "dy"},
             {y, Access::read, "y"},
             {argmax, Access::read, "argmax"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"},
             {gamma, Access::read, "gamma"},
             {dgamma, Access::read, "dgamma"},
             {dbeta, Access::read, "dbeta"}}};
  }
  constexpr Cost cost() const {
    return {(2.0 * shape.x.count() + (y ? 2.0 : 1.0) * shape.y.count() + 5.0 * shape.x.c) * f32_bytes + shape.y.count(),
            5.0 * shape.x.count() + 3.0 * shape.y.count()};
  }
};

// If state.status is 0, for each of the layers: tracked += 1; f = cumulative ? 1/tracked : momentum;
// running_mean += f * (mean - running_mean); running_var += f * (var * m/(m-1) - running_var), written as (1-f)*old + f*new.
struct BatchNormRunningUpdate {
  static constexpr const char* name = "batch_norm_running_update";
  static constexpr int most = 8;  // layers of a Call
  struct Layer {
    ValueId running_mean{}, running_var{}, tracked{};  // f32 (C), f32 (C), i64 []
    ValueId mean{}, var{};
    std::int64_t channels = 0, count = 0;  // count: m
    double momentum = 0.1;
    bool cumulative = false;
  };
  std::array<Layer, most> layers{};
  std::int64_t used = 0;  // of them; may be 0
  ValueId state{};        // absent: always update

  constexpr std::array<Operand, 5 * most + 1> operands() const {
    std::array<Operand, 5 * most + 1> all{};
    std::size_t count = 0;
    for (int l = 0; l < most; ++l) {
      const Layer of = l < used ? layers[l] : Layer{};
      for (const Operand& o : std::array<Operand, 5>{{{of.running_mean, Access::update, "running_mean", l},
                                                      {of.running_var, Access::update, "running_var", l},
                                                      {of.tracked, Access::update, "tracked", l},
                                                      {of.mean, Access::read, "mean", l},
                                                      {of.var, Access::read, "var", l}}})
        all[count++] = o;
    }
    all[count] = {state, Access::read, "state"};
    return all;
  }
  constexpr Cost cost() const {
    Cost sum;
    for (int l = 0; l < used; ++l) sum.bytes += 6.0 * layers[l].channels * f32_bytes + 16, sum.flops += 7.0 * layers[l].channels;
    return sum;
  }
};

}  // namespace norma::kernels
