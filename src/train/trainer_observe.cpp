// Observing: a pass that no one but its reader sees. Its Plan has nothing fused or reused, so that each node's value is there to be read,
// no optimizer, and leaves the running statistics alone.
#include <algorithm>

#include "norma/error.h"
#include "norma/text.h"
#include "src/plan/lower.h"
#include "src/train/trainer_state.h"

namespace norma {

using kernels::LossResult;
using kernels::StepState;

namespace {

bool readable(const PlanValue& v) { return v.dtype != DType::bytes && v.region != Region::data && !v.whole; }

[[noreturn]] void unknown(std::string_view name, const Plan& plan) {
  std::vector<std::string> known;
  for (const auto& [text, id] : plan.names)
    if (readable(plan[id])) known.push_back(text);
  const std::string near = did_you_mean(name, known);
  std::string nodes;
  if (near.empty())
    for (const std::string& k : known) nodes += (nodes.empty() ? "; there are " : ", ") + printable(k);
  throw Error(ErrorKind::usage, std::string(plan.mode == Mode::train ? "a training" : "an evaluating") + " pass has no value \"" +
                                    printable(name) + "\"" + near + nodes);
}

// Gradients, which the pass overwrites, and counters come back.
class Kept {
 public:
  explicit Kept(Trainer::State& s) : state_(s), counters_(s.counters()), gradients_((*s.base)[whole()].bytes) {
    s.executor->read(*s.base, whole().index, gradients_.data(), gradients_.size());
  }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  void put_back() const {
    state_.set_counters(counters_);
    state_.executor->write(*state_.base, whole().index, gradients_.data(), gradients_.size());
  }
  const StepState& counters() const { return counters_; }

 private:
  ValueId whole() const { return state_.id("gradients"); }

  Trainer::State& state_;
  StepState counters_;
  std::vector<std::byte> gradients_;
};

}  // namespace

const Trainer::State::ObservedPlan& Trainer::State::observed(Mode mode, std::int64_t samples) {
  const auto key = std::make_pair(mode, samples);
  auto it = observed_plans.find(key);
  if (it == observed_plans.end()) {
    Graph of_samples = unfused(samples);
    std::vector<ParameterGroup> groups = options.groups;  // all gradients are made; statistics are as in training
    for (ParameterGroup& g : groups) g.rate = g.weight_decay = {};
    Plan lowered = lower(of_samples, {.mode = mode,
                                      .lanes = executor->traits().lanes,
                                      .backward = mode == Mode::train,
                                      .data = InputData{options.input, stored, options.transform.resize, false},
                                      .loss = options.loss,
                                      .optimizer = {},
                                      .groups = std::move(groups),
                                      .precision = options.precision,
                                      .move_running_statistics = false,
                                      .assign = {.reuse = false}});
    it = observed_plans.emplace(key, ObservedPlan{std::move(of_samples), std::move(lowered)}).first;
  }
  ObservedPlan& observed = it->second;
  if (!observed.prepared) went_forward = nullptr, executor->prepare(observed.plan);
  observed.prepared = true;
  return observed;
}

Observation Trainer::observe(Mode mode, const DatasetView& data, std::span<const std::string> names, std::int64_t first,
                             std::int64_t count) {
  std::vector<ObserveRequest> values;
  for (const std::string& name : names) values.push_back({.name = name});
  return observe(mode, data, values, first, count);
}

Observation Trainer::observe(Mode mode, const DatasetView& data, std::span<const ObserveRequest> values, std::int64_t first,
                             std::int64_t count) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_evaluation("observe");
  s.check(data);
  s.check_classes(data);
  if (count == 0 && first >= 0) count = data.size() - first;
  if (first < 0 || count < 1 || first > data.size() - count)
    throw Error(ErrorKind::usage, "data set " + printable(data.name) + " has " + std::to_string(data.size()) +
                                      " samples, an observation asks for " + std::to_string(count) + " from number " +
                                      std::to_string(first) + " on");
  s.check_counted(data, {first, first + count});
  return s.look(mode, {data}, values, {first, first + count});
}

Observation Trainer::State::look(Mode mode, const BoundData& of, std::span<const ObserveRequest> values, kernels::Range samples) {
  const DatasetView& data = of.data;
  State& s = *this;
  const std::int64_t count = samples.end - samples.begin;
  const ObservedPlan& observed = s.observed(mode, count);
  const Plan& p = observed.plan;
  for (const ObserveRequest& v : values)
    if (v.samples < 0)
      throw Error(ErrorKind::usage, "an observation of \"" + printable(v.name) + "\" asks for " + std::to_string(v.samples) + " samples");
    else if (!p.has(v.name) || !norma::readable(p[p.find(v.name)])) unknown(v.name, p);

  const Kept kept(s);
  StepState at = kept.counters();
  at.population = data.size(), at.position = samples.begin;
  s.set_counters(at);
  s.bind(p, of, {});
  const Parts* const gradients_of = s.went_backward;
  s.run(p);
  s.went_backward = gradients_of;  // they come back
  const auto loss = read_struct<LossResult>(*s.executor, p, p.find("loss"));
  const auto counted = static_cast<double>(loss.counted);
  Observation observation{
      .loss = loss.loss_sum / counted, .accuracy = static_cast<double>(loss.correct) / counted, .samples = count, .values = {}};
  std::map<std::string_view, Shape> shapes;  // also of a Flatten and of a Dropout in evaluation, which share their input's value
  for (const Node& n : observed.graph.nodes) shapes.emplace(n.path, n.shape);
  for (const ObserveRequest& v : values) {
    const ValueId id = p.find(v.name);
    const std::int64_t wanted = p[id].in_lanes() && v.samples > 0 ? std::min(v.samples, count) : 0;
    constexpr std::string_view gradient = ".grad";  // has the shape of the value it belongs to
    const auto node =
        shapes.find(v.name.ends_with(gradient) ? std::string_view(v.name).substr(0, v.name.size() - gradient.size()) : v.name);
    Shape shape = node == shapes.end() ? p[id].shape : node->second;
    if (wanted) shape = shape.with_batch(wanted);
    observation.values[v.name] = {shape, read_tensor(*s.executor, p, id, wanted)};
  }
  kept.put_back();
  return observation;
}

const Graph& Trainer::unfused_graph() const {
  const Use use(state_, "Trainer");
  State& s = *use;
  if (!s.plain) s.plain = s.network ? s.network_graph(base_batch) : s.unfused(s.options.batch);
  return *s.plain;
}

}  // namespace norma
