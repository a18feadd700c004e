// Functions of a Trainer for those who time or repeat its steps.
#include <chrono>
#include <limits>

#include "kernels/batch_order.h"
#include "norma/error.h"
#include "norma/text.h"
#include "src/train/trainer_state.h"

namespace norma {

using kernels::StepState;

namespace {}  // namespace

std::vector<std::int32_t> Trainer::sample_order(std::int64_t samples, std::int64_t epoch) const {
  const Use use(state_, "Trainer");
  if (samples < 0 || samples > std::numeric_limits<std::int32_t>::max() || epoch < 0)
    throw Error(ErrorKind::usage, "there is no order of " + std::to_string(samples) + " samples in epoch " + std::to_string(epoch));
  const kernels::BatchOrder order({.seed = state_->options.seed, .population = samples, .epoch = epoch}, state_->options.shuffle);
  std::vector<std::int32_t> all;
  for (std::int64_t i = 0; i < samples; ++i) all.push_back(static_cast<std::int32_t>(order[i]));
  return all;
}

namespace {

// So many are never waited for.
constexpr std::int64_t most_timed = 1'000'000'000;

void can_be_timed(const char* what, std::int64_t n) {
  if (n < 0) throw Error(ErrorKind::usage, std::string(what) + " to time must not be negative, got " + std::to_string(n));
  if (n > most_timed)
    throw Error(ErrorKind::usage,
                std::string(what) + " to time must be at most " + std::to_string(most_timed) + ", got " + std::to_string(n));
}

// Whole batches of a set, as training takes them, until a step is not finite; then the Trainer is as it was before.
class Rehearsal {
 public:
  Rehearsal(Trainer& trainer, Trainer::State& state, const DatasetView& data)
      : state_(state), data_(data, state.promise()), batches_(data.size() / state.options.batch) {
    state.refuse_within_step("timing steps");
    state.check(data);
    state.check_classes(data);
    if (batches_ == 0)
      throw Error(ErrorKind::usage, "data set " + printable(data.name) + " has " + std::to_string(data.size()) +
                                        " samples, fewer than a batch of " + std::to_string(state.options.batch));
    model_ = trainer.model(), training_ = trainer.training(), counters_ = state.saved_counters();
    rates_.assign(static_cast<std::size_t>(batches_), static_cast<float>(learning_rate(state.options.optimizer)));
    at_ = state.counters();
    at_.population = data.size(), at_.epoch = 0;
  }
  std::int64_t batches() const { return batches_; }
  void bind(const Plan& plan) { state_.bind(plan, data_, rates_); }

  // Makes room for `steps` steps: an epoch with fewer left begins anew.
  void make_room(std::int64_t steps) {
    if (done_ + steps <= batches_ && begun_) return;
    at_.position = at_.batch = done_ = 0;
    begun_ = true;
    state_.set_counters(at_);
  }
  // After them; false: one was not finite.
  bool finite(std::int64_t steps) {
    done_ += steps, all_ += steps;
    at_ = state_.counters();
    return at_.status == 0;
  }
  // Throws Error(diverged) if a step was not finite.
  void end() {
    const bool diverged = at_.status != 0;
    state_.put_back(model_);
    state_.put_back(training_, counters_);
    if (diverged)
      throw Error(ErrorKind::diverged, "a loss or gradient was not finite in timed step " + std::to_string(all_) +
                                           "; the parameters are those before" + state_.remedy(at_.step));
  }

 private:
  Trainer::State& state_;
  Trainer::State::BoundData data_;
  std::int64_t batches_, done_ = 0, all_ = 0;
  bool begun_ = false;
  Checkpoint model_, training_;
  SavedCounters counters_;
  std::vector<float> rates_;
  StepState at_;
};

}  // namespace

std::vector<TimedStep> Trainer::time_calls(Mode mode, const DatasetView& data, std::int64_t steps) {
  can_be_timed("steps", steps);
  const Use use(state_, "Trainer");
  State& s = *use;
  Rehearsal rehearsal(*this, s, data);
  const Plan& p = s.plan(mode, s.options.batch);
  rehearsal.bind(p);
  std::vector<TimedStep> timed;
  for (std::int64_t i = 0; i < steps; ++i) {
    rehearsal.make_room(1);
    const Clock::time_point start = Clock::now();
    s.went_forward = s.went_backward = nullptr;
    const Within within(s.within_run);
    TimedStep step{s.executor->run_timed(p), 0};
    step.seconds = since(start);
    timed.push_back(std::move(step));
    if (!rehearsal.finite(1)) break;
  }
  rehearsal.end();
  return timed;
}

std::vector<double> Trainer::time_steps(const DatasetView& data, std::int64_t steps, std::int64_t bursts) {
  can_be_timed("steps", steps), can_be_timed("bursts", bursts);
  const Use use(state_, "Trainer");
  State& s = *use;
  Rehearsal rehearsal(*this, s, data);
  if (steps < 1 || steps > rehearsal.batches())
    throw Error(ErrorKind::usage, std::to_string(steps) + " steps at a time: an epoch of " + printable(data.name) + " has " +
                                      std::to_string(rehearsal.batches()) + " whole batches of " + std::to_string(s.options.batch));
  const Plan& p = s.plan(Mode::train, s.options.batch);
  rehearsal.bind(p);
  std::vector<double> seconds;
  for (std::int64_t burst = 0; burst < bursts; ++burst) {
    rehearsal.make_room(steps);
    s.executor->synchronize();
    const Clock::time_point start = Clock::now();
    s.run(p, steps, s.options.check_each);
    s.executor->synchronize();
    seconds.push_back(since(start) / static_cast<double>(steps));
    if (!rehearsal.finite(steps)) break;
  }
  rehearsal.end();
  return seconds;
}

std::vector<double> Trainer::time_evaluations(const DatasetView& data, std::int64_t times) {
  const Use use(state_, "Trainer");
  can_be_timed("times", times);
  use->refuse_within_evaluation("timing evaluations");
  const State::BoundData bound(data, use->promise());
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < times; ++i) seconds.push_back(use->measure(bound).seconds);
  return seconds;
}

}  // namespace norma
