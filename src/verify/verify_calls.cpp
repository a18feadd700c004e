#include "src/verify/verify_calls.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "norma/text.h"
#include "src/execute/tensor_io.h"
#include "src/verify/tolerance.h"

namespace norma {
namespace {

using kernels::Access;
using kernels::LossResult;
using kernels::StepState;
using reference::Tracked;

bool is(const kernels::Operand& o, std::string_view role) { return role == role_of(o); }

// An output, scratch excluded.
struct Output {
  kernels::Operand operand;
  reference::Allowance allowance{};
  std::vector<Tracked> expected{};  // of a tensor, in NCHW
  std::vector<double> rounded{};    // rounded to its type: the next Calls start from it
};

// The Call at hand, once the reference has run it.
struct Done {
  const Plan& plan;  // the reference's
  std::size_t number;
  ReferenceExecutor::Reference& reference;
  const std::vector<bool>& gradients;  // values whose padding lanes hold 0
  std::vector<Output> outputs{};

  const PlanCall& call() const { return plan.calls[number]; }
};

// Gathers the findings on one Call and backend in the result of its kind.
class Tally {
 public:
  Tally(const Done& done, CallCheck& result, bool decides = true) : done_(done), result_(result), decides_(decides) { ++result.calls; }
  ~Tally() { result_.wrong += wrong_; }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  // problem(): in words, for a share above 1.
  template <class F>
  void add(const std::string& operand, double share, double error, F problem) {
    result_.error = std::max(result_.error, error);
    if (share > result_.share) result_.share = share, result_.path = done_.call().path, result_.operand = operand;
    if (share <= 1 || !decides_) return;
    wrong_ = true;
    if (result_.problem.empty())
      result_.problem = "[" + printable(done_.call().path) + "] " + (done_.plan.mode == Mode::train ? "train, " : "eval, ") +
                        std::to_string(done_.plan.samples) + " samples: " + operand + ": " + problem();
  }
  void add(const kernels::Operand& o, const reference::Agreement& a) {
    add(role_of(o), a.share, a.relative_error(), [&] { return reference::describe(done_.plan[o.value], a); });
  }

 private:
  const Done& done_;
  CallCheck& result_;
  bool decides_, wrong_ = false;
};

template <class Actual, class Expected>
void check_members(const kernels::Operand& o, const Actual& actual, const Expected& expected, Tally& tally) {
  reference::for_each_member(actual, expected, [&](const char* member, const auto& given, const auto& wanted) {
    const double share = reference::share_of_bound(given, wanted);
    const auto number = static_cast<double>(given);
    double right = 0;
    if constexpr (std::is_same_v<std::decay_t<decltype(wanted)>, Tracked>) right = wanted.v;
    else right = static_cast<double>(wanted);
    tally.add(role_of(o), share, share > 0 && right != 0 ? std::abs((number - right) / right) : 0,
              [&] { return std::string(member) + " is " + std::to_string(number) + " instead of " + std::to_string(right); });
  });
}

std::vector<bool> find_gradients(const Plan& plan) {
  std::vector<bool> gradients(plan.values.size(), false);
  for (const PlanCall& c : plan.calls)
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (o.value && o.name[0] == 'd') gradients[static_cast<std::size_t>(o.value.index)] = true;  // dx, dlogits, dgamma
    });
  return gradients;
}

// Checks the padding lanes of a float value. Values that must not be there become 0, since the Calls that follow are not at fault.
void check_padding(const Done& done, const kernels::Operand& o, const PlanValue& v, std::span<std::byte> stored, Tally& tally) {
  if (!v.in_lanes() || v.dtype != DType::f32) return;
  const bool zero = done.gradients[static_cast<std::size_t>(o.value.index)];
  auto* floats = reinterpret_cast<float*>(stored.data());
  std::int64_t bad = 0;
  reference::for_each_padding(v.dims, [&](std::int64_t k) {
    if (zero ? floats[k] == 0 : std::isfinite(floats[k])) return;
    floats[k] = 0;
    ++bad;
  });
  if (bad != 0)
    tally.add(role_of(o), std::numeric_limits<double>::infinity(), 0,
              [&] { return std::to_string(bad) + " elements of padding lanes are not " + (zero ? "0" : "finite"); });
}

// Accepts either element of a window if float cannot tell which has the largest z. The element of `argmax` is then expected from now on,
// and its x with it. Of equal x the first is right.
void settle_ties(const Done& done, const kernels::BatchNormMaxPool& call, std::span<const double> argmax, std::vector<Output>& outputs) {
  const auto read = [&](ValueId v) { return v ? done.reference.read(done.plan, v) : std::vector<Tracked>{}; };
  const std::vector<Tracked> x = read(call.x), mean = read(call.mean), rstd = read(call.rstd), gamma = read(call.gamma),
                             beta = read(call.beta);
  const auto expected = [&](ValueId v) -> std::vector<Tracked>* {
    for (Output& o : outputs)
      if (v && o.operand.value == v) return &o.expected;
    return nullptr;
  };
  std::vector<Tracked>&positions = *expected(call.argmax), *largest = expected(call.largest);
  kernels::PoolShape shape = call.shape;  // of elements in NCHW
  shape.x.lanes = shape.y.lanes = 1;
  reference::for_each_element(shape.y, [&](auto n, auto c, auto p, auto q) {
    const auto i = static_cast<std::size_t>(shape.y.index(n, c, p, q)), channel = static_cast<std::size_t>(c);
    if (argmax[i] == positions[i].v) return;
    std::int64_t right = -1, chosen = -1;  // as indices of x
    reference::for_each_in_window(shape, n, c, p, q, [&](auto r, auto s, auto at) {
      const auto position = static_cast<double>(r * shape.window.kernel_w + s);
      if (position == positions[i].v) right = at;
      if (position == argmax[i]) chosen = at;
    });
    if (right < 0 || chosen < 0 || x[static_cast<std::size_t>(right)].v == x[static_cast<std::size_t>(chosen)].v) return;
    const auto z = [&](std::int64_t at) {
      Tracked v = (x[static_cast<std::size_t>(at)] - mean[channel]) * rstd[channel];
      if (call.gamma) v = gamma[channel] * v;
      if (call.beta) v += beta[channel];
      return v;
    };
    const Tracked a = z(right), b = z(chosen);
    if (!(std::abs(a.v - b.v) <= reference::bound(a) + reference::bound(b))) return;
    positions[i] = argmax[i];
    if (largest) (*largest)[i] = x[static_cast<std::size_t>(chosen)];
  });
}

// One tensor of a backend: stored bytes, and elements in NCHW.
struct Tensor {
  std::vector<std::byte> stored;
  std::vector<double> actual;

  Tensor(const CallChecks::Side& side, ValueId id) : stored((*side.plan)[id].bytes) {
    side.executor->read(*side.plan, id.index, stored.data(), stored.size());
    actual = elements((*side.plan)[id], stored);
  }
};

// Compares a backend's outputs with the reference's, then gives it those for the Calls that follow.
void check_side(const Done& done, const CallChecks::Side& side, CallCheck& result) {
  Tally tally(done, result);
  std::vector<Output> settled;
  std::span<const Output> outputs = done.outputs;
  const auto* pool = std::get_if<kernels::BatchNormMaxPool>(&done.call().call);
  if (pool && pool->argmax) {
    settled = done.outputs;
    settle_ties(done, *pool, Tensor(side, pool->argmax).actual, settled);
    outputs = settled;
  }
  for (const Output& output : outputs) {
    const kernels::Operand& o = output.operand;
    const PlanValue& v = (*side.plan)[o.value];
    if (is(o, "loss")) {
      const auto& loss = done.reference.loss(done.plan, o.value);
      check_members(o, read_struct<LossResult>(*side.executor, *side.plan, o.value), loss, tally);
      write_struct(*side.executor, *side.plan, o.value, LossResult{loss.loss.v, loss.loss_sum.v, loss.correct, loss.counted});
    } else if (is(o, "state")) {
      const StepState& state = done.reference.state(done.plan, o.value);
      check_members(o, read_struct<StepState>(*side.executor, *side.plan, o.value), state, tally);
      write_struct(*side.executor, *side.plan, o.value, state);
    } else {
      Tensor tensor(side, o.value);
      tally.add(o, reference::compare(v.dtype, tensor.actual, output.expected, output.allowance));
      check_padding(done, o, v, tensor.stored, tally);
      set_elements(v, output.rounded, tensor.stored);  // padding lanes stay the backend's own
      side.executor->write(*side.plan, o.value.index, tensor.stored.data(), tensor.stored.size());
    }
  }
}

// A sum over the batch may cost 4 times what tracked.h says, which takes roundings to be independent. Those of a net's first layers are
// not: the background of images and what its gradients are is one number again and again, and drifts. Measured on MNIST: up to 2 times.
reference::Allowance allowance(const Plan& plan, const Call& call, const PlanValue& output) {
  bool of_batch = false;
  for_each_operand(call, [&](const kernels::Operand& o) { of_batch |= o.value && o.access == Access::read && plan[o.value].in_lanes(); });
  return {.times = of_batch && !output.in_lanes() ? 4.0 : 1.0, .of_largest = reference::tensor_core_share(call)};
}

std::vector<Output> outputs_of(const Plan& plan, const Call& call, const ReferenceExecutor::Reference& reference) {
  std::vector<Output> outputs;
  for_each_operand(call, [&](const kernels::Operand& o) {
    if (!o.value || o.access == Access::read || is(o, "partial")) return;
    Output& output = outputs.emplace_back(Output{o, allowance(plan, call, plan[o.value])});
    if (is(o, "loss") || is(o, "state")) return;
    output.expected = reference.read(plan, o.value);
    for (const Tracked& t : output.expected)
      output.rounded.push_back(plan[o.value].dtype == DType::f32 ? static_cast<double>(static_cast<float>(t.v)) : t.v);
  });
  return outputs;
}

// Drops the errors of the reference's outputs: the next Calls start from the same floats as everybody.
void make_exact(const Done& done) {
  for (const Output& output : done.outputs) {
    const ValueId v = output.operand.value;
    if (is(output.operand, "loss")) {
      auto& loss = done.reference.loss(done.plan, v);
      loss.loss = loss.loss.v, loss.loss_sum = loss.loss_sum.v;
    } else if (!is(output.operand, "state")) {
      done.reference.write(done.plan, v, output.rounded);
    }
  }
}

// The operands of a Call as another library gets them.
struct Arrays {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<void*> pointers;

  Arrays(ReferenceExecutor& reference, const Plan& plan, const Call& call) {
    for_each_operand(call, [&](const kernels::Operand& o) {
      const bool given = o.value && plan[o.value].region != Region::data;
      std::vector<std::byte>& array = bytes.emplace_back(given ? plan[o.value].bytes : 0);
      if (given) reference.read(plan, o.value.index, array.data(), array.size(), 0);
      pointers.push_back(given ? array.data() : nullptr);
    });
  }
};

void compare_other(const Done& done, const Arrays& arrays, std::uint32_t written, CallCheck& result) {
  if (written == 0) return;
  Tally tally(done, result, false);
  std::size_t k = 0;
  for_each_operand(done.call().call, [&](const kernels::Operand& o) {
    const std::size_t at = k++;
    if ((written >> at & 1) == 0) return;
    for (const Output& output : done.outputs)
      if (output.operand.value == o.value && is(o, role_of(output.operand)))
        tally.add(o, reference::compare(done.plan[o.value].dtype, elements(done.plan[o.value], arrays.bytes[at]), output.expected,
                                        output.allowance));
  });
}

}  // namespace

CallChecks::CallChecks(ReferenceExecutor& reference, std::vector<std::string> backends, const OtherLibrary* other)
    : reference_(reference), backends_(std::move(backends)), other_(other) {}

void CallChecks::run(const Plan& plan, std::span<const Side> sides) {
  for (const Side& side : sides)
    if (side.plan->calls.size() != plan.calls.size() || side.plan->values.size() != plan.values.size())
      throw std::logic_error("verify: Plans of one net differ in more than their lanes");
  const std::vector<bool> gradients = find_gradients(plan);
  for (std::size_t i = 0; i < plan.calls.size(); ++i) {
    const PlanCall& c = plan.calls[i];
    std::vector<CallCheck>& results = of_kind(name_of(c.call));
    std::optional<Arrays> arrays;
    std::uint32_t written = 0;
    if (other_) {
      arrays.emplace(reference_, plan, c.call);
      written = other_->run(c, arrays->pointers);
    }
    reference_.run_call(plan, i);
    const Done done{plan, i, reference_.reference(), gradients, outputs_of(plan, c.call, reference_.reference())};
    if (other_) compare_other(done, *arrays, written, results.back());
    for (std::size_t s = 0; s < sides.size(); ++s) {
      sides[s].executor->run_call(*sides[s].plan, i);
      check_side(done, sides[s], results[s]);
    }
    make_exact(done);
  }
}

std::vector<CallCheck>& CallChecks::of_kind(const std::string& call) {
  for (Kind& k : kinds_)
    if (k.call == call) return k.of;
  Kind& k = kinds_.emplace_back(Kind{call, {}});
  for (const std::string& name : backends_) k.of.push_back({.call = call, .backend = name});
  if (other_) k.of.push_back({.call = call, .backend = other_->name});
  return k.of;
}

std::vector<CallCheck> CallChecks::results() const {
  std::vector<CallCheck> all;
  for (const Kind& k : kinds_) all.insert(all.end(), k.of.begin(), k.of.end());
  return all;
}

}  // namespace norma
