// What a Trainer tells of its running to those who measure or repeat it.
#include <chrono>

#include "kernels/batch_order.h"
#include "norma/error.h"
#include "src/trainer_state.h"

namespace norma {

using kernels::StepState;
using Clock = std::chrono::steady_clock;

std::vector<std::int32_t> Trainer::sample_order(std::int64_t samples, std::int64_t epoch) const {
  const kernels::BatchOrder order({.seed = state_->options.seed, .population = samples, .epoch = epoch}, state_->options.shuffle);
  std::vector<std::int32_t> all;
  for (std::int64_t i = 0; i < samples; ++i) all.push_back(static_cast<std::int32_t>(order[i]));
  return all;
}

std::vector<TimedStep> Trainer::time_calls(Mode mode, const Dataset& data, std::int64_t steps) {
  State& s = *state_;
  s.check(data);
  const std::int64_t batches = data.size() / s.options.batch;
  if (batches == 0)
    throw Error(ErrorKind::usage, "data set " + data.name + " has " + std::to_string(data.size()) + " samples, fewer than a batch of " +
                                      std::to_string(s.options.batch));
  const Plan& p = s.plan(mode, s.options.batch);
  const Checkpoint model_before = model(), training_before = training();
  const std::vector<float> rates(static_cast<std::size_t>(batches), static_cast<float>(learning_rate(s.options.optimizer)));
  s.bind(p, data, rates);

  std::vector<TimedStep> timed;
  StepState at = s.counters();
  at.population = data.size(), at.epoch = 0;
  for (std::int64_t i = 0; i < steps && at.status == 0; ++i) {
    if (i % batches == 0) {
      at.position = at.batch = 0;
      s.set_counters(at);
    }
    const Clock::time_point start = Clock::now();
    TimedStep step{s.executor->run_timed(p), 0};
    step.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    timed.push_back(std::move(step));
    at = s.counters();
  }
  const bool diverged = at.status != 0;
  load_model(model_before);
  load_training(training_before);
  if (diverged)
    throw Error(ErrorKind::diverged, "a loss or gradient was not finite in timed step " + std::to_string(timed.size()) +
                                         "; the parameters are those before; try a lower learning rate");
  return timed;
}

}  // namespace norma
