// Times of each Call of a run's training step, for its report.
#pragma once
#include <cstdint>

#include "apps/norma/report/run_page.h"

namespace norma::app {

// Fills call_seconds and timed_steps from a few more steps, one by one. It runs for at most `seconds`, and at most the larger of 0.15 s and
// a fiftieth of the training time. Leaves them empty if fewer than three steps fit, the set has no whole batch, or a step was not finite.
// The trainer's state does not change.
void time_calls(RunReport& report, Trainer& trainer, const Dataset& train, std::int64_t batch, double seconds);

}  // namespace norma::app
