// The Plan itself: what lower makes, assign lays out and executors run.
#pragma once
#include <array>
#include <map>
#include <memory>
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
  std::size_t bytes = 0;       // stored; 0 in Region::data, whose size is that of the data set bound to it
  std::size_t pack_bytes = 0;  // of them, for one pack of L samples, where it holds something for every sample; else 0
  bool whole = false;          // stands for all of its region, or a part from `offset` on, padding included: the optimizer's flat pass
  std::size_t offset = 0;      // in its region, set by assign
  int first = -1, last = -1;   // when it is touched first and last, in steps of the schedule; set by assign

  bool in_lanes() const { return dims.n > 0; }
};

struct PlanCall {
  Call call;
  std::string path;  // module path
};

// A Call, or one part of it.
struct Stage {
  int call = 0;
  kernels::Part part = kernels::Part::whole;
};

// Work between two meetings of all threads. First each pack of samples goes through `packs` on its own, while its values are in the nearest
// cache. Then come stages that need the whole batch.
struct Phase {
  std::vector<Stage> packs, whole;
};

struct Plan {
  Mode mode = Mode::train;
  std::int64_t samples = 0;  // of the batch
  int lanes = 1;             // L: samples of a pack
  std::vector<PlanCall> calls;
  std::vector<Phase> phases;
  std::vector<PlanValue> values;
  std::map<std::string, ValueId, std::less<>> names;  // every readable name; several may stand for one value
  std::size_t backward_from = 0;  // number of the first Call that lower made after the outputs and the loss; join does not keep it
  std::vector<std::shared_ptr<const void>> kept;  // contexts of functions of the host
  std::array<std::size_t, region_count> region_bytes{};
  std::size_t activations_without_reuse = 0;

  const PlanValue& operator[](ValueId v) const { return values[static_cast<std::size_t>(v.index)]; }
  // Throws Error(usage) listing close names.
  ValueId find(std::string_view name) const;
  bool has(std::string_view name) const { return names.find(name) != names.end(); }
  std::int64_t packs() const { return (samples + lanes - 1) / lanes; }
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

// By number, whether a Call writes the value.
inline std::vector<bool> written_values(const Plan& plan) {
  std::vector<bool> written(plan.values.size());
  for (const PlanCall& c : plan.calls)
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (o.value && o.access != kernels::Access::read) written[static_cast<std::size_t>(o.value.index)] = true;
    });
  return written;
}

inline std::string name_of(const Call& call) {
  return std::visit([](const auto& c) { return kernels::name_of_call(c); }, call);
}

// Calls f for the operands that one stage of a Call touches. A reduction's part of a pack writes only per-sample operands, among them its
// partial sums. Finishing reads only the partial sums and writes the rest.
template <class F>
void for_each_operand(const Plan& plan, const Stage& stage, F f) {
  std::visit(
      [&](const auto& c) {
        for (kernels::Operand o : c.operands()) {
          if (!o.value) continue;
          if constexpr (kernels::reduces<std::decay_t<decltype(c)>>) {
            const bool read = o.access == kernels::Access::read, of_sum = !read && plan[o.value].pack_bytes == 0;
            if (stage.part == kernels::Part::pack && of_sum) continue;
            if (stage.part == kernels::Part::finish) {
              if (o.value == c.partial) o.access = kernels::Access::read;
              else if (!of_sum) continue;
            }
          }
          f(o);
        }
      },
      plan.calls[static_cast<std::size_t>(stage.call)].call);
}

inline kernels::Cost cost(const Call& call) {
  return std::visit([](const auto& c) { return c.cost(); }, call);
}

// The most Calls of which each waits for the one before.
int longest_chain(const std::vector<std::vector<int>>& dependencies);

struct AssignOptions {
  bool reuse = true;      // off: every activation has its own memory, whole
  std::size_t ample = 0;  // values get memory of their own anyway if it all fits in `ample` bytes: reused memory makes Calls wait
  std::size_t guard = 0;  // bytes left free before and after every activation, for tests that watch them
};

inline constexpr std::size_t alignment = 256;

// Makes one Call of neighbours that have a kernel together.
void join(Plan& plan);

// Orders the Calls in phases: with by_pack as few as their operands allow, else one that runs them as they are listed.
void schedule(Plan& plan, bool by_pack);

// Offsets of all values of a scheduled Plan. Persistent values are laid out in table order, activations by lifetime; one that no
// phase hands to another shrinks to one pack of samples.
void assign(Plan& plan, const AssignOptions& options = {});

}  // namespace norma
