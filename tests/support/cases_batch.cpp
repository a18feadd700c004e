// Cases: the way from the data set to a batch.
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using namespace kernels;

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

void add_batch_cases(std::vector<Case>& table) {
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

void add_large_batch_cases(std::vector<Case>& table) {
  constexpr std::int64_t many = beyond_16_bits;
  table.push_back({"gather_many_samples", [](int lanes) { return gather({"", many, 1, 4, 4, many + 30, 20}, lanes); }});
  table.push_back({"resize_many_samples", [](int lanes) { return resize(many, 1, {3, 4}, {5, 3}, lanes); }});
  table.push_back({"resize_many_channels", [](int lanes) { return resize(3, many, {3, 4}, {2, 2}, lanes); }});
}

}  // namespace norma::test
