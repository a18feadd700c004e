// The one table of cases: every Call with the shapes and options that matter. A case is a Plan of one Call and a recipe for its inputs. It
// drives the tests of correctness and determinism on every backend.
#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/philox.h"
#include "src/plan/plan.h"

namespace norma::test {

// Numbers of a seed; the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  std::uint32_t word() {
    if (next_ % 4 == 0) words_ = kernels::philox(seed_, {static_cast<std::uint32_t>(next_ / 4), 0, 0, 0});
    return words_[next_++ % 4];
  }
  double uniform(double low = 0, double high = 1) { return low + (high - low) * static_cast<double>(kernels::uniform(word())); }
  double normal(double mean = 0, double deviation = 1) {  // Box and Muller
    const double radius = std::sqrt(-2 * std::log(1 - uniform())), angle = 6.283185307179586 * uniform();
    return mean + deviation * radius * std::cos(angle);
  }
  std::vector<float> normals(std::int64_t count, double mean = 0, double deviation = 1) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& v : values) v = static_cast<float>(normal(mean, deviation));
    return values;
  }
  std::int64_t below(std::int64_t n) { return word() % n; }

 private:
  std::uint64_t seed_;
  std::size_t next_ = 0;
  kernels::Philox4 words_{};
};

// Logical element e of an input.
using Generator = std::function<double(std::int64_t e, Random& random)>;

Generator normal(double mean = 0, double deviation = 1);
Generator uniform(double low, double high);
Generator constant(double value);
// act of a normal number, as Calls that read an activation's output expect.
Generator activated(Activation act);

enum class Padding : std::uint8_t {
  garbage,  // forward values: inputs get numbers there that would show in any sum; outputs must be finite
  zero,     // gradients, in and out
};

struct CaseValue {
  Generator fill;  // empty: an output
  Padding padding = Padding::garbage;
  bool scratch = false;
};

// A Plan of one Call and what its values are.
struct CallCase {
  Plan plan;
  std::vector<CaseValue> values;  // as plan.values
  kernels::StepState state{.seed = 42, .step = 3, .position = 0, .batch = 1};
  kernels::LossResult loss{};  // content of loss values that are read
  ValueId state_value, loss_value;

  // The value table, one function per kind of value. L is the number of lanes.
  explicit CallCase(int lanes) : lanes_(lanes) {}
  Dims dims(std::int64_t n, std::int64_t c, std::int64_t h = 1, std::int64_t w = 1) const { return {n, c, h, w, lanes_}; }

  ValueId in(std::string name, const Dims& d, Generator fill, Padding padding = Padding::garbage);
  ValueId in_gradient(std::string name, const Dims& d) { return in(std::move(name), d, normal(), Padding::zero); }
  ValueId out(std::string name, const Dims& d, Padding padding = Padding::garbage) { return in(std::move(name), d, {}, padding); }
  ValueId out_gradient(std::string name, const Dims& d) { return out(std::move(name), d, Padding::zero); }
  ValueId indices(std::string name, const Dims& d, DType type, Generator fill);  // empty fill: an output
  ValueId flat(std::string name, std::int64_t elements, Generator fill = {}, DType type = DType::f32);
  ValueId scratch(std::string name, std::int64_t bytes);
  ValueId add_state();
  ValueId add_loss();
  CallCase& call(Call c);

  // Inputs in NCHW order, rounded to float where they are floats; empty for outputs. They do not depend on the number of lanes.
  std::vector<std::vector<double>> inputs(std::uint64_t seed) const;

 private:
  ValueId add(PlanValue v, CaseValue c);
  int lanes_;
};

struct Case {
  std::string name;  // letters, digits and _ only; begins with the Call's name
  std::function<CallCase(int lanes)> make;
};

const std::vector<Case>& cases();

// More samples, channels or features than 16 bits count, for backends that launch grids: up to seconds each.
const std::vector<Case>& large_cases();
inline constexpr std::int64_t beyond_16_bits = 70001;

// Parts of the tables, by group of Calls (cases_*.cpp).
void add_conv2d_cases(std::vector<Case>& table);
void add_linear_cases(std::vector<Case>& table);
void add_batch_norm_cases(std::vector<Case>& table);
void add_group_norm_cases(std::vector<Case>& table);
void add_activation_cases(std::vector<Case>& table);
void add_batch_cases(std::vector<Case>& table);
void add_pool_cases(std::vector<Case>& table);
void add_loss_cases(std::vector<Case>& table);
void add_host_cases(std::vector<Case>& table);
void add_optimizer_cases(std::vector<Case>& table);
void add_large_conv2d_cases(std::vector<Case>& table);
void add_large_linear_cases(std::vector<Case>& table);
void add_large_batch_norm_cases(std::vector<Case>& table);
void add_large_group_norm_cases(std::vector<Case>& table);
void add_large_activation_cases(std::vector<Case>& table);
void add_large_batch_cases(std::vector<Case>& table);
void add_large_pool_cases(std::vector<Case>& table);
void add_large_loss_cases(std::vector<Case>& table);

}  // namespace norma::test
