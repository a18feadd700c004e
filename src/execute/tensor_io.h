// Tensors at the border of a Plan: host NCHW floats to and from the device's batch in lanes, by name.
#pragma once
#include <span>
#include <vector>

#include "norma/executor.h"
#include "src/plan/plan.h"

namespace norma {

// The logical elements of a value's stored bytes in NCHW order; opaque bytes have none.
std::vector<double> elements(const PlanValue& v, std::span<const std::byte> stored);
// The opposite, each rounded to the value's type; padding lanes stay as they are.
void set_elements(const PlanValue& v, std::span<const double> nchw, std::span<std::byte> stored);

// The lanes of a net's Plans for the Executor: its own where 0 are wanted. Throws Error(usage) for others than those it has.
int lanes_for(const Executor& executor, const Device& device, int wanted);

// Writes a value given in NCHW order; padding lanes become 0. Integers are rounded.
// Throws Error(usage) on a wrong number of elements.
void write_tensor(Executor& executor, const Plan& plan, ValueId value, std::span<const float> nchw);
// Any value but opaque bytes, as floats in NCHW order; of a value in lanes that of the first `samples` alone, where they are given.
std::vector<float> read_tensor(Executor& executor, const Plan& plan, ValueId value, std::int64_t samples = 0);

template <class T>
T read_struct(Executor& executor, const Plan& plan, ValueId value) {
  T t{};
  executor.read(plan, value.index, &t, sizeof t);
  return t;
}

template <class T>
void write_struct(Executor& executor, const Plan& plan, ValueId value, const T& t) {
  executor.write(plan, value.index, &t, sizeof t);
}

}  // namespace norma
