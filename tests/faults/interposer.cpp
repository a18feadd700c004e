// Makes one chosen call of a program fail: put before libc by LD_PRELOAD. tests/scripts/faults.sh describes its use.
//   NORMA_FAULT_FOLDER     only calls on files below this folder count
//   NORMA_FAULT_CALL=K     the K-th of them, from 1, is disturbed
//   NORMA_FAULT_KIND       enospc, eio: it fails so; eio-on: it and all after it; eintr: it is interrupted, once; short: it reads or writes
//                          half of what it was asked to; kill-before, kill-after: the process is killed
//   NORMA_FAULT_ALLOCATION=K         the K-th allocation after main began to load fails; with NORMA_FAULT_KIND=on all after it, too
//   NORMA_FAULT_FROM=main            allocations count from main on, not from the program's initialisers on
//   NORMA_FAULT_CALLS=FILE           a line a call: its number, its name, the file
//   NORMA_FAULT_ALLOCATIONS=FILE     a line for the first allocation of each call stack: its number
// Calls by libstdc++ and other libraries are seen. Calls that libc makes inside itself are not: so fopen is interposed like open.
// file_calls.cpp replaces the calls on files. This file has the settings, the start of the program and the allocations.
#include "tests/faults/interposer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace faults {

Settings settings;
std::atomic<bool> begun{false};

void say(int descriptor, const char* text) {
  const auto ignored = syscall(SYS_write, descriptor, text, strlen(text));
  static_cast<void>(ignored);
}

[[noreturn]] void give_up(const char* what) {
  say(2, "interposer: ");
  say(2, what);
  say(2, "\n");
  _exit(99);
}

}  // namespace faults

using namespace faults;

namespace {

std::atomic<bool> allocations_count{false};
int (*program)(int, char**, char**) = nullptr;
std::atomic<long> allocations{0};

int list(const char* variable) {
  const char* file = getenv(variable);
  if (!file) return -1;
  const long d = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  if (d < 0) give_up(file);
  const long high = syscall(SYS_fcntl, d, F_DUPFD_CLOEXEC, 900);  // out of the way of the numbers the program gets
  syscall(SYS_close, d);
  return static_cast<int>(high);
}

long number(const char* variable) {
  const char* text = getenv(variable);
  return text ? atol(text) : 0;
}

void begin() {
  struct Name {
    const char* text;
    Kind kind;
  };
  constexpr Name names[] = {
      {"enospc", Kind::enospc}, {"eio", Kind::eio}, {"eio-on", Kind::eio_on},           {"eintr", Kind::eintr},
      {"short", Kind::half},    {"on", Kind::on},   {"kill-before", Kind::kill_before}, {"kill-after", Kind::kill_after},
      {"once", Kind::none}};
  settings.folder = getenv("NORMA_FAULT_FOLDER");
  settings.folder_length = settings.folder ? strlen(settings.folder) : 0;
  settings.call = number("NORMA_FAULT_CALL");
  settings.allocation = number("NORMA_FAULT_ALLOCATION");
  if (const char* kind = getenv("NORMA_FAULT_KIND")) {
    bool known = false;
    for (const Name& n : names)
      if (strcmp(kind, n.text) == 0) settings.kind = n.kind, known = true;
    if (!known) give_up("NORMA_FAULT_KIND is none of those it knows");
  }
  settings.calls = list("NORMA_FAULT_CALLS");
  settings.allocations = list("NORMA_FAULT_ALLOCATIONS");
  begun = true;
  allocations_count = !getenv("NORMA_FAULT_FROM");
}

int begin_main(int argc, char** argv, char** environment) {
  allocations_count = true;
  return program(argc, argv, environment);
}

// ---- allocations

thread_local bool inside __attribute__((tls_model("initial-exec"))) = false;

struct Stack {
  std::uint64_t hash = 14695981039346656037u;
  int depth = 0;
};

_Unwind_Reason_Code add_frame(_Unwind_Context* context, void* to) {
  Stack& stack = *static_cast<Stack*>(to);
  stack.hash = (stack.hash ^ _Unwind_GetIP(context)) * 1099511628211u;
  return ++stack.depth < 64 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

// True the first time that a call stack comes by.
bool new_stack() {
  constexpr std::size_t slots = 1 << 18;
  static std::atomic<std::uint64_t> seen[slots];
  Stack stack;
  _Unwind_Backtrace(add_frame, &stack);
  const std::uint64_t hash = stack.hash | 1;
  for (std::size_t i = hash % slots;; i = (i + 1) % slots) {
    std::uint64_t held = 0;
    if (seen[i].compare_exchange_strong(held, hash)) return true;
    if (held == hash) return false;
  }
}

bool fails() {
  if (!allocations_count || inside) return false;
  const long number = ++allocations;
  if (settings.allocations >= 0) {
    inside = true;
    if (new_stack()) {
      char line[32];
      snprintf(line, sizeof line, "%ld\n", number);
      say(settings.allocations, line);
    }
    inside = false;
  }
  if (settings.allocation == 0 || number < settings.allocation) return false;
  if (number > settings.allocation && settings.kind != Kind::on) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace

extern "C" {

void* malloc(size_t n) { return fails() ? nullptr : __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return fails() ? nullptr : __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return fails() ? nullptr : __libc_realloc(p, n); }
void* memalign(size_t alignment, size_t n) { return fails() ? nullptr : __libc_memalign(alignment, n); }
void* aligned_alloc(size_t alignment, size_t n) { return fails() ? nullptr : __libc_memalign(alignment, n); }
int posix_memalign(void** p, size_t alignment, size_t n) {
  if (fails()) return ENOMEM;
  *p = __libc_memalign(alignment, n);
  return *p ? 0 : ENOMEM;
}

// The libraries are loaded and initialised; the program's own initialisers and main come now.
int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(), void (*fini)(), void (*rtld)(), void* end) {
  using Start = int (*)(int (*)(int, char**, char**), int, char**, void (*)(), void (*)(), void (*)(), void*);
  const Start real = next<Start>("__libc_start_main");
  begin();
  program = main;
  return real(begin_main, argc, argv, init, fini, rtld, end);
}

}  // extern "C"
