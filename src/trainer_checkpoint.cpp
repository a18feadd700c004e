// Checkpoints of a Trainer: parameters and buffers under their state_dict names; optimizer state and counters.
#include <algorithm>
#include <bit>

#include "norma/error.h"
#include "src/trainer_state.h"

namespace norma {

using kernels::StepState;

namespace {

constexpr const char* counter_names[] = {"step", "position", "batch", "samples", "correct", "counted"};
constexpr std::int64_t StepState::*counter_fields[] = {&StepState::step,    &StepState::position, &StepState::batch,
                                                       &StepState::samples, &StepState::correct,  &StepState::counted};

std::string text(const std::vector<std::int64_t>& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + ")";
}

// "exp_avg.conv1.weight" as PyTorch calls it, for the flat value's part that belongs to one parameter.
std::string optimizer_tensor(const std::string& value, const std::string& parameter) {
  const char* kind = value == "optimizer/velocity" ? "momentum_buffer." : value == "optimizer/m" ? "exp_avg." : "exp_avg_sq.";
  return kind + parameter;
}

const StoredTensor& require(const Checkpoint& c, const std::string& name, DType dtype, const std::vector<std::int64_t>& shape) {
  const StoredTensor* t = c.find(name);
  if (!t) throw Error(ErrorKind::data, "checkpoint has no tensor " + name + ", which the net needs");
  if (t->shape != shape)
    throw Error(ErrorKind::data, "checkpoint tensor " + name + " is " + text(t->shape) + ", the net needs " + text(shape));
  if (t->dtype != dtype)
    throw Error(ErrorKind::data, "checkpoint tensor " + name + " is " + name_of(t->dtype) + ", the net needs " + name_of(dtype));
  return *t;
}

std::vector<std::int64_t> dims_of(const Shape& s) { return {s.begin(), s.end()}; }

}  // namespace

Checkpoint Trainer::model() const { return Use(state_, "Trainer")->saved_model(); }
Checkpoint Trainer::training() const { return Use(state_, "Trainer")->saved_training(); }

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
  const auto scalar = [&](const std::string& name, std::int64_t v) {
    c.tensors.push_back(StoredTensor::from(name, {}, std::span<const std::int64_t>{&v, 1}));
  };
  const StepState at = s.counters();
  scalar("epochs_done", s.epochs_done);
  scalar("epoch_samples", s.epoch_samples);
  scalar("seed", static_cast<std::int64_t>(at.seed));
  for (std::size_t i = 0; i < std::size(counter_names); ++i) scalar(counter_names[i], at.*counter_fields[i]);
  scalar("loss_sum_bits", std::bit_cast<std::int64_t>(at.loss_sum));
  for (const std::string& value : s.optimizer_values())
    for (const ParameterInfo& p : s.parameters) {
      if (p.buffer) continue;
      const PlanValue& v = (*s.base)[s.id(p.name)];
      StoredTensor t{optimizer_tensor(value, p.name), DType::f32, dims_of(p.shape), std::vector<std::byte>(v.bytes)};
      s.executor->read(*s.base, s.id(value).index, t.bytes.data(), v.bytes, v.offset);
      c.tensors.push_back(std::move(t));
    }
  return c;
}

void Trainer::load_model(const Checkpoint& model) {
  const Use use(state_, "Trainer");
  State& s = *use;
  for (const ParameterInfo& p : s.parameters) require(model, p.name, p.dtype, dims_of(p.shape));
  for (const StoredTensor& t : model.tensors)
    if (std::none_of(s.parameters.begin(), s.parameters.end(), [&](const ParameterInfo& p) { return p.name == t.name; }))
      throw Error(ErrorKind::data,
                  "checkpoint tensor " + t.name + " " + text(t.shape) + " belongs to no layer of the net: it is of another architecture");
  for (const ParameterInfo& p : s.parameters) {
    const StoredTensor& t = *model.find(p.name);
    s.executor->write(*s.base, s.id(p.name).index, t.bytes.data(), t.bytes.size());
  }
}

void Trainer::load_training(const Checkpoint& training) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("load_training");
  const auto scalar = [&](const std::string& name) { return require(training, name, DType::i64, {}).integers().at(0); };
  StepState at;
  at.seed = static_cast<std::uint64_t>(scalar("seed"));
  if (at.seed != s.options.seed)
    throw Error(ErrorKind::usage, "the checkpoint was trained with seed " + std::to_string(at.seed) + ", this run has seed " +
                                      std::to_string(s.options.seed));
  for (std::size_t i = 0; i < std::size(counter_names); ++i) at.*counter_fields[i] = scalar(counter_names[i]);
  at.loss_sum = std::bit_cast<double>(scalar("loss_sum_bits"));
  const std::int64_t epochs = scalar("epochs_done"), samples = scalar("epoch_samples");
  for (const std::string& value : s.optimizer_values())
    for (const ParameterInfo& p : s.parameters)
      if (!p.buffer) require(training, optimizer_tensor(value, p.name), DType::f32, dims_of(p.shape));
  for (const std::string& value : s.optimizer_values())
    for (const ParameterInfo& p : s.parameters) {
      if (p.buffer) continue;
      const StoredTensor& t = *training.find(optimizer_tensor(value, p.name));
      s.executor->write(*s.base, s.id(value).index, t.bytes.data(), t.bytes.size(), (*s.base)[s.id(p.name)].offset);
    }
  s.set_counters(at);
  s.epochs_done = epochs;
  s.schedule_epochs = 0;
  s.epoch_samples = samples;
}

}  // namespace norma
