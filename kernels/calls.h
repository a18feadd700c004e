// THE boundary: every kernel invocation a Plan can hold, with its contract.
//
// A Call is plain data: value ids, shapes, scalars. Each backend is an overload set run(const Call&, const Memory&);
// a kernel that a backend lacks does not compile. Unless a line says otherwise a Call writes its outputs whole ("="),
// never adds to them, and reads none of them. N C H W as in PyTorch; m is the number of elements of a channel, N*H*W.
//
// operands() lists what a Call touches, outputs first; cost() gives the bytes that must move and the floating-point
// operations (a multiply-add is two) of the mathematics, counting logical elements, not padding.
//
// cut(n) turns a Call into that of one group of n <= L samples: its operands that hold something per sample are then addressed where the
// group's part begins (Memory::first_sample counts the samples before it). A Call without cut needs the whole batch at once. Where
// `reduces` is set, the groups' Calls make only their part of `partial`, and what sums over the batch follows when all are done.
#pragma once
#include <array>
#include <cstdint>
#include <variant>

#include "kernels/memory.h"
#include "kernels/shapes.h"
#include "norma/types.h"

namespace norma::kernels {

enum class Access : std::uint8_t { read, write, update };  // update: read and written in place

struct Operand {
  ValueId value{};
  Access access;
  const char* name;
};

struct Cost {
  double bytes = 0, flops = 0;
};

inline constexpr double f32_bytes = 4;

// ---------------------------------------------------------------------------------------------- data

// With j = order[position + first_sample + i] and i < N:
// y[i,c,h,w] = scale[c] * source[j,c,h,w] + offset[c]; padding lanes get 0
// labels_out[i] = labels[j]                               (when given)
// targets_out[i,:] = targets[j,:]                         (when given: float targets)
struct Gather {
  static constexpr const char* name = "gather";
  ValueId y{}, labels_out{}, targets_out{};  // (N,C,H,W) in lanes; i32 (N); (N,T) in lanes
  ValueId source{}, labels{}, targets{},
      order{};                // u8 or f32 [population][C][H][W]; i32 [population]; f32 [population][T]; i32 [population]
  ValueId scale{}, offset{};  // f32 (C), or absent: 1 and 0
  ValueId state{};            // StepState: position
  Dims dims{}, target_dims{};
  DType source_type = DType::u8;

  constexpr void cut(std::int64_t n) { dims.n = target_dims.n = n; }
  constexpr std::array<Operand, 10> operands() const {
    return {{{y, Access::write, "y"},
             {labels_out, Access::write, "labels_out"},
             {targets_out, Access::write, "targets_out"},
             {source, Access::read, "source"},
             {labels, Access::read, "labels"},
             {targets, Access::read, "targets"},
             {order, Access::read, "order"},
             {scale, Access::read, "scale"},
             {offset, Access::read, "offset"},
             {state, Access::read, "state"}}};
  }
  constexpr Cost cost() const { return {dims.count() * (f32_bytes + size_of(source_type)), 2.0 * dims.count()}; }
};

// y = x resampled to (y.h, y.w): bilinear, pixel centres at (i + 0.5); where a side shrinks by s > 1 the triangle filter is
// widened by s (PIL's and torchvision's antialias=True). Weights of each output position are normalised to sum 1.
struct Resize {
  static constexpr const char* name = "resize";
  ValueId y{}, x{};
  Dims y_dims{}, x_dims{};

  constexpr void cut(std::int64_t n) { y_dims.n = x_dims.n = n; }
  constexpr std::array<Operand, 2> operands() const { return {{{y, Access::write, "y"}, {x, Access::read, "x"}}}; }
  constexpr Cost cost() const { return {(x_dims.count() + y_dims.count()) * f32_bytes, 8.0 * y_dims.count()}; }
};

// ---------------------------------------------------------------------------------------------- convolution

// y[n,k,p,q] = b[k] + sum over (c,r,s) of w[k,c,r,s] * x[n, group(k)*C/groups + c, p*stride - pad + r*dilation, ...]
struct Conv2dForward {
  static constexpr const char* name = "conv2d_forward";
  ValueId y{}, x{}, w{}, b{};  // b may be absent
  ConvShape shape{};

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 4> operands() const {
    return {{{y, Access::write, "y"}, {x, Access::read, "x"}, {w, Access::read, "w"}, {b, Access::read, "b"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count() + shape.weights() + (b ? shape.y.c : 0)) * f32_bytes, 2.0 * shape.macs()};
  }
};

// dx = transposed convolution of dy with w. Padding lanes of dx are 0 because those of dy are.
struct Conv2dBackwardInput {
  static constexpr const char* name = "conv2d_backward_input";
  ValueId dx{}, dy{}, w{};
  ConvShape shape{};

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {w, Access::read, "w"}}};
  }
  constexpr Cost cost() const { return {(shape.x.count() + shape.y.count() + shape.weights()) * f32_bytes, 2.0 * shape.macs()}; }
};

// dw[k,c,r,s] = sum over (n,p,q) of dy[n,k,p,q] * x[n,c,...];  db[k] = sum over (n,p,q) of dy[n,k,p,q] (when given)
// partial: [chunks][weights + filters] floats; the samples' groups are cut into `chunks` parts, added in index order.
struct Conv2dBackwardWeight {
  static constexpr const char* name = "conv2d_backward_weight";
  ValueId dw{}, db{}, dy{}, x{}, partial{};
  ConvShape shape{};
  std::int64_t chunks = 1;

  static constexpr bool reduces = true;
  constexpr bool can_cut() const { return chunks == shape.x.groups(); }
  constexpr void cut(std::int64_t n) { shape.cut(n), chunks = 1; }
  constexpr std::array<Operand, 5> operands() const {
    return {{{dw, Access::write, "dw"},
             {db, Access::write, "db"},
             {partial, Access::write, "partial"},
             {dy, Access::read, "dy"},
             {x, Access::read, "x"}}};
  }
  constexpr std::int64_t partial_elements() const { return chunks * (shape.weights() + shape.y.c); }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count() + shape.weights() + (db ? shape.y.c : 0)) * f32_bytes,
            2.0 * shape.macs() + (db ? shape.y.count() : 0)};
  }
};

// ---------------------------------------------------------------------------------------------- linear

// y[n,o] = b[o] + sum over f of w[o,f] * x[n,f]        x (N,F,1,1), y (N,O,1,1), w [O][F]
struct LinearForward {
  static constexpr const char* name = "linear_forward";
  ValueId y{}, x{}, w{}, b{};  // b may be absent
  Dims x_dims{}, y_dims{};

  constexpr void cut(std::int64_t n) { x_dims.n = y_dims.n = n; }
  constexpr std::array<Operand, 4> operands() const {
    return {{{y, Access::write, "y"}, {x, Access::read, "x"}, {w, Access::read, "w"}, {b, Access::read, "b"}}};
  }
  constexpr std::int64_t weights() const { return x_dims.c * y_dims.c; }
  constexpr Cost cost() const {
    return {(x_dims.count() + y_dims.count() + weights() + (b ? y_dims.c : 0)) * f32_bytes, 2.0 * x_dims.n * weights()};
  }
};

// dx[n,f] = sum over o of w[o,f] * dy[n,o]
struct LinearBackwardInput {
  static constexpr const char* name = "linear_backward_input";
  ValueId dx{}, dy{}, w{};
  Dims x_dims{}, y_dims{};

  constexpr void cut(std::int64_t n) { x_dims.n = y_dims.n = n; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {w, Access::read, "w"}}};
  }
  constexpr Cost cost() const {
    return {(x_dims.count() + y_dims.count() + x_dims.c * y_dims.c) * f32_bytes, 2.0 * x_dims.n * x_dims.c * y_dims.c};
  }
};

// dw[o,f] = sum over n of dy[n,o] * x[n,f];  db[o] = sum over n of dy[n,o] (when given)
struct LinearBackwardWeight {
  static constexpr const char* name = "linear_backward_weight";
  ValueId dw{}, db{}, dy{}, x{};
  Dims x_dims{}, y_dims{};

  constexpr std::array<Operand, 4> operands() const {
    return {{{dw, Access::write, "dw"}, {db, Access::write, "db"}, {dy, Access::read, "dy"}, {x, Access::read, "x"}}};
  }
  constexpr Cost cost() const {
    return {(x_dims.count() + y_dims.count() + x_dims.c * y_dims.c + (db ? y_dims.c : 0)) * f32_bytes,
            2.0 * x_dims.n * x_dims.c * y_dims.c + (db ? y_dims.count() : 0)};
  }
};

// ---------------------------------------------------------------------------------------------- batch norm

// mean[c], var[c] (biased) and rstd[c] = 1/sqrt(var + eps) of the m elements of a channel. partial, of each group: with a pivot from
// fixed positions of its plane and d = x - pivot, mean = pivot + sum(d)/m and squares = sum(d*d) - sum(d)^2/m of its own m elements,
// sums in float; groups are merged in double and index order (Chan, Golub and LeVeque 1979). A constant channel gives exactly 0.
// partial: f64 [groups][C][2]: mean, squares.
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
  constexpr std::int64_t partial_bytes() const { return dims.groups() * dims.c * 2 * 8; }
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

// y = act(gamma[c] * ((x - mean[c]) * rstd[c]) + beta[c])                   gamma, beta absent: 1, 0
struct BatchNormApply {
  static constexpr const char* name = "batch_norm_apply";
  ValueId y{}, x{}, mean{}, rstd{}, gamma{}, beta{};
  Dims dims{};
  Activation act = Activation::none;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 6> operands() const {
    return {{{y, Access::write, "y"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"},
             {gamma, Access::read, "gamma"},
             {beta, Access::read, "beta"}}};
  }
  constexpr Cost cost() const { return {(2.0 * dims.count() + 4.0 * dims.c) * f32_bytes, 4.0 * dims.count()}; }
};

// With g = dy * act'(y) and xhat = (x - mean[c]) * rstd[c]: dgamma[c] = sum(g * xhat), dbeta[c] = sum(g).
// y is read only when act is not none. Sums as in BatchNormStatistics; partial: f64 [groups][C][2].
struct BatchNormBackwardReduce {
  static constexpr const char* name = "batch_norm_backward_reduce";
  ValueId dgamma{}, dbeta{}, dy{}, y{}, x{}, mean{}, rstd{}, partial{};
  Dims dims{};
  Activation act = Activation::none;

  static constexpr bool reduces = true;
  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 8> operands() const {
    return {{{dgamma, Access::write, "dgamma"},
             {dbeta, Access::write, "dbeta"},
             {partial, Access::write, "partial"},
             {dy, Access::read, "dy"},
             {y, Access::read, "y"},
             {x, Access::read, "x"},
             {mean, Access::read, "mean"},
             {rstd, Access::read, "rstd"}}};
  }
  constexpr std::int64_t partial_bytes() const { return dims.groups() * dims.c * 2 * 8; }
  constexpr Cost cost() const { return {((y ? 3.0 : 2.0) * dims.count() + 4.0 * dims.c) * f32_bytes, 6.0 * dims.count()}; }
};

// batch_statistics: dx = gamma[c] * rstd[c] * (g - dbeta[c]/m - xhat * dgamma[c]/m); otherwise (mean and rstd are constants)
// dx = gamma[c] * rstd[c] * g. g, xhat as above; gamma absent: 1; m = count. Padding lanes of dx are set to 0.
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

// Batch norm, activation and max pooling in one pass. With z = gamma[c] * ((x - mean[c]) * rstd[c]) + beta[c]:
// y = act(max of z over the window), as act is monotonic; argmax = r * kernel_w + s of the first largest z, and largest = its x (when
// given; dims of y): dgamma and dbeta are those of a BatchNormBackwardReduce of dy, y and largest.
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

// dx as BatchNormBackwardApply makes it of g, the sum of dy * act'(y) over the windows whose argmax an element of x is.
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

// If state.status is 0: tracked += 1; f = cumulative ? 1/tracked : momentum;
// running_mean += f * (mean - running_mean); running_var += f * (var * m/(m-1) - running_var), written as (1-f)*old + f*new.
struct BatchNormRunningUpdate {
  static constexpr const char* name = "batch_norm_running_update";
  ValueId running_mean{}, running_var{}, tracked{};  // f32 (C), f32 (C), i64 []
  ValueId mean{}, var{}, state{};                    // state absent: always update
  std::int64_t channels = 0, count = 0;              // count: m
  double momentum = 0.1;
  bool cumulative = false;

  constexpr std::array<Operand, 6> operands() const {
    return {{{running_mean, Access::update, "running_mean"},
             {running_var, Access::update, "running_var"},
             {tracked, Access::update, "tracked"},
             {mean, Access::read, "mean"},
             {var, Access::read, "var"},
             {state, Access::read, "state"}}};
  }
  constexpr Cost cost() const { return {6.0 * channels * f32_bytes + 16, 7.0 * channels}; }
};

// ---------------------------------------------------------------------------------------------- elementwise

// y = act(x)
struct ActivationForward {
  static constexpr const char* name = "activation_forward";
  ValueId y{}, x{};
  Dims dims{};
  Activation act = Activation::relu;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 2> operands() const { return {{{y, Access::write, "y"}, {x, Access::read, "x"}}}; }
  constexpr Cost cost() const { return {2.0 * dims.count() * f32_bytes, 1.0 * dims.count()}; }
};

// dx = dy * act'(y), from the output: relu y > 0; sigmoid y*(1-y); tanh 1-y*y
struct ActivationBackward {
  static constexpr const char* name = "activation_backward";
  ValueId dx{}, dy{}, y{};
  Dims dims{};
  Activation act = Activation::relu;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {y, Access::read, "y"}}};
  }
  constexpr Cost cost() const { return {3.0 * dims.count() * f32_bytes, 2.0 * dims.count()}; }
};

// y = a + b
struct Add {
  static constexpr const char* name = "add";
  ValueId y{}, a{}, b{};
  Dims dims{};

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 3> operands() const { return {{{y, Access::write, "y"}, {a, Access::read, "a"}, {b, Access::read, "b"}}}; }
  constexpr Cost cost() const { return {3.0 * dims.count() * f32_bytes, 1.0 * dims.count()}; }
};

// y[e] = keep(e) ? x[e] / (1-p) : 0, where e is the logical index ((n*C + c)*H + h)*W + w and
// keep(e) = dropout_uniform(seed, step, layer, e) >= p (philox.h). Forward and backward are the same Call:
// with the same step it draws the same mask. p = 1 gives 0.
struct Dropout {
  static constexpr const char* name = "dropout";
  ValueId y{}, x{}, state{};  // state: seed, step
  Dims dims{};
  double p = 0.5;
  std::int64_t layer = 0;

  constexpr void cut(std::int64_t n) { dims.n = n; }
  constexpr std::array<Operand, 3> operands() const {
    return {{{y, Access::write, "y"}, {x, Access::read, "x"}, {state, Access::read, "state"}}};
  }
  constexpr Cost cost() const { return {2.0 * dims.count() * f32_bytes, 1.0 * dims.count()}; }
};

// ---------------------------------------------------------------------------------------------- pooling

// y = max over the window, padding is -infinity, NaN wins; argmax = r * kernel_w + s of the first maximum (when given; dims of y)
struct MaxPoolForward {
  static constexpr const char* name = "max_pool_forward";
  ValueId y{}, argmax{}, x{};
  PoolShape shape{};
  DType index_type = DType::u8;  // u8 up to 256 positions, else i32

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 3> operands() const {
    return {{{y, Access::write, "y"}, {argmax, Access::write, "argmax"}, {x, Access::read, "x"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count()) * f32_bytes + (argmax ? shape.y.count() * size_of(index_type) : 0),
            1.0 * shape.y.count() * shape.window.area()};
  }
};

// dx = 0; dx[position of argmax] += dy, windows in order (p, q)
struct MaxPoolBackward {
  static constexpr const char* name = "max_pool_backward";
  ValueId dx{}, dy{}, argmax{};
  PoolShape shape{};
  DType index_type = DType::u8;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 3> operands() const {
    return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}, {argmax, Access::read, "argmax"}}};
  }
  constexpr Cost cost() const {
    return {(shape.x.count() + shape.y.count()) * f32_bytes + shape.y.count() * size_of(index_type), 1.0 * shape.y.count()};
  }
};

// y = sum over the window / divisor; divisor = positions inside x, or with include_pad those inside x and its padding (PyTorch:
// a window hanging over the padded edge by ceil_mode never counts what is beyond the padding)
struct AvgPoolForward {
  static constexpr const char* name = "avg_pool_forward";
  ValueId y{}, x{};
  PoolShape shape{};
  bool include_pad = true;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 2> operands() const { return {{{y, Access::write, "y"}, {x, Access::read, "x"}}}; }
  constexpr Cost cost() const { return {(shape.x.count() + shape.y.count()) * f32_bytes, 1.0 * shape.y.count() * shape.window.area()}; }
};

// dx = 0; dx[each position inside x] += dy / divisor, windows in order (p, q)
struct AvgPoolBackward {
  static constexpr const char* name = "avg_pool_backward";
  ValueId dx{}, dy{};
  PoolShape shape{};
  bool include_pad = true;

  constexpr void cut(std::int64_t n) { shape.cut(n); }
  constexpr std::array<Operand, 2> operands() const { return {{{dx, Access::write, "dx"}, {dy, Access::read, "dy"}}}; }
  constexpr Cost cost() const { return {(shape.x.count() + shape.y.count()) * f32_bytes, 1.0 * shape.y.count() * shape.window.area()}; }
};

// ---------------------------------------------------------------------------------------------- loss

// With p = softmax(logits), q = (1-smoothing)*onehot + smoothing/C: sample loss = -sum_c q log p; samples whose label is
// ignore_index count nothing. loss = sum / counted (mean; 0/0 = NaN as in PyTorch) or sum. correct: the first largest logit.
// dlogits (when given) = (p - q) * (mean: 1/counted, sum: 1), 0 for ignored samples and padding lanes. Summed in sample order in double.
struct SoftmaxCrossEntropy {
  static constexpr const char* name = "softmax_cross_entropy";
  ValueId loss{}, dlogits{}, logits{}, labels{};  // LossResult; (N,C,1,1) in lanes; i32 (N)
  ValueId partial{};                              // f64 (N): the samples' losses
  Dims dims{};
  Reduction reduction = Reduction::mean;
  double smoothing = 0;
  std::int32_t ignore_index = -100;

  constexpr std::array<Operand, 5> operands() const {
    return {{{loss, Access::write, "loss"},
             {dlogits, Access::write, "dlogits"},
             {partial, Access::write, "partial"},
             {logits, Access::read, "logits"},
             {labels, Access::read, "labels"}}};
  }
  constexpr Cost cost() const { return {(dlogits ? 2.0 : 1.0) * dims.count() * f32_bytes + dims.n * 4.0, 8.0 * dims.count()}; }
};

// loss = sum (x - target)^2 / (mean: number of elements, sum: 1); dx (when given) = 2 (x - target) / the same, 0 in padding lanes.
// loss_sum is the sum over samples of each sample's own loss (its mean, or its sum). correct: samples whose first largest x stands where
// their first largest target does, if there is more than one feature to choose from. partial: f64 (N).
struct MeanSquaredError {
  static constexpr const char* name = "mean_squared_error";
  ValueId loss{}, dx{}, x{}, target{}, partial{};
  Dims dims{};
  Reduction reduction = Reduction::mean;

  constexpr std::array<Operand, 5> operands() const {
    return {{{loss, Access::write, "loss"},
             {dx, Access::write, "dx"},
             {partial, Access::write, "partial"},
             {x, Access::read, "x"},
             {target, Access::read, "target"}}};
  }
  constexpr Cost cost() const { return {(dx ? 3.0 : 2.0) * dims.count() * f32_bytes, 4.0 * dims.count()}; }
};

// ---------------------------------------------------------------------------------------------- the step

// state.status = 1 if loss.loss or any of the n values is not finite
struct CheckFinite {
  static constexpr const char* name = "check_finite";
  ValueId state{}, loss{}, values{};  // loss, values may be absent
  std::int64_t n = 0;

  constexpr std::array<Operand, 3> operands() const {
    return {{{state, Access::update, "state"}, {loss, Access::read, "loss"}, {values, Access::read, "values"}}};
  }
  constexpr Cost cost() const { return {n * f32_bytes, 0}; }
};

// PyTorch's SGD on n flat floats; does nothing if state.status. g = grad + weight_decay*w;
// velocity (when momentum != 0) = step == 0 ? g : momentum*velocity + (1-dampening)*g;
// d = nesterov ? g + momentum*velocity : velocity;  w -= rates[state.batch] * d
struct Sgd {
  static constexpr const char* name = "sgd";
  ValueId w{}, velocity{}, gradients{}, state{}, rates{};
  std::int64_t n = 0;
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;

  constexpr std::array<Operand, 5> operands() const {
    return {{{w, Access::update, "w"},
             {velocity, Access::update, "velocity"},
             {gradients, Access::read, "gradients"},
             {state, Access::read, "state"},
             {rates, Access::read, "rates"}}};
  }
  constexpr Cost cost() const { return {(velocity ? 5.0 : 3.0) * n * f32_bytes, (velocity ? 4.0 : 2.0) * n}; }
};

// PyTorch's Adam (decoupled: AdamW) on n flat floats; does nothing if state.status. t = state.step + 1;
// decoupled: w -= lr*weight_decay*w, else g = grad + weight_decay*w; m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g*g;
// w -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
struct Adam {
  static constexpr const char* name = "adam";
  ValueId w{}, m{}, v{}, gradients{}, state{}, rates{};
  std::int64_t n = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;

  constexpr std::array<Operand, 6> operands() const {
    return {{{w, Access::update, "w"},
             {m, Access::update, "m"},
             {v, Access::update, "v"},
             {gradients, Access::read, "gradients"},
             {state, Access::read, "state"},
             {rates, Access::read, "rates"}}};
  }
  constexpr Cost cost() const { return {7.0 * n * f32_bytes, 12.0 * n}; }
};

// The last Call of a step. If state.status is 0: position += samples, batch += 1, step += training, and the loss is added to the
// state's sums (samples, correct, counted, loss_sum).
struct Advance {
  static constexpr const char* name = "advance";
  ValueId state{}, loss{};
  std::int64_t samples = 0;
  bool training = true;

  constexpr std::array<Operand, 2> operands() const { return {{{state, Access::update, "state"}, {loss, Access::read, "loss"}}}; }
  constexpr Cost cost() const { return {static_cast<double>(sizeof(StepState) + sizeof(LossResult)), 5}; }
};

// y = value, all n stored floats
struct Fill {
  static constexpr const char* name = "fill";
  ValueId y{};
  std::int64_t n = 0;
  float value = 0;

  constexpr std::array<Operand, 1> operands() const { return {{{y, Access::write, "y"}}}; }
  constexpr Cost cost() const { return {n * f32_bytes, 0}; }
};

using Call = std::variant<Gather, Resize, Conv2dForward, Conv2dBackwardInput, Conv2dBackwardWeight, LinearForward, LinearBackwardInput,
                          LinearBackwardWeight, BatchNormStatistics, BatchNormRstd, BatchNormApply, BatchNormBackwardReduce,
                          BatchNormBackwardApply, BatchNormMaxPool, BatchNormMaxPoolBackwardApply, BatchNormRunningUpdate,
                          ActivationForward, ActivationBackward, Add, Dropout, MaxPoolForward, MaxPoolBackward, AvgPoolForward,
                          AvgPoolBackward, SoftmaxCrossEntropy, MeanSquaredError, CheckFinite, Sgd, Adam, Advance, Fill>;

template <class C>
inline constexpr bool reduces = requires {
  C::reduces;
};

// What of a Call is run: all of it; of a Call that was cut, what its group needs no other group for; of one that reduces, the rest,
// once that was done for all groups.
enum class Part : std::uint8_t { whole, group, finish };

}  // namespace norma::kernels
