// Building of cases: the value table and the inputs.
#include "tests/support/cases.h"

#include "kernels/reference/reference.h"

namespace norma::test {

Generator normal(double mean, double deviation) {
  return [=](std::int64_t, Random& r) { return r.normal(mean, deviation); };
}
Generator uniform(double low, double high) {
  return [=](std::int64_t, Random& r) { return r.uniform(low, high); };
}
Generator constant(double value) {
  return [=](std::int64_t, Random&) { return value; };
}
Generator activated(Activation act) {
  return [=](std::int64_t, Random& r) { return reference::activate(act, r.normal()); };
}

ValueId CallCase::add(PlanValue v, CaseValue c) {
  const ValueId id{static_cast<std::int32_t>(plan.values.size())};
  plan.names.emplace(v.name, id);
  plan.values.push_back(std::move(v));
  values.push_back(std::move(c));
  return id;
}

ValueId CallCase::in(std::string name, const Dims& d, Generator fill, Padding padding) {
  return add(
      {.name = std::move(name), .shape = {d.n, d.c, d.h, d.w}, .dims = d, .bytes = static_cast<std::size_t>(d.stored()) * sizeof(float)},
      {std::move(fill), padding});
}

ValueId CallCase::indices(std::string name, const Dims& d, DType type, Generator fill) {
  return add({.name = std::move(name),
              .dtype = type,
              .shape = {d.n, d.c, d.h, d.w},
              .dims = d,
              .bytes = static_cast<std::size_t>(d.stored()) * size_of(type)},
             {std::move(fill)});
}

ValueId CallCase::flat(std::string name, std::int64_t elements, Generator fill, DType type) {
  return add({.name = std::move(name), .dtype = type, .shape = {elements}, .bytes = static_cast<std::size_t>(elements) * size_of(type)},
             {std::move(fill)});
}

ValueId CallCase::scratch(std::string name, std::int64_t bytes) {
  return add({.name = std::move(name), .dtype = DType::bytes, .shape = {bytes}, .bytes = static_cast<std::size_t>(bytes)},
             {.fill = {}, .scratch = true});
}

ValueId CallCase::add_state() {
  constexpr std::size_t size = sizeof(kernels::StepState);
  return state_value = add({.name = "state", .dtype = DType::bytes, .shape = {size}, .bytes = size}, {});
}

ValueId CallCase::add_loss() {
  constexpr std::size_t size = sizeof(kernels::LossResult);
  return loss_value = add({.name = "loss", .dtype = DType::bytes, .shape = {size}, .bytes = size}, {});
}

CallCase& CallCase::call(Call c) {
  plan.calls.push_back({std::move(c), "case"});
  return *this;
}

std::vector<std::vector<double>> CallCase::inputs(std::uint64_t seed) const {
  std::vector<std::vector<double>> all;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    std::vector<double>& numbers = all.emplace_back();
    if (!values[i].fill) continue;
    numbers.reserve(static_cast<std::size_t>(v.shape.elements()));
    Random random(seed + (static_cast<std::uint64_t>(i) << 32));
    for (std::int64_t e = 0; e < v.shape.elements(); ++e) {
      const double x = values[i].fill(e, random);
      numbers.push_back(v.dtype == DType::f32 ? static_cast<double>(static_cast<float>(x)) : x);
    }
  }
  return all;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> table = [] {
    std::vector<Case> t;
    add_conv2d_cases(t);
    add_linear_cases(t);
    add_batch_norm_cases(t);
    add_group_norm_cases(t);
    add_activation_cases(t);
    add_batch_cases(t);
    add_pool_cases(t);
    add_loss_cases(t);
    add_host_cases(t);
    add_optimizer_cases(t);
    return t;
  }();
  return table;
}

const std::vector<Case>& large_cases() {
  static const std::vector<Case> table = [] {
    std::vector<Case> t;
    add_large_conv2d_cases(t);
    add_large_linear_cases(t);
    add_large_batch_norm_cases(t);
    add_large_group_norm_cases(t);
    add_large_activation_cases(t);
    add_large_batch_cases(t);
    add_large_pool_cases(t);
    add_large_loss_cases(t);
    return t;
  }();
  return table;
}

}  // namespace norma::test
