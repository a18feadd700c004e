// Cases: linear layers.
#include "tests/support/cases_layer.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Layer {
  std::string name;
  std::int64_t n, in, out;
  bool bias = true;
  Precision precision = Precision::fp32;
};

CallCase forward(const Layer& p, int lanes) {
  CallCase c(lanes);
  LinearForward call{.x_dims = c.dims(p.n, p.in), .y_dims = c.dims(p.n, p.out), .precision = p.precision};
  call.y = c.out("y", call.y_dims);
  call.x = c.in("x", call.x_dims, normal());
  call.w = c.flat("w", call.weights(), weights(p.in));
  if (p.bias) call.b = c.flat("b", p.out, weights(p.in));
  return c.call(call);
}

CallCase backward_input(const Layer& p, int lanes) {
  CallCase c(lanes);
  LinearBackwardInput call{.x_dims = c.dims(p.n, p.in), .y_dims = c.dims(p.n, p.out), .precision = p.precision};
  call.dx = c.out_gradient("dx", call.x_dims);
  call.dy = c.in_gradient("dy", call.y_dims);
  call.w = c.flat("w", p.in * p.out, weights(p.out));
  return c.call(call);
}

CallCase backward_weight(const Layer& p, int lanes) {
  CallCase c(lanes);
  LinearBackwardWeight call{.x_dims = c.dims(p.n, p.in), .y_dims = c.dims(p.n, p.out), .precision = p.precision};
  call.dw = c.flat("dw", p.in * p.out);
  if (p.bias) call.db = c.flat("db", p.out);
  call.dy = c.in_gradient("dy", call.y_dims);
  call.x = c.in("x", call.x_dims, normal());
  return c.call(call);
}

const std::vector<Layer>& layers() {
  static const std::vector<Layer> list = {
      {"lenet_fc1", 37, 256, 120},
      {"lenet_fc2", 17, 120, 84},
      {"lenet_fc3", 17, 84, 10},
      {"n1", 1, 17, 6},
      {"n15", 15, 6, 17},
      {"n16", 16, 3, 5},
      {"one_by_one", 17, 1, 1},
      {"no_bias", 17, 33, 7, false},
      {"n81", 81, 19, 13},
      {"long_sum", 3, 2048, 3},
      {"wide", 3, 3, 515},
      {"many_groups", 273, 20, 13},
      {"many_features", 33, 151, 133},
      {"lenet_fc1_tf32", 37, 256, 120, true, Precision::tf32},
      {"lenet_fc1_bf16", 37, 256, 120, true, Precision::bf16},
      {"one_by_one_tf32", 17, 1, 1, true, Precision::tf32},
      {"many_groups_bf16", 273, 20, 13, false, Precision::bf16},
  };
  return list;
}

}  // namespace

void add_linear_cases(std::vector<Case>& table) {
  struct Flattened {
    Layer layer;
    std::int64_t c, h, w;  // what the layer's input was before
  };
  static const std::vector<Flattened> flattened = {
      {{"lenet_fc1", 37, 256, 120}, 16, 4, 4}, {{"lenet_fc2", 17, 120, 84}, 120, 1, 1}, {{"n1", 1, 18, 6}, 3, 2, 3},
      {{"odd", 15, 35, 3}, 7, 5, 1},           {{"n81", 81, 19, 13}, 19, 1, 1},         {{"many_groups", 273, 20, 13}, 5, 2, 2}};
  for (const Flattened& f : flattened) {
    table.push_back({"linear_forward_batch_norm_statistics_" + f.layer.name, [&f](int lanes) {
                       CallCase of = forward(f.layer, lanes);
                       const Dims y = std::get<LinearForward>(of.plan.calls[0].call).y_dims;
                       return with_statistics<LinearForward>(std::move(of), y);
                     }});
    table.push_back({"linear_backward_input_batch_norm_backward_reduce_" + f.layer.name, [&f](int lanes) {
                       CallCase of = backward_input(f.layer, lanes);
                       const Dims d = std::get<LinearBackwardInput>(of.plan.calls[0].call).x_dims.with(f.c, f.h, f.w);
                       return with_reduce<LinearBackwardInput>(std::move(of), d, f.layer.n % 2 ? Activation::sigmoid : Activation::tanh);
                     }});
  }
  for (const Layer& p : layers()) {
    table.push_back({"linear_forward_" + p.name, [&p](int lanes) { return forward(p, lanes); }});
    table.push_back({"linear_backward_input_" + p.name, [&p](int lanes) { return backward_input(p, lanes); }});
    table.push_back({"linear_backward_weight_" + p.name, [&p](int lanes) { return backward_weight(p, lanes); }});
  }
}

void add_large_linear_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  for (const Layer& p : std::vector<Layer>{{"many_samples", many, 5, 3}, {"many_inputs", 3, many, 5}, {"many_outputs", 3, 5, many}}) {
    table.push_back({"linear_forward_" + p.name, [p](int lanes) { return forward(p, lanes); }});
    table.push_back({"linear_backward_input_" + p.name, [p](int lanes) { return backward_input(p, lanes); }});
    table.push_back({"linear_backward_weight_" + p.name, [p](int lanes) { return backward_weight(p, lanes); }});
  }
}

}  // namespace norma::test
