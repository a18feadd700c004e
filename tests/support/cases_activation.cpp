// Cases, element by element: activations, addition, dropout, a constant.
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

struct Tensor {
  std::string name;
  std::int64_t n, c, h, w;
};

std::vector<Tensor> tensors() {
  return {{"n1", 1, 1, 1, 1},    {"n15", 15, 3, 2, 5},   {"n16", 16, 6, 3, 1},
          {"n17", 17, 17, 1, 1}, {"n37", 37, 6, 12, 11}, {"n512", 512, 10, 4, 1}};
}

// Small, ordinary and saturating numbers, and both zeros.
Generator wide() {
  return [](std::int64_t e, Random& r) {
    switch (e % 8) {
      case 0: return r.normal(0, 1e-3);
      case 1: return r.normal(0, 10);
      case 2: return r.normal(0, 30);
      case 3: return e % 16 == 3 ? 0.0 : -0.0;
      default: return r.normal(0, 2);
    }
  };
}

CallCase activation_forward(const Tensor& p, Activation act, float option, int lanes) {
  CallCase c(lanes);
  ActivationForward call{.dims = c.dims(p.n, p.c, p.h, p.w), .act = act, .option = option};
  call.y = c.out("y", call.dims);
  call.x = c.in("x", call.dims, wide());
  return c.call(call);
}

CallCase activation_backward(const Tensor& p, Activation act, float option, int lanes) {
  CallCase c(lanes);
  ActivationBackward call{.dims = c.dims(p.n, p.c, p.h, p.w), .act = act, .option = option};
  call.dx = c.out_gradient("dx", call.dims);
  call.dy = c.in_gradient("dy", call.dims);
  call.saved = traits(act).gradient_from_output ? c.in("y", call.dims, activated(act)) : c.in("x", call.dims, wide());
  return c.call(call);
}

CallCase add(const Tensor& p, Padding padding, int lanes) {
  CallCase c(lanes);
  Add call{.dims = c.dims(p.n, p.c, p.h, p.w)};
  call.y = c.out("y", call.dims, padding);
  call.a = c.in("a", call.dims, normal(), padding);
  call.b = c.in("b", call.dims, normal(), padding);
  return c.call(call);
}

CallCase dropout(const Tensor& p, double probability, Padding padding, int lanes) {
  CallCase c(lanes);
  Dropout call{.dims = c.dims(p.n, p.c, p.h, p.w), .p = probability, .layer = 5};
  c.state.seed = 0x9876543210;
  c.state.step = 77;
  call.y = c.out("y", call.dims, padding);
  call.x = c.in("x", call.dims, normal(), padding);
  call.state = c.add_state();
  return c.call(call);
}

CallCase fill(std::int64_t n, double value, int lanes) {
  CallCase c(lanes);
  kernels::Fill call{.n = n, .value = static_cast<float>(value)};
  call.y = c.flat("y", n);
  return c.call(call);
}

}  // namespace

void add_activation_cases(std::vector<Case>& table) {
  for (const Tensor& p : tensors()) {
    for (const ActivationTraits& t : activation_table)
      for (const double factor : t.option ? std::vector{1.0, -3.5} : std::vector{1.0}) {  // the option's default, and another
        const Activation act = t.act;
        const auto option = static_cast<float>(factor * t.standard);
        const std::string name = std::string("_") + t.name + (factor == 1 ? "_" : "_other_option_") + p.name;
        table.push_back({"activation_forward" + name, [=](int lanes) { return activation_forward(p, act, option, lanes); }});
        table.push_back({"activation_backward" + name, [=](int lanes) { return activation_backward(p, act, option, lanes); }});
      }
    table.push_back({"add_" + p.name, [=](int lanes) { return add(p, Padding::garbage, lanes); }});
    table.push_back({"add_gradients_" + p.name, [=](int lanes) { return add(p, Padding::zero, lanes); }});
    table.push_back({"dropout_p05_" + p.name, [=](int lanes) { return dropout(p, 0.5, Padding::garbage, lanes); }});
    table.push_back({"dropout_gradient_p03_" + p.name, [=](int lanes) { return dropout(p, 0.3, Padding::zero, lanes); }});
  }
  for (const auto& [name, p] : {std::pair<const char*, double>{"p0", 0.0}, {"p1", 1.0}, {"p09", 0.9}})
    table.push_back({std::string("dropout_") + name, [p = p](int lanes) {
                       return dropout({"", 17, 3, 5, 5}, p, Padding::garbage, lanes);
                     }});
  for (std::int64_t n : {1, 15, 16, 17, 8192, 20011})
    table.push_back({"fill_" + std::to_string(n), [n](int lanes) { return fill(n, 0.3, lanes); }});
}

void add_large_activation_cases(std::vector<Case>& table) {
  table.push_back({"dropout_many_samples", [](int lanes) { return dropout({"", beyond_16_bits, 7, 1, 3}, 0.5, Padding::zero, lanes); }});
}

}  // namespace norma::test
