// SIGINT, SIGTERM and SIGHUP. A command that does not watch them ends as any program does. A command that watches them prints what is lost
// and ends at once, unless it holds unsaved work. With unsaved work the first signal requests a stop at the next safe point, and a second
// one ends the process.
#pragma once

namespace norma::app {

// Watches the signals. One that was ignored when the process started (nohup, a background job) stays ignored. words: printed where a signal
// ends the process at once. They must live as long as the process, here and below.
void watch_signals(const char* words);
void say_on_signal(const char* words);

// The signal that asked to stop, or 0. The exit code for it is 128 + its number.
int stop_signal() noexcept;

// Prints the words and ends the process, as a signal does without unsaved work. For a caller that waits for threads which ignore signals.
[[noreturn]] void leave(int signal) noexcept;

// Work that is not on disk. While there is one, on any thread, the first signal only sets stop_signal().
class Unsaved {
 public:
  Unsaved() noexcept;
  ~Unsaved();
  Unsaved(const Unsaved&) = delete;
  Unsaved& operator=(const Unsaved&) = delete;
  static bool any() noexcept;
};

}  // namespace norma::app
