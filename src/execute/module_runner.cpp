#include "norma/module_runner.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "norma/error.h"
#include "norma/text.h"
#include "src/execute/one_thread.h"
#include "src/execute/tensor_io.h"
#include "src/execute/value_addresses.h"
#include "src/net/initialise.h"
#include "src/plan/lower.h"

namespace norma {

namespace {

// Refuses values that no step could have left there and no kernel expects.
void check_buffer(const PlanValue& v, std::span<const float> values) {
  const bool counts = v.dtype == DType::i64, variance = v.name.ends_with("running_var");
  if (!counts && !variance) return;
  for (const float x : values)
    if (counts ? !(x >= 0 && x <= 0x1p53f && x == std::floor(x)) : x < 0) {
      std::ostringstream text;
      text << '"' << printable(v.name) << "\" must be " << (counts ? "a whole number in 0..2^53" : "0 or more, as a variance is")
           << ", got " << x;
      throw Error(ErrorKind::usage, text.str());
    }
}

bool step_makes(const PlanValue& v, bool written) {
  return written && v.region != Region::parameters && v.region != Region::buffers && v.region != Region::state;
}

}  // namespace

struct [[gnu::visibility("hidden")]] ModuleRunner::State {
  User user{};
  Graph graph;
  Plan plan;
  std::unique_ptr<Executor> executor;
  std::uint64_t seed = 0;
  bool backward = true, input_gradients = true;
  std::vector<bool> written;        // by the Plan's Calls
  std::vector<std::size_t> inputs;  // values from outside whose memory a step uses again
  std::vector<bool> lost;           // of all values: used again, and not written since
  bool stepped = false, has_upstream = false;

  bool is_input_gradient(std::string_view name) const {
    return name.starts_with("d") && std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& n) {
             return std::holds_alternative<InputNode>(n.op) && n.path == name.substr(1);
           });
  }
  bool is_gradient(std::string_view name) const { return is_input_gradient(name) || name.ends_with(".grad"); }

  ValueId find(std::string_view name) const {
    const auto refuse = [&](const std::string& why) { throw Error(ErrorKind::usage, "\"" + printable(name) + "\" " + why); };
    if (plan.has(name)) return plan.find(name);
    if (!backward && (is_gradient(name) || name == "dy")) refuse("is of the backward pass, which Options::backward has switched off");
    if (!input_gradients && is_input_gradient(name)) refuse("is the gradient of an input, which Options::input_gradients has switched off");
    for (const Node& n : graph.nodes)
      if (n.path == name && n.output_path != name)
        refuse("is computed together with \"" + printable(n.output_path) +
               "\" and has no memory of its own: switch Options::fuse off to read it");
    return plan.find(name);
  }

  void begin_step() const {
    for (const std::size_t i : inputs)
      if (lost[i])
        throw Error(ErrorKind::usage, "the memory of \"" + printable(plan.values[i].name) +
                                          "\" was used again in the last step (Options::reuse): write it before each step");
  }
  void end_step() {
    stepped = true;
    for (const std::size_t i : inputs) lost[i] = true;
    const ValueId id = plan.find("state");
    auto counters = read_struct<kernels::StepState>(*executor, plan, id);
    ++counters.step;  // the next step draws other dropout masks
    write_struct(*executor, plan, id, counters);
  }
};

ModuleRunner::ModuleRunner(const Module& module, const Shape& x, Options options)
    : ModuleRunner([&](Builder& b, const std::vector<Value>& in) { return module(b, in[0]); }, {{"x", x}}, std::move(options)) {}

ModuleRunner::ModuleRunner(const Function& function, const std::vector<std::pair<std::string, Shape>>& inputs, Options options)
    : state_(std::make_shared<State>()) {
  if (!function) throw Error(ErrorKind::usage, "ModuleRunner was given an empty function");
  Builder builder;
  std::vector<Value> values;
  for (const auto& [name, shape] : inputs) values.push_back(builder.input(name, shape));
  const Value y = function(builder, values);
  state_->graph = std::move(builder).finish({y});
  if (options.fuse) state_->graph = fuse(std::move(state_->graph));
  state_->executor = make_executor(options.device, options.executor);
  state_->seed = options.seed;
  state_->plan = lower(state_->graph, {.mode = options.mode,
                                       .lanes = lanes_for(*state_->executor, options.device, options.lanes),
                                       .backward = options.backward,
                                       .input_gradients = options.backward && options.input_gradients,
                                       .data = {},
                                       .loss = {},
                                       .optimizer = {},
                                       .precision = options.precision,
                                       .join = options.fuse && state_->executor->traits().joins,
                                       .assign = {.reuse = options.reuse}});
  Executor& executor = *state_->executor;
  const Plan& plan = state_->plan;
  executor.prepare(plan);
  state_->backward = options.backward, state_->input_gradients = options.input_gradients;
  state_->written = written_values(plan);
  state_->lost.assign(plan.values.size(), false);
  for (std::size_t i = 0; i < plan.values.size(); ++i)
    if (plan.values[i].region == Region::activations && !state_->written[i] && !survives(plan, plan.values[i])) state_->inputs.push_back(i);
  std::int64_t number = 0;
  for (const ParameterInfo& p : state_->graph.parameters())
    write_tensor(executor, plan, plan.find(p.name), initial_values(p, options.seed, number++));
  write_struct(executor, plan, plan.find("state"), kernels::StepState{.seed = options.seed});
}

ModuleRunner::~ModuleRunner() = default;
ModuleRunner::ModuleRunner(ModuleRunner&&) noexcept = default;
ModuleRunner& ModuleRunner::operator=(ModuleRunner&&) noexcept = default;

void ModuleRunner::write(std::string_view name, std::span<const float> values) {
  const Use s(state_, "ModuleRunner");
  const ValueId id = s->find(name);
  const auto i = static_cast<std::size_t>(id.index);
  if (step_makes(s->plan[id], s->written[i]))
    throw Error(ErrorKind::usage,
                "\"" + printable(name) + "\" is what step() computes; what can be written are inputs, \"dy\", " + "parameters and buffers");
  if (s->plan[id].region == Region::buffers) check_buffer(s->plan[id], values);
  write_tensor(*s->executor, s->plan, id, values);
  s->lost[i] = false;
  if (name == "dy") s->has_upstream = true;
}

std::vector<float> ModuleRunner::read(std::string_view name) const {
  const Use s(state_, "ModuleRunner");
  const ValueId id = s->find(name);
  if (step_makes(s->plan[id], s->written[static_cast<std::size_t>(id.index)])) {
    if (!s->stepped) throw Error(ErrorKind::usage, "\"" + printable(name) + "\" is what step() computes, and none has run");
    if (!s->has_upstream && s->is_gradient(name))
      throw Error(ErrorKind::usage, "\"" + printable(name) + "\" needs the gradient of the output, \"dy\", which was never written");
  }
  return read_tensor(*s->executor, s->plan, id);
}

Shape ModuleRunner::shape(std::string_view name) const {
  const Use s(state_, "ModuleRunner");
  for (const Node& n : s->graph.nodes)  // Flatten shares its input's value, not its shape
    if (n.output_path == name || (n.path == name && s->plan.has(name))) return n.shape;
  if (name == "y" || name == "dy") return s->graph[s->graph.outputs[0]].shape;
  return s->plan[s->find(name)].shape;
}

void ModuleRunner::step() {
  const Use s(state_, "ModuleRunner");
  s->begin_step();
  s->executor->run(s->plan);
  s->executor->synchronize();
  s->end_step();
}

std::vector<double> ModuleRunner::step_timed() {
  const Use s(state_, "ModuleRunner");
  s->begin_step();
  std::vector<double> seconds = s->executor->run_timed(s->plan);
  s->end_step();
  return seconds;
}

const Graph& ModuleRunner::graph() const { return Use(state_, "ModuleRunner")->graph; }
const Plan& ModuleRunner::plan() const { return Use(state_, "ModuleRunner")->plan; }

}  // namespace norma
