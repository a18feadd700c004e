// The reference's memory: values by region and offset, reading and writing by name.
#include "src/verify/reference.h"

#include <cmath>
#include <stdexcept>
#include <utility>
#include <variant>

namespace norma::reference {
namespace {

// Calls f(position in memory) for every logical element of a value, in NCHW order.
template <class F>
void for_each_stored(const PlanValue& v, std::size_t elements, F f) {
  if (v.in_lanes())
    for_each_element(v.dims, [&](auto n, auto c, auto h, auto w) { f(static_cast<std::size_t>(v.dims.index(n, c, h, w))); });
  else
    for (std::size_t i = 0; i < elements; ++i) f(i);
}

std::size_t elements_of(const PlanValue& v) {
  return static_cast<std::size_t>(v.in_lanes() ? v.dims.count() : static_cast<std::int64_t>(v.bytes / size_of(v.dtype)));
}

// A Call's type says if opaque bytes are a StepState, a LossResult or scratch. Here only the size is known. That is enough: the structure
// the Call asks for is there.
bool opaque(const PlanValue& v) { return v.dtype == DType::bytes; }

}  // namespace

template <class T>
void BasicReference<T>::prepare(const Plan& plan) {
  auto prepared = std::make_unique<Prepared>();
  prepared->plan = &plan;
  for (std::size_t r = 0; r < region_count; ++r)
    if (r != static_cast<std::size_t>(Region::activations) && shared_[r].floats.size() * 4 < plan.region_bytes[r])
      shared_[r].floats.resize(plan.region_bytes[r] / 4);
  plans_.push_back(std::move(prepared));
  for (auto& p : plans_) locate(*p);  // a region that grew has moved
}

template <class T>
void BasicReference<T>::locate(Prepared& p) {
  p.own.resize(p.plan->values.size());
  p.memory.slots.assign(p.plan->values.size(), {});
  for (std::size_t i = 0; i < p.plan->values.size(); ++i) {
    const PlanValue& v = p.plan->values[i];
    Slot<T>& slot = p.memory.slots[i];
    const bool own = v.region == Region::activations, data = v.region == Region::data;
    Storage& s = own ? p.own[i] : data ? data_[v.name] : shared_[static_cast<std::size_t>(v.region)];
    const std::size_t at = own || data ? 0 : v.offset, stored = v.bytes / size_of(v.dtype);
    if (opaque(v)) {
      slot.state = &s.states[at];
      slot.loss = &s.losses[at];
    } else if (v.dtype == DType::f32) {
      if (s.floats.size() < at / 4 + stored) s.floats.resize(at / 4 + stored);
      slot.floats = s.floats.data() + at / 4;
    } else {
      std::vector<std::int64_t>& integers = s.integers[at];
      if (integers.size() < stored) integers.resize(stored);
      slot.integers = integers.data();
    }
  }
}

template <class T>
auto BasicReference<T>::prepared(const Plan& plan) const -> const Prepared& {
  for (const auto& p : plans_)
    if (p->plan == &plan) return *p;
  throw std::invalid_argument("this Plan was not prepared");
}

template <class T>
std::pair<const Plan*, ValueId> BasicReference<T>::find(std::string_view name) const {
  for (const auto& p : plans_)
    if (const auto it = p->plan->names.find(name); it != p->plan->names.end()) return {p->plan, it->second};
  throw std::invalid_argument("no prepared Plan has a value \"" + std::string(name) + "\"");
}

template <class T>
void BasicReference<T>::write(const Plan& plan, ValueId id, std::span<const double> values) {
  const PlanValue& v = plan[id];
  if (opaque(v)) throw std::invalid_argument("value \"" + v.name + "\" is no tensor");
  if (v.region == Region::data) {  // as large as the set bound to it
    Storage& s = data_[v.name];
    if (v.dtype == DType::f32) s.floats.resize(values.size());
    else s.integers[0].resize(values.size());
    for (auto& p : plans_) locate(*p);
  } else if (values.size() != elements_of(v)) {
    throw std::invalid_argument("value \"" + v.name + "\" has " + std::to_string(elements_of(v)) + " elements, got " +
                                std::to_string(values.size()));
  }
  const Slot<T>& slot = prepared(plan).memory.slots[static_cast<std::size_t>(id.index)];
  std::size_t i = 0;
  for_each_stored(v, values.size(), [&](std::size_t k) {
    const double x = values[i++];
    if (v.dtype == DType::f32) slot.floats[k] = T(x);
    else if (x == std::floor(x)) slot.integers[k] = static_cast<std::int64_t>(x);
    else throw std::invalid_argument("value \"" + v.name + "\" holds integers, got " + std::to_string(x));
  });
}

template <class T>
std::vector<T> BasicReference<T>::read(const Plan& plan, ValueId id) const {
  const PlanValue& v = plan[id];
  if (opaque(v) || v.region == Region::data) throw std::invalid_argument("value \"" + v.name + "\" cannot be read");
  const Slot<T>& slot = prepared(plan).memory.slots[static_cast<std::size_t>(id.index)];
  std::vector<T> out;
  out.reserve(elements_of(v));
  for_each_stored(v, elements_of(v),
                  [&](std::size_t k) { out.push_back(v.dtype == DType::f32 ? slot.floats[k] : T(static_cast<double>(slot.integers[k]))); });
  return out;
}

template <class T>
void BasicReference<T>::write(std::string_view name, std::span<const double> values) {
  const auto [plan, id] = find(name);
  write(*plan, id, values);
}

template <class T>
void BasicReference<T>::write(std::string_view name, std::span<const float> values) {
  write(name, std::vector<double>(values.begin(), values.end()));
}

template <class T>
std::vector<double> BasicReference<T>::read(std::string_view name) const {
  const auto [plan, id] = find(name);
  std::vector<double> out;
  for (const T& x : read(*plan, id)) out.push_back(value(x));
  return out;
}

template <class T>
void BasicReference<T>::run_call(const Plan& plan, std::size_t call) {
  std::visit([&](const auto& c) { reference::run(c, prepared(plan).memory); }, plan.calls.at(call).call);
}

template <class T>
void BasicReference<T>::run(const Plan& plan) {
  for (std::size_t i = 0; i < plan.calls.size(); ++i) run_call(plan, i);
}

template class BasicReference<double>;
template class BasicReference<Tracked>;

}  // namespace norma::reference
