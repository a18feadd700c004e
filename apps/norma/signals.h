// SIGINT, SIGTERM and SIGHUP as a request to stop at the next safe point; a second one ends the process at once.
#pragma once

namespace norma::app {

// A signal that was set to be ignored when the process started (nohup, a background job) stays so.
void watch_signals();

// The signal that asked to stop, or 0. The exit code for it is 128 + its number.
int stop_signal() noexcept;

}  // namespace norma::app
