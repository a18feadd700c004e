// Nets of several inputs and outputs, by name. Their values are written and read by the caller; no data set is bound.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/text.h"
#include "src/net/match_tensors.h"
#include "src/plan/lower.h"
#include "src/train/trainer_state.h"

namespace norma {

using Values = std::map<std::string, std::span<const float>>;

namespace {

template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> all;
  for (const auto& [name, value] : map) all.push_back(name);
  return all;
}

[[noreturn]] void unknown(const char* what, const std::string& name, const std::vector<std::string>& known) {
  throw Error(ErrorKind::usage, std::string("the net has no ") + what + " \"" + printable(name) + "\"" + did_you_mean(name, known) +
                                    "; it has " + listed(known));
}

// "y", or of several "y0", "y1", ...
std::string numbered(const char* text, std::size_t k, std::size_t count) { return count > 1 ? text + std::to_string(k) : text; }

}  // namespace

Trainer::State::State(Network n, std::map<std::string, Shape> i, TrainerOptions o)
    : network(std::move(n)), input_shapes(std::move(i)), options(std::move(o)), executor(make_executor(options.device, options.executor)) {
  if (!network) throw Error(ErrorKind::usage, "Trainer was given an empty Network");
  if (input_shapes.empty()) throw Error(ErrorKind::usage, "a net has at least one input");
  for (const auto& [name, shape] : input_shapes)
    if ((shape.rank() != 1 && shape.rank() != 3) || shape.elements() == 0)
      throw Error(ErrorKind::usage, "input \"" + printable(name) + "\" must be (C, H, W) or (F), got " + to_string(shape));
  validate(options.optimizer);
  validate(options.clip);
  validate(options.schedule);
  graph = network_graph(base_batch);
  parameters = graph->parameters();
  validate(options.groups, parameters, options.optimizer);
  factors = rate_factors(options.groups, parameters);
  base = &parts_of(base_batch).forward;
  initialise();
}

Trainer::Trainer(Network net, std::map<std::string, Shape> inputs, TrainerOptions options)
    : state_(std::make_shared<State>(std::move(net), std::move(inputs), std::move(options))) {}

Graph Trainer::State::network_graph(std::int64_t samples) {
  Builder b;
  std::map<std::string, Value> in;
  for (const auto& [name, shape] : input_shapes) in[name] = b.input(name, shape.prepend(samples));
  const std::map<std::string, Value> out = network(b, in);
  if (out.empty()) throw Error(ErrorKind::usage, "the Network returned no outputs");
  output_names = keys(out);
  std::vector<Value> values;
  for (const auto& [name, value] : out) {
    b.check(value, "output \"" + printable(name) + "\" is");
    values.push_back(value);
  }
  return std::move(b).finish(std::move(values));
}

void Trainer::State::refuse_network() const {
  if (network)
    throw Error(ErrorKind::usage,
                "this net has inputs and outputs by name: forward, backward, update and predict take those, and no data set or Batch");
}

std::int64_t Trainer::State::samples_of(const Values& values) const {
  if (!network) throw Error(ErrorKind::usage, "this net has one input without a name: give it a Batch, or a data set");
  std::int64_t samples = 0;
  for (const auto& [name, given] : values) {
    const auto input = input_shapes.find(name);
    if (input == input_shapes.end()) unknown("input", name, keys(input_shapes));
    const std::int64_t elements = input->second.elements(), count = static_cast<std::int64_t>(given.size()) / elements;
    if (given.empty() || count * elements != static_cast<std::int64_t>(given.size()) || (samples && count != samples))
      throw Error(ErrorKind::usage, "input \"" + printable(name) + "\" holds " + std::to_string(given.size()) + " values, a sample " +
                                        to_string(input->second) + " has " + std::to_string(elements) +
                                        (samples ? ", and there are " + std::to_string(samples) + " samples" : ""));
    samples = count;
    if (const auto bad = std::ranges::find_if(given, [](float v) { return !std::isfinite(v); }); bad != given.end())
      throw Error(ErrorKind::data, "input \"" + printable(name) + "\" is " + std::to_string(*bad) + " at element " +
                                       std::to_string(bad - given.begin()) + "; it must be finite");
  }
  for (const auto& [name, shape] : input_shapes)
    if (!values.contains(name)) throw Error(ErrorKind::usage, "input \"" + printable(name) + "\" is not given");
  return samples;
}

void Trainer::State::write_inputs(const Plan& p, const Values& values) {
  for (const auto& [name, given] : values)
    if (p.has(name)) write_tensor(*executor, p, p.find(name), given);  // else no output depends on it
}

std::map<std::string, std::vector<float>> Trainer::State::read_outputs(const Plan& p) {
  std::map<std::string, std::vector<float>> all;
  for (std::size_t k = 0; k < output_names.size(); ++k)
    all[output_names[k]] = read_tensor(*executor, p, p.find(numbered("y", k, output_names.size())));
  return all;
}

std::map<std::string, std::vector<float>> Trainer::forward(const Values& inputs) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("forward");
  const State::Parts& parts = s.parts_of(s.samples_of(inputs));
  s.write_inputs(parts.forward, inputs);
  s.bind_rate(parts.forward, 0);
  s.go_forward(parts);
  return s.read_outputs(parts.forward);
}

void Trainer::backward(const Values& output_gradients, bool accumulate) {
  const Use use(state_, "Trainer");
  State& s = *use;
  if (!s.network) throw Error(ErrorKind::usage, "this net has one output without a name: give its gradient alone");
  s.check_backward(accumulate);
  for (const auto& [name, given] : output_gradients)
    if (std::ranges::find(s.output_names, name) == s.output_names.end()) unknown("output", name, s.output_names);
  const Plan& p = s.went_forward->backward;
  for (std::size_t k = 0; k < s.output_names.size(); ++k) {
    const ValueId dy = p.find(numbered("dy", k, s.output_names.size()));
    const auto given = output_gradients.find(s.output_names[k]);
    const std::vector<float> zeros(given == output_gradients.end() ? static_cast<std::size_t>(p[dy].shape.elements()) : 0);
    write_tensor(*s.executor, p, dy, given == output_gradients.end() ? std::span<const float>(zeros) : given->second);
  }
  s.go_backward(accumulate);
}

const Plan& Trainer::State::evaluation_of(std::int64_t samples) {
  if (const auto known = evaluations.find(samples); known != evaluations.end()) return known->second;
  Graph of_samples = network_graph(samples);
  if (options.fuse) of_samples = fuse(std::move(of_samples));
  Plan plan = lower(of_samples, {.mode = Mode::eval,
                                 .lanes = executor->traits().lanes,
                                 .backward = false,
                                 .data = {},
                                 .loss = {},
                                 .optimizer = {},
                                 .precision = options.precision,
                                 .by_pack = executor->traits().by_pack(samples),
                                 .join = options.fuse && executor->traits().joins,
                                 .assign = {.reuse = false}});
  const Plan& kept = evaluations.emplace(samples, std::move(plan)).first->second;
  went_forward = nullptr;  // memory may move
  try {
    executor->prepare(kept);
  } catch (...) {
    evaluations.erase(samples);
    throw;
  }
  return kept;
}

std::map<std::string, std::vector<float>> Trainer::predict(const Values& inputs) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_evaluation("predict");
  const Plan& p = s.evaluation_of(s.samples_of(inputs));
  s.write_inputs(p, inputs);
  s.run(p);
  std::map<std::string, std::vector<float>> all = s.read_outputs(p);
  for (const auto& [name, values] : all)
    if (const auto bad = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); }); bad != values.end())
      throw Error(ErrorKind::diverged,
                  "output \"" + printable(name) + "\" is " + std::to_string(*bad) + " at element " + std::to_string(bad - values.begin()));
  return all;
}

}  // namespace norma
