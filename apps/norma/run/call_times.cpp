#include "apps/norma/run/call_times.h"

#include <algorithm>
#include <cmath>

#include "norma/error.h"

namespace norma::app {

void time_calls(RunReport& report, Trainer& trainer, const Dataset& train, std::int64_t batch, double seconds) {
  constexpr std::int64_t least = 3, most = 16;
  if (report.epochs.empty() || train.size() < batch) return;
  double trained = 0;
  for (const EpochMetrics& m : report.epochs) trained += m.train_seconds;
  const double budget = std::min(std::max(0.15, 0.02 * trained), seconds),
               step = static_cast<double>(batch) / report.epochs.back().samples_per_second;
  const double fit_in = std::isfinite(step) && step > 0 ? budget / step : 0;
  if (fit_in < static_cast<double>(least)) return;
  const auto steps = static_cast<std::int64_t>(std::min(fit_in, static_cast<double>(most)));
  std::vector<TimedStep> timed;
  try {
    timed = trainer.time_calls(Mode::train, train, steps);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::diverged) throw;
    return;
  }
  timed.erase(timed.begin());  // it fills the caches
  report.timed_steps = static_cast<std::int64_t>(timed.size());
  for (std::size_t call = 0; call < report.plan.size(); ++call) {
    std::vector<double> of_call;
    for (const TimedStep& t : timed) of_call.push_back(t.calls.at(call));
    const auto middle = of_call.begin() + static_cast<std::ptrdiff_t>(of_call.size() / 2);
    std::ranges::nth_element(of_call, middle);
    report.call_seconds.push_back(*middle);
  }
}

}  // namespace norma::app
