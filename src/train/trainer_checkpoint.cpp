// Checkpoints of a Trainer: parameters and buffers under their state_dict names; optimizer state and counters.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/model_file.h"
#include "src/files/safetensors_header.h"
#include "src/net/match_tensors.h"
#include "src/plan/lower.h"
#include "src/train/trainer_state.h"

namespace norma {

namespace {

// "exp_avg.conv1.weight", for the part of a flat value that belongs to one parameter.
std::string optimizer_tensor(const kernels::Kept& kept, const std::string& parameter) { return std::string(kept.name) + "." + parameter; }

// Several optimizers keep tensors of the same names: the metadata tell them apart.
// A file without this entry is of a norma that wrote none.
constexpr const char* optimizer_key = "norma.optimizer";

std::vector<std::int64_t> dims_of(const Shape& s) { return {s.begin(), s.end()}; }

std::vector<NeededTensor> needed_by_training(const Trainer::State& s) {
  std::vector<NeededTensor> needed;
  for (const kernels::Kept& value : s.kept())
    for (const ParameterInfo& p : s.parameters)
      if (!p.buffer) needed.push_back({optimizer_tensor(value, p.name), DType::f32, dims_of(p.shape)});
  for (const std::string& name : counter_names()) needed.push_back({name, DType::i64, {}, true});
  return needed;
}

[[noreturn]] void wrong_value(const StoredTensor& t, const std::string& what) {
  throw Error(ErrorKind::data, "checkpoint tensor " + shown_name(t.name) + " " + what);
}

void require_variances(const StoredTensor& t) {
  const std::vector<float> values = t.floats();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0)
      wrong_value(t, "has " + std::to_string(values[i]) + " at " + std::to_string(i) + ": a variance is not below 0; it is damaged");
}

void require_finite(const StoredTensor& t) {
  const std::vector<float> values = t.floats();
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); }))
    wrong_value(t, "has values that are not finite: no training can go on from them");
}

std::int64_t tracked_batches(const StoredTensor* t) {
  if (!t) return 0;
  const std::int64_t n = t->integers().at(0);
  if (n < 0 || n > std::int64_t{1} << 53) wrong_value(*t, "is " + std::to_string(n) + ", which is no count of batches");
  return n;
}

// A cumulative average, whose next value depends on how many there were.
bool cumulative(const Node& node) {
  if (const auto* norm = std::get_if<BatchNormNode>(&node.op)) return !norm->options.momentum;
  const auto* norm = std::get_if<nn::InstanceNorm>(&node.op);
  return norm && !norm->momentum;
}

}  // namespace

Checkpoint Trainer::model() const {
  const Use s(state_, "Trainer");
  Checkpoint model = s->saved_model();
  model.metadata["format"] = "pt";  // libraries of PyTorch's users ask for it
  if (s->network) return model;
  if (!s->plain) s->plain = s->unfused(s->options.batch);
  write_model_net(*s->plain, model.metadata);
  write_model_input(
      {.data = {}, .sample = s->options.input, .stored = s->stored, .transform = s->options.transform, .classes = s->class_names},
      model.metadata);
  return model;
}

Checkpoint Trainer::training() const {
  const Use s(state_, "Trainer");
  s->refuse_within_evaluation("training");
  return s->saved_training();
}

Checkpoint Trainer::State::saved_model() const {
  Checkpoint c;
  for (const ParameterInfo& p : parameters) {
    StoredTensor t{p.name, p.dtype, dims_of(p.shape), std::vector<std::byte>((*base)[id(p.name)].bytes)};
    executor->read(*base, id(p.name).index, t.bytes.data(), t.bytes.size());
    c.tensors.push_back(std::move(t));
  }
  return c;
}

Checkpoint Trainer::State::saved_training() const {
  const State& s = *this;
  Checkpoint c;
  c.metadata[optimizer_key] = name_of(s.options.optimizer);
  append(s.saved_counters(), c);
  for (const kernels::Kept& value : s.kept())
    for (const ParameterInfo& p : s.parameters) {
      if (p.buffer) continue;
      const PlanValue& v = (*s.base)[s.id(p.name)];
      StoredTensor t{optimizer_tensor(value, p.name), DType::f32, dims_of(p.shape), std::vector<std::byte>(v.bytes)};
      s.executor->read(*s.base, s.id(optimizer_value(value)).index, t.bytes.data(), v.bytes, v.offset);
      c.tensors.push_back(std::move(t));
    }
  return c;
}

void Trainer::State::write_model(const MatchedTensors& matched) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (matched.rows[i].how == LoadedTensor::How::kept) continue;
    const int index = id(parameters[i].name).index;
    const StoredTensor* const t = matched.tensors[i];
    if (parameters[i].dtype == DType::i64) {
      const std::int64_t n = tracked_batches(t);
      executor->write(*base, index, &n, sizeof n);
    } else {
      executor->write(*base, index, t->bytes.data(), t->bytes.size());
    }
  }
}

void Trainer::State::write_optimizer(std::span<const StoredTensor* const> tensors) {
  for (const kernels::Kept& value : kept())
    for (const ParameterInfo& p : parameters) {
      if (p.buffer) continue;
      const StoredTensor& t = *tensors.front();
      executor->write(*base, id(optimizer_value(value)).index, t.bytes.data(), t.bytes.size(), (*base)[id(p.name)].offset);
      tensors = tensors.subspan(1);
    }
}

void Trainer::State::put_back(const Checkpoint& model) { write_model(match_tensors(model, needed_by(parameters))); }

void Trainer::State::put_back(const Checkpoint& training, const SavedCounters& counters) {
  write_optimizer(match_tensors(training, needed_by_training(*this)).tensors);
  set(counters);
}

std::vector<std::string> Trainer::load_model(const Checkpoint& model) { return load_model(model, {}).notes; }

LoadReport Trainer::load_model(const Checkpoint& model, const LoadOptions& options) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_evaluation("load_model");
  MatchedTensors matched = match_tensors(model, needed_by(s.parameters), options);
  std::vector<std::string> notes = model.notes, uncounted, begun_anew, kept, ignored;
  if (!matched.note.empty()) notes.push_back(matched.note);
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    const ParameterInfo& p = s.parameters[i];
    const StoredTensor* const t = matched.tensors[i];
    if (matched.rows[i].how == LoadedTensor::How::kept) {
      kept.push_back(p.name);
      continue;
    }
    if (p.buffer && p.name.ends_with("running_var")) require_variances(*t);
    if (p.dtype == DType::i64) tracked_batches(t);
    if (t) continue;
    uncounted.push_back(p.name);
    if (cumulative(s.graph->nodes[static_cast<std::size_t>(p.node)])) begun_anew.push_back(p.name);
  }
  for (const LoadedTensor& row : matched.rows)
    if (row.how == LoadedTensor::How::ignored) ignored.push_back(row.file);
  if (!uncounted.empty()) notes.push_back("the checkpoint has no " + listed(uncounted) + ", read as 0");
  if (!begun_anew.empty()) notes.push_back("training will begin the cumulative averages of " + listed(begun_anew) + " anew");
  if (!kept.empty()) notes.push_back("the checkpoint has no " + listed(kept) + ", kept as the net has it");
  if (!ignored.empty()) notes.push_back("the net has no " + listed(ignored) + ", ignored");
  s.write_model(matched);
  s.went_forward = s.went_backward = nullptr;
  return {std::move(matched.rows), std::move(notes)};
}

void Trainer::load_training(const Checkpoint& training) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("load_training");
  const std::string is = name_of(s.options.optimizer);
  if (const auto was = training.metadata.find(optimizer_key); was != training.metadata.end() && was->second != is) {
    const std::string saved = shown_name(was->second);
    throw Error(ErrorKind::usage, "the checkpoint holds the state of " + saved + ", this run's optimizer is " + is + ": go on with " +
                                      saved + ", or load the model alone");
  }
  const SavedCounters counters = read_counters(training, s.options);
  const MatchedTensors matched = match_tensors(training, needed_by_training(s));
  for (const StoredTensor* t : matched.tensors) {
    if (!t || t->dtype != DType::f32) continue;
    require_finite(*t);
    for (const kernels::Kept& value : s.kept())
      if (value.never_negative && t->name.starts_with(optimizer_tensor(value, ""))) require_variances(*t);
  }
  s.write_optimizer(matched.tensors);
  s.set(counters);
  s.schedule_epochs = 0;
  s.went_forward = s.went_backward = nullptr;
}

void Trainer::reset_optimizer() {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("reset_optimizer");
  for (const kernels::Kept& value : s.kept()) {
    const int index = s.id(optimizer_value(value)).index;
    const std::vector<std::byte> zeros((*s.base)[ValueId{index}].bytes);
    s.executor->write(*s.base, index, zeros.data(), zeros.size());
  }
  kernels::StepState at = s.counters();
  at.optimizer_from = at.step;
  s.set_counters(at);
}

}  // namespace norma
