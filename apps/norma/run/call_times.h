// What each Call of a run's training step takes, for its report.
#pragma once
#include <cstdint>

#include "apps/norma/report/run_page.h"

namespace norma::app {

// Fills call_seconds and timed_steps from a few more steps, one by one, for at most 0.15 s or a fiftieth of what the run has trained, and
// at most so many seconds; leaves them empty where no three steps fit in, the set has no whole batch, or a step was not finite. The trainer
// is left as it was.
void time_calls(RunReport& report, Trainer& trainer, const Dataset& train, std::int64_t batch, double seconds);

}  // namespace norma::app
