#include "norma/module_timer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>
#include <variant>

#include "norma/error.h"
#include "norma/text.h"
#include "src/execute/one_thread.h"
#include "src/execute/tensor_io.h"
#include "src/net/initialise.h"
#include "src/plan/lower.h"

namespace norma {

using Clock = std::chrono::steady_clock;

namespace {

// Uniform in -1 .. 1, the same on every run.
std::vector<float> noise(std::size_t n, std::uint32_t seed) {
  std::vector<float> values(n);
  for (float& v : values) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<std::int32_t>(seed)) * 0x1p-31f;
  }
  return values;
}

// The Plan's backward Calls, or all others. The values stay where they are.
Plan pass_of(const Plan& plan, bool backward) {
  Plan pass = plan;
  std::erase_if(pass.calls, [&](const PlanCall& c) { return (name_of(c.call).find("backward") != std::string::npos) != backward; });
  schedule(pass, false);
  return pass;
}

template <class C>
constexpr bool makes_statistics = false;
template <class... C>
constexpr bool makes_statistics<kernels::Together<C...>> = (std::is_same_v<C, kernels::BatchNormStatistics> || ...);

// The Plan's Calls that make batch statistics, also those that are a part of another Call.
Plan statistics_of(const Plan& plan) {
  Plan pass = plan;
  pass.calls.clear();
  for (const PlanCall& c : plan.calls)
    std::visit(
        [&]<class C>(const C& call) {
          if constexpr (std::is_same_v<C, kernels::BatchNormStatistics>) pass.calls.push_back(c);
          else if constexpr (makes_statistics<C>) pass.calls.push_back({std::get<kernels::BatchNormStatistics>(call.calls), c.path});
        },
        c.call);
  schedule(pass, false);
  return pass;
}

}  // namespace

struct [[gnu::visibility("hidden")]] ModuleTimer::State {
  User user{};
  Options options;
  std::unique_ptr<Executor> executor;
  Plan plan, forward, backward, statistics;
  std::int64_t turns_forward = 0, turns_backward = 0, turns_statistics = 0;  // 0: not measured yet

  double run(const Plan& pass, std::int64_t turns) const {
    const Clock::time_point start = Clock::now();
    executor->run(pass, turns);
    executor->synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(turns);
  }

  double measure(const Plan& pass, std::int64_t& turns) const {
    if (turns == 0) {
      for (int i = 0; i < 3; ++i) (void)run(pass, 1);  // loads kernels, captures, replays
      turns = static_cast<std::int64_t>(std::clamp(options.seconds / std::max(run(pass, 1), 1e-9), 0.0, 1e6)) + 1;
      if (turns > 1) (void)run(pass, turns);  // captures the graph of `turns` passes
    }
    return run(pass, turns) / static_cast<double>(options.copies);
  }

  // All at once and as stored: where every stored element is one of a sample, noise is noise in any order.
  void write_noise(std::string_view name, const std::vector<float>& values) const {
    const ValueId id = plan.find(name);
    const PlanValue& v = plan[id];
    if (v.bytes == values.size() * sizeof(float)) executor->write(plan, id.index, values.data(), v.bytes);
    else write_tensor(*executor, plan, id, values);
  }
};

ModuleTimer::ModuleTimer(const Module& module, const Shape& x, Options options) : state_(std::make_shared<State>()) {
  State& s = *state_;
  constexpr std::int64_t most_copies = 1 << 20;
  if (options.copies < 1 || options.copies > most_copies)
    throw Error(ErrorKind::usage, "copies must lie in 1.." + std::to_string(most_copies) + ", got " + std::to_string(options.copies));
  if (!(options.seconds >= 0) || !std::isfinite(options.seconds))
    throw Error(ErrorKind::usage, "seconds must be 0 or more and finite, got " + std::to_string(options.seconds));
  // Copies do not need each other, and would run at the same time. The time wanted is that of one pass alone.
  if (options.executor.capture == Capture::branches) options.executor.capture = Capture::chain;
  s.options = options;
  Builder builder;
  std::vector<Value> outputs;
  for (std::int64_t k = 0; k < options.copies; ++k) outputs.push_back(module(builder, builder.input("x" + std::to_string(k), x)));
  const Graph graph = fuse(std::move(builder).finish(std::move(outputs)));
  s.executor = make_executor(options.device, options.executor);
  const int lanes = lanes_for(*s.executor, options.device, options.lanes);
  s.plan = lower(graph, {.mode = Mode::train,
                         .lanes = lanes,
                         .backward = true,
                         .input_gradients = true,
                         .data = {},
                         .loss = {},
                         .optimizer = {},
                         .precision = options.precision,
                         .join = s.executor->traits().joins,
                         .assign = {.reuse = false}});
  s.forward = pass_of(s.plan, false), s.backward = pass_of(s.plan, true), s.statistics = statistics_of(s.plan);
  for (const Plan* p : {&s.plan, &s.forward, &s.backward}) s.executor->prepare(*p);
  if (!s.statistics.calls.empty()) s.executor->prepare(s.statistics);
  std::int64_t number = 0;
  for (const ParameterInfo& p : graph.parameters()) write_tensor(*s.executor, s.plan, s.plan.find(p.name), initial_values(p, 0, number++));
  const auto elements = [&](const Shape& shape) { return static_cast<std::size_t>(shape.elements()); };
  const std::vector<float> input = noise(elements(x), 1), upstream = noise(elements(graph[graph.outputs[0]].shape), 2);
  const bool several = options.copies > 1;
  for (std::int64_t k = 0; k < options.copies; ++k) {
    s.write_noise("x" + std::to_string(k), input);
    s.write_noise(several ? "dy" + std::to_string(k) : "dy", upstream);
  }
  (void)s.run(s.forward, 1);  // so that backward has something to start from
}

ModuleTimer::~ModuleTimer() = default;
ModuleTimer::ModuleTimer(ModuleTimer&&) noexcept = default;
ModuleTimer& ModuleTimer::operator=(ModuleTimer&&) noexcept = default;

double ModuleTimer::forward() {
  const Use s(state_, "ModuleTimer");
  return s->measure(s->forward, s->turns_forward);
}
double ModuleTimer::backward() {
  const Use s(state_, "ModuleTimer");
  return s->measure(s->backward, s->turns_backward);
}
double ModuleTimer::statistics() {
  const Use s(state_, "ModuleTimer");
  if (s->statistics.calls.empty()) throw Error(ErrorKind::usage, "no batch norm of this module makes statistics of its input");
  return s->measure(s->statistics, s->turns_statistics);
}

std::vector<float> ModuleTimer::read(std::string_view name) const {
  const Use s(state_, "ModuleTimer");
  const ValueId id = s->plan.find(name);
  if (s->turns_backward == 0 && written_values(s->backward)[static_cast<std::size_t>(id.index)])
    throw Error(ErrorKind::usage, "\"" + printable(name) + "\" is made by a backward pass, and none has run: call backward() first");
  return read_tensor(*s->executor, s->plan, id);
}
const Plan& ModuleTimer::forward_plan() const { return Use(state_, "ModuleTimer")->forward; }
const Plan& ModuleTimer::backward_plan() const { return Use(state_, "ModuleTimer")->backward; }

}  // namespace norma
