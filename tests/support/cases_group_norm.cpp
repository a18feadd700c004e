// Cases: layer, instance and group norm.
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Grouped {
  std::string name;
  std::int64_t n, c, h, w, groups = 1;
  bool by_element = false;
  double mean = 0, deviation = 1;  // of x
};

// Layer norm by element, group norm, instance norm; on (N,F) a channel is an element.
std::vector<Grouped> group_norm_shapes() {
  return {{"layer", 37, 6, 12, 11, 1, true},
          {"layer_1d", 37, 120, 1, 1, 1, true},
          {"layer_n1", 1, 3, 5, 4, 1, true},
          {"layer_n81_odd", 81, 17, 1, 1, 1, true},
          {"layer_one_element", 5, 1, 1, 1, 1, true},
          {"group2", 17, 16, 8, 8, 2},
          {"group3_n15", 15, 9, 3, 7, 3},
          {"group_all_channels", 16, 5, 7, 3, 1},
          {"group4_1d", 33, 40, 1, 1, 4},
          {"instance", 37, 6, 12, 12, 6},
          {"instance_two_elements", 17, 17, 1, 2, 17},
          {"offset_data", 17, 4, 6, 5, 2, false, 50, 0.5},
          {"tiny_data", 17, 4, 6, 5, 2, false, 0, 1e-4},
          {"large_planes", 3, 2, 60, 59, 1, true}};
}

CallCase forward(const Grouped& p, bool weight, bool bias, bool var, int lanes) {
  CallCase c(lanes);
  GroupNormForward call{.shape = {c.dims(p.n, p.c, p.h, p.w), p.groups, p.by_element}};
  const Dims of = call.shape.statistics();
  call.y = c.out("y", call.shape.x);
  call.mean = c.out("mean", of);
  call.rstd = c.out("rstd", of);
  if (var) call.var = c.out("var", of);
  call.x = c.in("x", call.shape.x, normal(p.mean, p.deviation));
  if (weight) call.gamma = c.flat("gamma", call.shape.affine(), normal(1, 0.5));
  if (bias) call.beta = c.flat("beta", call.shape.affine(), normal());
  return c.call(call);
}

// Statistics such as x itself would have.
template <class C>
void add_inputs(CallCase& c, C& call, const Grouped& p) {
  call.dy = c.in_gradient("dy", call.shape.x);
  call.x = c.in("x", call.shape.x, normal(p.mean, p.deviation));
  call.mean = c.in("mean", call.shape.statistics(), normal(p.mean, 0.1 * p.deviation));
  call.rstd = c.in("rstd", call.shape.statistics(), uniform(0.8 / p.deviation, 1.2 / p.deviation));
}

CallCase backward(const Grouped& p, bool dx, bool bias, int lanes) {
  CallCase c(lanes);
  GroupNormBackward call{.shape = {c.dims(p.n, p.c, p.h, p.w), p.groups, p.by_element}};
  if (dx) call.dx = c.out_gradient("dx", call.shape.x);
  call.dgamma = c.flat("dgamma", call.shape.affine());
  if (bias) call.dbeta = c.flat("dbeta", call.shape.affine());
  call.partial = c.scratch("partial", call.partial_bytes());
  add_inputs(c, call, p);
  call.gamma = c.flat("gamma", call.shape.affine(), normal(1, 0.5));
  return c.call(call);
}

CallCase backward_input(const Grouped& p, int lanes) {
  CallCase c(lanes);
  GroupNormBackwardInput call{.shape = {c.dims(p.n, p.c, p.h, p.w), p.groups, p.by_element}};
  call.dx = c.out_gradient("dx", call.shape.x);
  add_inputs(c, call, p);
  return c.call(call);
}

CallCase average(std::int64_t n, std::int64_t channels, int lanes) {
  CallCase c(lanes);
  InstanceNormAverage call{.dims = c.dims(n, channels)};
  call.mean = c.flat("mean", channels);
  call.var = c.flat("var", channels);
  call.partial = c.scratch("partial", call.partial_bytes());
  call.sample_mean = c.in("sample_mean", call.dims, normal(1, 0.5));
  call.sample_var = c.in("sample_var", call.dims, uniform(0.1, 4));
  return c.call(call);
}

void add_cases(std::vector<Case>& table, const Grouped& p) {
  table.push_back({"group_norm_forward_" + p.name, [p](int lanes) { return forward(p, true, true, false, lanes); }});
  table.push_back({"group_norm_backward_" + p.name, [p](int lanes) { return backward(p, true, true, lanes); }});
  table.push_back({"group_norm_backward_input_" + p.name, [p](int lanes) { return backward_input(p, lanes); }});
}

}  // namespace

void add_group_norm_cases(std::vector<Case>& table) {
  for (const Grouped& p : group_norm_shapes()) {
    add_cases(table, p);
    table.push_back({"group_norm_forward_plain_var_" + p.name, [p](int lanes) { return forward(p, false, false, true, lanes); }});
  }
  for (const Grouped& p : {group_norm_shapes()[0], group_norm_shapes()[5]}) {
    table.push_back({"group_norm_forward_no_bias_" + p.name, [p](int lanes) { return forward(p, true, false, false, lanes); }});
    table.push_back({"group_norm_backward_no_bias_" + p.name, [p](int lanes) { return backward(p, true, false, lanes); }});
    table.push_back({"group_norm_backward_first_layer_" + p.name, [p](int lanes) { return backward(p, false, true, lanes); }});
  }
  for (const auto& [n, channels] : {std::pair<std::int64_t, std::int64_t>{1, 3}, {37, 6}, {16, 40}})
    table.push_back(
        {"instance_norm_average_n" + std::to_string(n), [n = n, channels = channels](int lanes) { return average(n, channels, lanes); }});
}

void add_large_group_norm_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  for (const Grouped& p : std::vector<Grouped>{
           {"many_samples", many, 6, 1, 1, 2}, {"many_elements", 17, many, 1, 1, 1, true}, {"many_groups", 3, many, 1, 2, many}})
    add_cases(table, p);
  table.push_back({"instance_norm_average_many", [](int lanes) { return average(3, many, lanes); }});
}

}  // namespace norma::test
