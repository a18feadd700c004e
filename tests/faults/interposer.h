// Shared by the interposer's files: settings, messages, and the function behind one that is replaced.
#pragma once
#include <dlfcn.h>

#include <atomic>
#include <cstddef>

#pragma GCC visibility push(hidden)  // the program that is disturbed must not meet these names
namespace faults {

enum class Kind { none, enospc, eio, eio_on, eintr, half, kill_before, kill_after, on };

struct Settings {
  const char* folder = nullptr;
  std::size_t folder_length = 0;
  long call = 0, allocation = 0;
  Kind kind = Kind::none;
  int calls = -1, allocations = -1;  // descriptors of the two lists
};

extern Settings settings;
extern std::atomic<bool> begun;

void say(int descriptor, const char* text);
[[noreturn]] void give_up(const char* what);

template <class F>
F next(const char* name) {
  void* const f = dlsym(RTLD_NEXT, name);
  if (!f) give_up(name);
  return reinterpret_cast<F>(f);
}

}  // namespace faults
#pragma GCC visibility pop
