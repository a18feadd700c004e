#include "apps/norma/system/signals.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace norma::app {
namespace {

std::atomic<int> received{0}, unsaved{0};
std::atomic<const char*> last_words{""};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free,
              "a signal handler may touch only lock-free atomics");

void say(const char* text) { [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text)); }

void on_signal(int signal) {
  int none = 0;
  const bool first = received.compare_exchange_strong(none, signal);
  const bool held = unsaved.load() > 0;
  const int saved = errno;
  if (first && held) return;
  say(first ? "\nnorma: stopped; " : "\nnorma: second signal, exiting at once; ");
  say(held ? "unsaved work is lost, saved files are unchanged" : last_words.load());
  say("\n");
  errno = saved;
  _exit(128 + signal);
}

}  // namespace

void watch_signals(const char* words) {
  say_on_signal(words);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

void say_on_signal(const char* words) { last_words = words; }

int stop_signal() noexcept { return received.load(); }

void leave(int signal) noexcept {
  say("\nnorma: stopped; ");
  say(last_words.load());
  say("\n");
  _exit(128 + signal);
}

Unsaved::Unsaved() noexcept { ++unsaved; }
Unsaved::~Unsaved() { --unsaved; }
bool Unsaved::any() noexcept { return unsaved.load() > 0; }

}  // namespace norma::app
