// The reference's interpreter of Plans: its own memory, values by name or number, one Call or all of them.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/reference/reference.h"
#include "src/plan/plan.h"

namespace norma::reference {

template <class T>
class BasicReference {
 public:
  BasicReference() = default;
  explicit BasicReference(const Plan& plan) { prepare(plan); }
  // Prepares memory for one more Plan. Persistent regions are shared: one offset in a region is one number in every Plan. Plans prepared
  // together must therefore come from one run. The Plan must stay in place as long as this is used.
  void prepare(const Plan& plan);

  // By name, in the first prepared Plan that has it; logical elements in NCHW order. Integers are given as whole numbers; a value of
  // Region::data takes any number of elements. Throws std::invalid_argument naming the value for an unknown name or a wrong number.
  void write(std::string_view name, std::span<const double> values);
  void write(std::string_view name, std::span<const float> values);
  std::vector<double> read(std::string_view name) const;

  void write(const Plan& plan, ValueId id, std::span<const double> values);
  std::vector<T> read(const Plan& plan, ValueId id) const;
  kernels::StepState& state(const Plan& plan, ValueId id) const { return *prepared(plan).memory.state(id); }
  Loss<T>& loss(const Plan& plan, ValueId id) const { return *prepared(plan).memory.loss(id); }

  void run(const Plan& plan);
  void run_call(const Plan& plan, std::size_t call);

 private:
  // Numbers of one region, by byte offset: floats lie side by side because an optimizer's Call sees a whole region as one value.
  struct Storage {
    std::vector<T> floats;  // [bytes / 4]
    std::map<std::size_t, std::vector<std::int64_t>> integers;
    std::map<std::size_t, kernels::StepState> states;
    std::map<std::size_t, Loss<T>> losses;
  };
  struct Prepared {
    const Plan* plan = nullptr;
    std::vector<Storage> own;  // one per activation: no reuse
    Memory<T> memory;
  };

  void locate(Prepared& prepared);
  const Prepared& prepared(const Plan& plan) const;
  std::pair<const Plan*, ValueId> find(std::string_view name) const;

  std::array<Storage, region_count> shared_;
  std::map<std::string, Storage> data_;  // Region::data, by name
  std::vector<std::unique_ptr<Prepared>> plans_;
};

extern template class BasicReference<double>;
extern template class BasicReference<Tracked>;

using Reference = BasicReference<double>;

}  // namespace norma::reference
