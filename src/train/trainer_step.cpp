// Steps of one's own: on a batch that the caller holds, whole or in three parts.
#include <cmath>

#include "norma/error.h"
#include "norma/text.h"
#include "src/plan/lower.h"
#include "src/train/trainer_state.h"

namespace norma {

using kernels::LossResult;
using kernels::StepState;

namespace {

// The Calls of a Plan from one number to another. The values stay where they are.
Plan cut(const Plan& plan, std::size_t begin, std::size_t end, bool by_pack) {
  Plan part = plan;
  part.calls.assign(plan.calls.begin() + static_cast<std::ptrdiff_t>(begin), plan.calls.begin() + static_cast<std::ptrdiff_t>(end));
  schedule(part, by_pack);
  return part;
}

// While it lives, the counters are those of a step on a set of its own; then they are fit's again.
class OwnStep {
 public:
  // pass: of a step that has several. Each draws other dropout masks: those of steps that no run reaches.
  OwnStep(Trainer::State& s, std::int64_t samples, std::int64_t pass = 0) : state_(s), fits_(s.counters()) {
    StepState at = fits_;
    at.step += pass << 24;
    at.population = samples;
    at.position = at.batch = at.status = at.samples = at.correct = at.counted = 0, at.loss_sum = 0;
    s.set_counters(at);
  }
  ~OwnStep() {
    try {
      state_.set_counters(fits_);
    } catch (...) {  // only a device that is lost
    }
  }
  OwnStep(const OwnStep&) = delete;
  OwnStep& operator=(const OwnStep&) = delete;

  bool finite() const { return state_.counters().status == 0; }
  void count() { ++fits_.step; }
  std::int64_t number() const { return fits_.step + 1; }

 private:
  Trainer::State& state_;
  StepState fits_;
};

[[noreturn]] void diverged(Trainer::State& s, const OwnStep& step, const std::string& cause) {
  const std::string fault = s.first_fault();
  throw Error(ErrorKind::diverged, "training diverged at step " + std::to_string(step.number()) + ": " + cause +
                                       "; the parameters are those before this step" + (fault.empty() ? "" : ", where " + fault) +
                                       s.remedy(step.number() - 1));
}

}  // namespace

double Trainer::State::rate_of(std::int64_t step, std::int64_t batches, std::int64_t total) const {
  if (fixed_rate) return *fixed_rate;
  return learning_rate(options.optimizer) * options.schedule.factor(step, options.steps_per_epoch ? options.steps_per_epoch : batches,
                                                                    options.total_steps ? options.total_steps : total);
}

void Trainer::State::check_rate(double rate) const {
  if (!(rate >= 0) || !fits_float(rate))
    throw Error(ErrorKind::usage, "a learning rate must be 0 or a float above it, got " + std::to_string(rate));
  for (const double factor : factors)
    if (!fits_float(rate * factor))
      throw Error(ErrorKind::usage,
                  "a learning rate of " + std::to_string(rate) + " times a group's " + std::to_string(factor) + " is no float");
}

double Trainer::State::rate_of_next(const StepOptions& o) const {
  if (o.rate) return check_rate(*o.rate), *o.rate;
  if (fixed_rate) return *fixed_rate;
  const bool warms_up = options.schedule.warmup_epochs > 0, constant = options.schedule.kind == Schedule::Kind::constant && !warms_up;
  if (constant) return learning_rate(options.optimizer);
  if (options.total_steps == 0)
    throw Error(ErrorKind::usage, "the schedule depends on the number of steps: give TrainerOptions::total_steps, or a rate with the step");
  if (options.steps_per_epoch == 0 && (warms_up || options.schedule.kind == Schedule::Kind::step))
    throw Error(ErrorKind::usage, "the schedule counts epochs: give TrainerOptions::steps_per_epoch, or a rate with the step");
  return rate_of(counters().step, options.steps_per_epoch ? options.steps_per_epoch : options.total_steps, options.total_steps);
}

void Trainer::set_rate(std::optional<double> rate) {
  const Use s(state_, "Trainer");
  if (rate) s->check_rate(*rate);
  s->fixed_rate = rate;
}

void Trainer::State::bind_rate(const Plan& p, double rate) {
  own_rate = static_cast<float>(rate);
  bind_rates(p, {&own_rate, 1});
}

void Trainer::State::bind_own(const Plan& p, const DatasetView& data, double rate) {
  own_rate = static_cast<float>(rate);
  bind(p, {data}, {&own_rate, 1});
}

std::string Trainer::State::why_not_finite(const Plan& p) {
  try {
    run(p, 1, true);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::diverged) throw;
    return e.what();
  }
  return "a loss, gradient or variance was not finite";
}

StepResult Trainer::step(const Batch& batch, const StepOptions& options) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("step");
  const DatasetView data = view_of(batch, s.options.input);
  s.require_trained();
  s.check(data);
  s.check_counted(data);
  const double rate = s.rate_of_next(options);
  const Plan& p = s.plan(Mode::train, data.size(), State::Order::stored);
  s.bind_own(p, data, rate);
  OwnStep step(s, data.size());
  s.has_gradients = true;
  s.run(p, 1, s.options.check_each);
  if (!step.finite()) diverged(s, step, s.why_not_finite(p));
  const auto loss = read_struct<LossResult>(*s.executor, p, p.find("loss"));
  step.count();
  return {.loss = loss.loss, .samples = data.size(), .counted = loss.counted, .correct = loss.correct, .rate = rate};
}

// The net without a loss, and without reuse of memory, so that its values outlast the forward part.
const Trainer::State::Parts& Trainer::State::parts_of(std::int64_t samples) {
  auto known = parts.find(samples);
  if (known != parts.end() && known->second.prepared) return known->second;
  if (known == parts.end()) {
    Graph of_samples = network ? network_graph(samples) : unfused(samples);
    if (options.fuse) of_samples = fuse(std::move(of_samples));
    const bool by_pack = executor->traits().by_pack(samples);
    const Plan whole = lower(
        of_samples, {.mode = Mode::train,
                     .lanes = executor->traits().lanes,
                     .backward = true,
                     .data = network ? std::nullopt : std::optional(InputData{options.input, stored, options.transform.resize, false}),
                     .loss = {},
                     .optimizer = options.optimizer,
                     .groups = options.groups,
                     .clip = options.clip,
                     .precision = options.precision,
                     .by_pack = by_pack,
                     .assign = {.reuse = false}});
    std::size_t update = whole.calls.size();  // the optimizer's come last
    const auto moves = [](const Call& c) {
      return std::holds_alternative<kernels::Update>(c) || std::holds_alternative<kernels::ClipGradients>(c);
    };
    while (update > whole.backward_from && moves(whole.calls[update - 1].call)) --update;
    known = parts
                .emplace(samples, Parts{.forward = cut(whole, 0, whole.backward_from, by_pack),
                                        .backward = cut(whole, whole.backward_from, update, by_pack),
                                        .update = cut(whole, update, whole.calls.size(), by_pack)})
                .first;
  }
  Parts& made = known->second;  // stays where it is, also if there is no memory for all of it: the Executor knows some
  went_forward = nullptr;       // memory may move
  for (const Plan* p : {&made.forward, &made.backward, &made.update}) executor->prepare(*p);
  made.prepared = true;
  return made;
}

std::vector<float> Trainer::forward(const Batch& batch) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("forward");
  const DatasetView data = view_of(batch, s.options.input);
  s.check(data, false);
  const State::Parts& parts = s.parts_of(data.size());
  s.bind_own(parts.forward, data, 0);
  s.go_forward(parts);
  return read_tensor(*s.executor, parts.forward, parts.forward.find("y"));
}

void Trainer::State::go_forward(const Parts& of) {
  const std::int64_t pass = went_backward ? passes : 0;
  const OwnStep step(*this, of.forward.samples, pass);
  const Parts* const gradients_of = went_backward;
  run(of.forward);
  went_forward = &of, forward_pass = pass, went_backward = gradients_of;
}

void Trainer::State::check_backward(bool accumulate) const {
  refuse_within_step("backward");
  require_trained();
  if (!went_forward)
    throw Error(ErrorKind::usage, "backward comes after forward, and nothing of this Trainer may run between: its values are gone");
  if (accumulate && !went_backward) throw Error(ErrorKind::usage, "there are no gradients of a backward to which this one could be added");
}

void Trainer::backward(std::span<const float> output_gradient, bool accumulate) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_network();
  s.check_backward(accumulate);
  const Plan& p = s.went_forward->backward;
  write_tensor(*s.executor, p, p.find("dy"), output_gradient);
  s.go_backward(accumulate);
}

void Trainer::State::go_backward(bool accumulate) {
  State& s = *this;
  const Parts& of = *went_forward;
  const Plan& p = of.backward;
  const ValueId gradients = s.id("gradients");
  std::vector<float> sum((*s.base)[s.id("parameters")].bytes / sizeof(float)), added(sum.size());
  const auto read = [&](std::vector<float>& to) { s.executor->read(*s.base, gradients.index, to.data(), to.size() * sizeof(float)); };
  if (accumulate) read(sum);
  OwnStep step(s, p.samples, s.forward_pass);
  s.has_gradients = true;
  s.run(p, 1, s.options.check_each);
  if (!step.finite()) diverged(s, step, "a gradient or variance was not finite in backward");
  if (accumulate) {
    read(added);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += added[i];
    s.executor->write(*s.base, gradients.index, sum.data(), sum.size() * sizeof(float));
  }
  s.went_backward = &of, s.passes = accumulate ? s.passes + 1 : 1;
}

double Trainer::update(const StepOptions& options) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("update");
  if (!s.went_backward) throw Error(ErrorKind::usage, "update comes after backward: there are no gradients of one");
  const double rate = s.rate_of_next(options);
  const Plan& p = s.went_backward->update;
  std::vector<float> gradients((*s.base)[s.id("parameters")].bytes / sizeof(float));
  s.executor->read(*s.base, s.id("gradients").index, gradients.data(), gradients.size() * sizeof(float));
  OwnStep step(s, p.samples);
  if (!std::ranges::all_of(gradients, [](float g) { return std::isfinite(g); }))
    diverged(s, step, "a gradient is not finite");  // of a sum, or one that set_gradient wrote
  s.bind_rate(p, rate);
  s.run(p);
  s.executor->synchronize();
  step.count();
  return rate;
}

void Trainer::set_gradient(std::string_view parameter, std::span<const float> values) {
  const Use use(state_, "Trainer");
  State& s = *use;
  s.refuse_within_step("set_gradient");
  if (!s.went_backward) throw Error(ErrorKind::usage, "set_gradient comes after backward and before update");
  const std::string name(parameter);
  const ValueId gradient = s.readable(name + ".grad");
  if (rule_of(s.options.groups, name).frozen())
    throw Error(ErrorKind::usage, "\"" + printable(name) + "\" is frozen: no update reads its gradient");
  write_tensor(*s.executor, *s.base, gradient, values);
}

}  // namespace norma
