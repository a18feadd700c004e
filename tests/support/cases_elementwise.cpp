// Cases: elementwise Calls, dropout, and the way from the data set to the input.
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

CallCase activation_forward(const Tensor& p, Activation act, int lanes) {
  CallCase c(lanes);
  ActivationForward call{.dims = c.dims(p.n, p.c, p.h, p.w), .act = act};
  call.y = c.out("y", call.dims);
  call.x = c.in("x", call.dims, wide());
  return c.call(call);
}

CallCase activation_backward(const Tensor& p, Activation act, int lanes) {
  CallCase c(lanes);
  ActivationBackward call{.dims = c.dims(p.n, p.c, p.h, p.w), .act = act};
  call.dx = c.out_gradient("dx", call.dims);
  call.dy = c.in_gradient("dy", call.dims);
  call.y = c.in("y", call.dims, activated(act));
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

struct Gathered {
  std::string name;
  std::int64_t n, c, h, w, population, position;
  DType type = DType::u8;
  bool transform = true, labels = true;
  std::int64_t targets = 0;  // features of float targets
  bool shuffle = true;
};

CallCase gather(const Gathered& p, int lanes) {
  CallCase c(lanes);
  Gather call{.dims = c.dims(p.n, p.c, p.h, p.w), .source_type = p.type, .shuffle = p.shuffle};
  const Generator byte = [](std::int64_t, Random& r) { return static_cast<double>(r.below(256)); };
  call.y = c.out("y", call.dims, Padding::zero);
  if (p.labels) call.labels_out = c.flat("labels_out", p.n, {}, DType::i32);
  if (p.targets) {
    call.target_dims = c.dims(p.n, p.targets);
    call.targets_out = c.out("targets_out", call.target_dims);
    call.targets = c.flat("targets", p.population * p.targets, normal());
  }
  call.source = c.flat("source", p.population * p.c * p.h * p.w, p.type == DType::u8 ? byte : normal(), p.type);
  if (p.labels)
    call.labels = c.flat(
        "labels", p.population, [](std::int64_t, Random& r) { return static_cast<double>(r.below(10)); }, DType::i32);
  if (p.transform) {
    call.scale = c.flat("scale", p.c, uniform(0.002, 0.01));
    call.offset = c.flat("offset", p.c, normal());
  }
  call.state = c.add_state();
  c.state.population = p.population, c.state.epoch = 2, c.state.position = p.position;
  return c.call(call);
}

CallCase resize(std::int64_t n, std::int64_t channels, Shape from, Shape to, int lanes) {
  CallCase c(lanes);
  Resize call{.y_dims = c.dims(n, channels, to[0], to[1]), .x_dims = c.dims(n, channels, from[0], from[1])};
  call.y = c.out("y", call.y_dims);
  call.x = c.in("x", call.x_dims, uniform(0, 1));
  return c.call(call);
}

}  // namespace

void add_elementwise_cases(std::vector<Case>& table) {
  for (const Tensor& p : tensors()) {
    for (Activation act : {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh}) {
      const std::string name = "_" + std::string(name_of(act)) + "_" + p.name;
      table.push_back({"activation_forward" + name, [=](int lanes) { return activation_forward(p, act, lanes); }});
      table.push_back({"activation_backward" + name, [=](int lanes) { return activation_backward(p, act, lanes); }});
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
  for (const Gathered& p : std::vector<Gathered>{{"mnist", 37, 1, 28, 28, 61, 20},
                                                 {"rgb_n17", 17, 3, 5, 7, 20, 3},
                                                 {"n1", 1, 1, 3, 3, 5, 4},
                                                 {"n16_untransformed", 16, 1, 4, 4, 40, 0, DType::u8, false},
                                                 {"features", 15, 2, 1, 1, 30, 15, DType::f32},
                                                 {"features_untransformed", 17, 9, 1, 1, 30, 13, DType::f32, false},
                                                 {"no_labels", 17, 1, 2, 3, 20, 1, DType::u8, true, false},
                                                 {"targets", 17, 1, 2, 3, 20, 2, DType::u8, true, true, 10},
                                                 {"targets_only", 5, 3, 1, 1, 9, 2, DType::f32, false, false, 3},
                                                 {"in_order", 37, 1, 5, 6, 61, 20, DType::u8, true, true, 3, false}})
    table.push_back({"gather_" + p.name, [p](int lanes) { return gather(p, lanes); }});
  const auto add_resize = [&](const char* name, std::int64_t n, std::int64_t c, Shape from, Shape to) {
    table.push_back({std::string("resize_") + name, [=](int lanes) { return resize(n, c, from, to, lanes); }});
  };
  add_resize("same", 17, 1, {5, 4}, {5, 4});
  add_resize("28_to_32", 17, 1, {28, 28}, {32, 32});
  add_resize("up_2x", 3, 3, {4, 5}, {8, 10});
  add_resize("down_2x", 16, 3, {8, 10}, {4, 5});
  add_resize("32_to_28", 5, 1, {32, 32}, {28, 28});
  add_resize("down_uneven", 17, 2, {17, 13}, {5, 3});
  add_resize("up_down", 17, 2, {6, 20}, {13, 7});
  add_resize("to_one_pixel", 17, 2, {7, 6}, {1, 1});
  add_resize("from_one_pixel", 17, 2, {1, 1}, {4, 3});
}

void add_large_elementwise_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  table.push_back({"gather_many_samples", [](int lanes) { return gather({"", many, 1, 4, 4, many + 30, 20}, lanes); }});
  table.push_back({"resize_many_samples", [](int lanes) { return resize(many, 1, {3, 4}, {5, 3}, lanes); }});
  table.push_back({"resize_many_channels", [](int lanes) { return resize(3, many, {3, 4}, {2, 2}, lanes); }});
  table.push_back({"dropout_many_samples", [](int lanes) { return dropout({"", many, 7, 1, 3}, 0.5, Padding::zero, lanes); }});
}

}  // namespace norma::test
