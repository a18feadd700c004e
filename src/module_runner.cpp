#include "norma/module_runner.h"

#include "norma/error.h"
#include "src/initialise.h"
#include "src/layout.h"
#include "src/lower.h"

namespace norma {

struct ModuleRunner::State {
  Graph graph;
  Plan plan;
  std::unique_ptr<Executor> executor;
  std::uint64_t seed = 0;

  void advance() {
    const ValueId id = plan.find("state");
    auto counters = read_struct<kernels::StepState>(*executor, plan, id);
    ++counters.step;  // the next step draws other dropout masks
    write_struct(*executor, plan, id, counters);
  }
};

ModuleRunner::ModuleRunner(const Module& module, const Shape& x, Options options)
    : ModuleRunner([&](Builder& b, const std::vector<Value>& in) { return module(b, in[0]); }, {{"x", x}}, std::move(options)) {}

ModuleRunner::ModuleRunner(const Function& function, const std::vector<std::pair<std::string, Shape>>& inputs, Options options)
    : state_(std::make_unique<State>()) {
  Builder builder;
  std::vector<Value> values;
  for (const auto& [name, shape] : inputs) values.push_back(builder.input(name, shape));
  const Value y = function(builder, values);
  state_->graph = std::move(builder).finish({y});
  if (options.fuse) state_->graph = fuse(std::move(state_->graph));
  state_->executor = make_executor(options.device, options.executor);
  state_->seed = options.seed;
  state_->plan = lower(state_->graph, {.mode = options.mode,
                                       .lanes = options.lanes ? options.lanes : state_->executor->lanes(),
                                       .backward = options.backward,
                                       .input_gradients = options.backward && options.input_gradients,
                                       .data = {},
                                       .loss = {},
                                       .optimizer = {},
                                       .precision = options.precision,
                                       .join = options.fuse && state_->executor->joins(),
                                       .assign = {.reuse = options.reuse}});
  Executor& executor = *state_->executor;
  const Plan& plan = state_->plan;
  executor.prepare(plan);
  std::int64_t number = 0;
  for (const ParameterInfo& p : state_->graph.parameters())
    write_tensor(executor, plan, plan.find(p.name), initial_values(p, options.seed, number++));
  write_struct(executor, plan, plan.find("state"), kernels::StepState{.seed = options.seed});
}

ModuleRunner::~ModuleRunner() = default;
ModuleRunner::ModuleRunner(ModuleRunner&&) noexcept = default;
ModuleRunner& ModuleRunner::operator=(ModuleRunner&&) noexcept = default;

void ModuleRunner::write(std::string_view name, std::span<const float> values) {
  write_tensor(*state_->executor, state_->plan, state_->plan.find(name), values);
}

std::vector<float> ModuleRunner::read(std::string_view name) const {
  return read_tensor(*state_->executor, state_->plan, state_->plan.find(name));
}

Shape ModuleRunner::shape(std::string_view name) const {
  for (const Node& n : state_->graph.nodes)  // Flatten shares its input's value, not its shape
    if (n.output_path == name || (n.path == name && state_->plan.has(name))) return n.shape;
  if (name == "y" || name == "dy") return state_->graph[state_->graph.outputs[0]].shape;
  return state_->plan[state_->plan.find(name)].shape;
}

void ModuleRunner::step() {
  state_->executor->run(state_->plan);
  state_->executor->synchronize();
  state_->advance();
}

std::vector<double> ModuleRunner::step_timed() {
  std::vector<double> seconds = state_->executor->run_timed(state_->plan);
  state_->advance();
  return seconds;
}

const Graph& ModuleRunner::graph() const { return state_->graph; }
const Plan& ModuleRunner::plan() const { return state_->plan; }

}  // namespace norma
