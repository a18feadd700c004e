// The Plan itself: what lower makes, assign lays out and executors run.
#pragma once
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/calls.h"
#include "norma/plan.h"
#include "norma/shape.h"

namespace norma {

using kernels::Call;
using kernels::Dims;
using kernels::ValueId;

struct PlanValue {
  std::string name{};
  DType dtype = DType::f32;
  Shape shape;  // logical
  Dims dims{};  // of an activation in lanes; dims.n == 0 for a flat value
  Region region = Region::activations;
  std::size_t bytes = 0;      // stored; 0 in Region::data, whose size is that of the data set bound to it
  bool whole = false;         // stands for all of its region, padding included: the optimizer's flat pass
  std::size_t offset = 0;     // in its region, set by assign
  int first = -1, last = -1;  // Calls that touch it first and last, set by assign

  bool in_lanes() const { return dims.n > 0; }
};

struct PlanCall {
  Call call;
  std::string path;  // module path
};

struct Plan {
  Mode mode = Mode::train;
  std::vector<PlanCall> calls;
  std::vector<PlanValue> values;
  std::map<std::string, ValueId, std::less<>> names;  // every readable name; several may stand for one value
  std::array<std::size_t, region_count> region_bytes{};
  std::size_t activations_without_reuse = 0;

  const PlanValue& operator[](ValueId v) const { return values[static_cast<std::size_t>(v.index)]; }
  // Throws Error(usage) listing close names.
  ValueId find(std::string_view name) const;
  bool has(std::string_view name) const { return names.find(name) != names.end(); }
};

// Operands of any Call, outputs first; absent ones (no id) included.
template <class F>
void for_each_operand(const Call& call, F f) {
  std::visit(
      [&](const auto& c) {
        for (const kernels::Operand& o : c.operands()) f(o);
      },
      call);
}

inline const char* name_of(const Call& call) {
  return std::visit([](const auto& c) { return std::decay_t<decltype(c)>::name; }, call);
}

inline kernels::Cost cost(const Call& call) {
  return std::visit([](const auto& c) { return c.cost(); }, call);
}

struct AssignOptions {
  bool reuse = true;      // off: every activation has its own memory
  std::size_t guard = 0;  // bytes left free before and after every activation, for tests that watch them
};

inline constexpr std::size_t alignment = 256;

// Offsets of all values. Persistent values are laid out in table order, activations by lifetime.
void assign(Plan& plan, const AssignOptions& options = {});

}  // namespace norma
