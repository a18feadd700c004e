// Cases: pooling.
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Pool {
  std::string name;
  std::int64_t n, c, h, w;
  Window window;
  bool ceil_mode = false;
};

// PyTorch's rule: in ceil_mode the last window must start inside the input or its left padding.
std::int64_t output_size(std::int64_t in, std::int32_t kernel, std::int32_t stride, std::int32_t pad, std::int32_t dilation,
                         bool ceil_mode) {
  std::int64_t out = (in + 2 * pad - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad) --out;
  return out;
}

PoolShape shape_of(const Pool& p, const CallCase& c) {
  const Window& win = p.window;
  return {c.dims(p.n, p.c, p.h, p.w),
          c.dims(p.n, p.c, output_size(p.h, win.kernel_h, win.stride_h, win.pad_h, win.dilation_h, p.ceil_mode),
                 output_size(p.w, win.kernel_w, win.stride_w, win.pad_w, win.dilation_w, p.ceil_mode)),
          win};
}

DType index_type(const PoolShape& s) { return s.window.area() <= 256 ? DType::u8 : DType::i32; }

// A random position of each output's window that lies inside x.
Generator window_positions(const PoolShape& s) {
  return [s](std::int64_t e, Random& random) {
    const Window& win = s.window;
    const std::int64_t p = e / s.y.w % s.y.h, q = e % s.y.w;
    for (;;) {
      const std::int64_t r = random.below(win.kernel_h), t = random.below(win.kernel_w);
      const std::int64_t h = p * win.stride_h - win.pad_h + r * win.dilation_h, w = q * win.stride_w - win.pad_w + t * win.dilation_w;
      if (h >= 0 && h < s.x.h && w >= 0 && w < s.x.w) return static_cast<double>(r * win.kernel_w + t);
    }
  };
}

CallCase max_forward(const Pool& p, bool argmax, int lanes) {
  CallCase c(lanes);
  MaxPoolForward call{.shape = shape_of(p, c)};
  call.index_type = index_type(call.shape);
  call.y = c.out("y", call.shape.y);
  if (argmax) call.argmax = c.indices("argmax", call.shape.y, call.index_type, {});
  call.x = c.in("x", call.shape.x, normal());
  return c.call(call);
}

CallCase max_backward(const Pool& p, int lanes) {
  CallCase c(lanes);
  MaxPoolBackward call{.shape = shape_of(p, c)};
  call.index_type = index_type(call.shape);
  call.dx = c.out_gradient("dx", call.shape.x);
  call.dy = c.in_gradient("dy", call.shape.y);
  call.argmax = c.indices("argmax", call.shape.y, call.index_type, window_positions(call.shape));
  return c.call(call);
}

CallCase avg_forward(const Pool& p, bool include_pad, int lanes) {
  CallCase c(lanes);
  AvgPoolForward call{.shape = shape_of(p, c), .include_pad = include_pad};
  call.y = c.out("y", call.shape.y);
  call.x = c.in("x", call.shape.x, normal());
  return c.call(call);
}

CallCase avg_backward(const Pool& p, bool include_pad, int lanes) {
  CallCase c(lanes);
  AvgPoolBackward call{.shape = shape_of(p, c), .include_pad = include_pad};
  call.dx = c.out_gradient("dx", call.shape.x);
  call.dy = c.in_gradient("dy", call.shape.y);
  return c.call(call);
}

// x and its channels' statistics, then the fused Calls; `gamma` may hold negative numbers and 0.
template <class C>
void normalised(CallCase& c, C& call, Generator gamma) {
  const std::int64_t channels = call.shape.x.c;
  call.x = c.in("x", call.shape.x, normal(0.5, 2));
  call.mean = c.flat("mean", channels, normal(0.5, 0.2));
  call.rstd = c.flat("rstd", channels, uniform(0.4, 0.6));
  if constexpr (requires { call.gamma; })
    if (gamma) call.gamma = c.flat("gamma", channels, std::move(gamma));
}

Generator signed_or_zero() {
  return [](std::int64_t e, Random& r) { return e % 5 == 1 ? 0 : r.normal(0.5, 1); };
}

CallCase norm_max_forward(const Pool& p, Activation act, bool affine, bool argmax, int lanes) {
  CallCase c(lanes);
  BatchNormMaxPool call{.shape = shape_of(p, c), .act = act};
  call.y = c.out("y", call.shape.y);
  if (argmax) call.argmax = c.indices("argmax", call.shape.y, DType::u8, {}), call.largest = c.out("largest", call.shape.y);
  normalised(c, call, affine ? signed_or_zero() : Generator{});
  if (affine) call.beta = c.flat("beta", p.c, normal());
  return c.call(call);
}

CallCase norm_max_apply(const Pool& p, Activation act, bool affine, bool batch_statistics, int lanes) {
  CallCase c(lanes);
  BatchNormMaxPoolBackwardApply call{.shape = shape_of(p, c), .act = act};
  call.dy = c.in_gradient("dy", call.shape.y);
  if (act != Activation::none) call.y = c.in("y", call.shape.y, activated(act));
  call.argmax = c.indices("argmax", call.shape.y, DType::u8, window_positions(call.shape));
  call.dx = c.out_gradient("dx", call.shape.x);
  normalised(c, call, affine ? signed_or_zero() : Generator{});
  call.count = p.n * p.h * p.w;
  call.batch_statistics = batch_statistics;
  if (batch_statistics || affine) {
    const double spread = std::sqrt(static_cast<double>(call.count));
    call.dgamma = c.flat("dgamma", p.c, normal(0, spread));
    call.dbeta = c.flat("dbeta", p.c, normal(0, spread));
  }
  return c.call(call);
}

std::vector<Pool> pools() {
  return {{"lenet1", 37, 6, 24, 24, {2, 2, 2, 2}},
          {"lenet2", 17, 16, 8, 8, {2, 2, 2, 2}},
          {"n1", 1, 1, 2, 2, {2, 2, 2, 2}},
          {"n15", 15, 3, 5, 7, {2, 2, 2, 2}},
          {"n16_identity", 16, 3, 3, 4, {1, 1}},
          {"overlapping", 17, 3, 9, 8, {3, 3, 2, 2}},
          {"overlapping_stride1", 17, 2, 6, 7, {3, 3}},
          {"pad1", 17, 3, 8, 9, {3, 3, 2, 2, 1, 1}},
          {"kernel_3x2_stride_1x2_pad_1x0", 17, 3, 7, 8, {3, 2, 1, 2, 1, 0}},
          {"stride_beyond_kernel", 17, 3, 9, 11, {2, 2, 3, 4}},
          {"ceil", 17, 3, 8, 7, {3, 3, 2, 2}, true},
          {"ceil_pad", 17, 3, 7, 6, {3, 3, 3, 3, 1, 1}, true},
          {"ceil_window_beyond_padding", 17, 1, 5, 4, {4, 4, 3, 3, 2, 2}, true},
          {"ceil_last_window_dropped", 5, 2, 4, 6, {2, 2, 3, 4, 1, 1}, true},
          {"one_row", 17, 3, 1, 9, {1, 3, 1, 2, 0, 1}},
          {"whole_plane", 17, 17, 7, 5, {7, 5, 7, 5}}};
}

}  // namespace

void add_pool_cases(std::vector<Case>& table) {
  std::vector<Pool> max_pools = pools();
  max_pools.push_back({"dilation_2x3", 17, 3, 11, 12, {3, 2, 2, 1, 1, 0, 2, 3}});
  max_pools.push_back({"dilation_ceil_pad", 17, 3, 10, 9, {3, 3, 2, 3, 1, 1, 2, 2}, true});
  max_pools.push_back({"kernel_17_wide_indices", 3, 2, 20, 19, {17, 17, 2, 1}});
  max_pools.push_back({"kernel_16_narrow_indices", 3, 2, 17, 16, {16, 16}});
  for (const Pool& p : max_pools) {
    table.push_back({"max_pool_forward_" + p.name, [p](int lanes) { return max_forward(p, true, lanes); }});
    table.push_back({"max_pool_forward_no_argmax_" + p.name, [p](int lanes) { return max_forward(p, false, lanes); }});
    table.push_back({"max_pool_backward_" + p.name, [p](int lanes) { return max_backward(p, lanes); }});
  }
  for (const Pool& p : pools()) {
    if (p.ceil_mode) continue;  // fuse leaves those alone
    for (const ActivationTraits& t : activation_table) {
      if (!t.gradient_from_output) continue;  // it is never folded in
      const Activation act = t.act;
      const std::string name = "_" + std::string(name_of(act)) + "_" + p.name;
      table.push_back({"batch_norm_max_pool" + name, [=](int lanes) { return norm_max_forward(p, act, true, true, lanes); }});
      table.push_back({"batch_norm_max_pool_backward_apply" + name, [=](int lanes) { return norm_max_apply(p, act, true, true, lanes); }});
    }
    table.push_back(
        {"batch_norm_max_pool_no_argmax_" + p.name, [=](int l) { return norm_max_forward(p, Activation::relu, true, false, l); }});
    table.push_back(
        {"batch_norm_max_pool_not_affine_" + p.name, [=](int l) { return norm_max_forward(p, Activation::relu, false, true, l); }});
    for (bool affine : {true, false})
      table.push_back({"batch_norm_max_pool_backward_apply_eval_" + std::string(affine ? "" : "not_affine_") + p.name,
                       [=](int l) { return norm_max_apply(p, Activation::relu, affine, false, l); }});
  }
  for (const Pool& p : pools())
    for (bool include_pad : {true, false}) {
      const std::string name = std::string(include_pad ? "" : "without_pad_") + p.name;
      table.push_back({"avg_pool_forward_" + name, [=](int lanes) { return avg_forward(p, include_pad, lanes); }});
      table.push_back({"avg_pool_backward_" + name, [=](int lanes) { return avg_backward(p, include_pad, lanes); }});
    }
}

void add_large_pool_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  for (const Pool& p : std::vector<Pool>{{"many_samples", many, 2, 4, 4, {2, 2, 2, 2}}, {"many_channels", 3, many, 4, 4, {3, 3, 1, 1}}}) {
    table.push_back({"max_pool_forward_" + p.name, [p](int lanes) { return max_forward(p, true, lanes); }});
    table.push_back({"max_pool_backward_" + p.name, [p](int lanes) { return max_backward(p, lanes); }});
    table.push_back({"avg_pool_forward_" + p.name, [p](int lanes) { return avg_forward(p, true, lanes); }});
    table.push_back({"avg_pool_backward_" + p.name, [p](int lanes) { return avg_backward(p, true, lanes); }});
    table.push_back({"batch_norm_max_pool_" + p.name, [p](int lanes) { return norm_max_forward(p, Activation::relu, true, true, lanes); }});
    table.push_back({"batch_norm_max_pool_backward_apply_" + p.name,
                     [p](int lanes) { return norm_max_apply(p, Activation::relu, true, true, lanes); }});
  }
}

}  // namespace norma::test
