// The calls on files, put before those of libc: each is disturbed where the settings say so.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

#include "tests/faults/interposer.h"

using namespace faults;

namespace {

std::atomic<long> calls{0};
constexpr int most_descriptors = 1024;
std::atomic<bool> watched[most_descriptors];

bool below_folder(const char* path) {
  if (!begun || !settings.folder || !path) return false;
  char whole[2 * PATH_MAX];
  if (path[0] == '/') {
    snprintf(whole, sizeof whole, "%s", path);
  } else {
    char here[PATH_MAX];
    if (syscall(SYS_getcwd, here, sizeof here) < 0) return false;
    snprintf(whole, sizeof whole, "%s/%s", here, path);
  }
  return strncmp(whole, settings.folder, settings.folder_length) == 0 &&
         (whole[settings.folder_length] == '/' || whole[settings.folder_length] == 0);
}

bool is_watched(int descriptor) { return begun && descriptor >= 0 && descriptor < most_descriptors && watched[descriptor]; }

int watch(int descriptor, bool yes) {
  if (descriptor >= 0 && descriptor < most_descriptors) watched[descriptor] = yes;
  return descriptor;
}

// Path of an open file.
struct Path {
  char text[PATH_MAX];
  explicit Path(int descriptor) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const long n = syscall(SYS_readlink, link, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
  }
};

// The disturbance of this call: what must happen before it, instead of it and after it.
class Fault {
 public:
  Fault(const char* name, const char* file) {
    const long number = ++calls;
    if (settings.calls >= 0) {
      char line[PATH_MAX + 64];
      snprintf(line, sizeof line, "%ld %s %s\n", number, name, file ? file : "");
      say(settings.calls, line);
    }
    if (settings.call == 0) return;
    if (number == settings.call) kind_ = settings.kind;
    if (number > settings.call && settings.kind == Kind::eio_on) kind_ = Kind::eio_on;
    if (kind_ == Kind::kill_before) syscall(SYS_kill, getpid(), SIGKILL);
  }
  Fault(const char* name, int descriptor) : Fault(name, Path(descriptor).text) {}
  ~Fault() {
    if (kind_ == Kind::kill_after) syscall(SYS_kill, getpid(), SIGKILL);
  }
  // Non-zero: the call fails with it.
  int error() const {
    switch (kind_) {
      case Kind::enospc: return ENOSPC;
      case Kind::eio:
      case Kind::eio_on: return EIO;
      case Kind::eintr: return EINTR;
      default: return 0;
    }
  }
  std::size_t count(std::size_t asked) const { return kind_ == Kind::half && asked > 1 ? asked / 2 : asked; }

 private:
  Kind kind_ = Kind::none;
};

// `call` disturbed, where it is about files that count.
template <class Result, class Target, class Call>
Result disturbed(bool counts, const char* name, Target target, Result failure, Call call) {
  if (!counts) return call([](std::size_t n) { return n; });
  const Fault fault(name, target);
  if (const int error = fault.error()) {
    errno = error;
    return failure;
  }
  return call([&](std::size_t n) { return fault.count(n); });
}

mode_t mode_of(int flags, va_list arguments) { return flags & (O_CREAT | O_TMPFILE) ? static_cast<mode_t>(va_arg(arguments, int)) : 0; }

int open_any(const char* name, int folder, const char* path, int flags, mode_t mode) {
  const bool counts = below_folder(path);
  return disturbed(counts, name, path, -1,
                   [&](auto) { return watch(static_cast<int>(syscall(SYS_openat, folder, path, flags, mode)), counts); });
}

FILE* fopen_any(const char* name, const char* path, const char* mode) {
  static const auto real = next<FILE* (*)(const char*, const char*)>("fopen");
  const bool counts = below_folder(path);
  return disturbed(counts, name, path, static_cast<FILE*>(nullptr), [&](auto) {
    FILE* const file = real(path, mode);
    if (file) watch(fileno(file), counts);
    return file;
  });
}

long result(long value) { return value; }

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_any("open", AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_any("open", AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_any("openat", folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_any("openat", folder, path, flags, mode);
}
int creat(const char* path, mode_t mode) { return open_any("creat", AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
FILE* fopen(const char* path, const char* mode) { return fopen_any("fopen", path, mode); }
FILE* fopen64(const char* path, const char* mode) { return fopen_any("fopen", path, mode); }

ssize_t read(int d, void* to, size_t n) {
  return disturbed(is_watched(d), "read", d, ssize_t{-1}, [&](auto count) { return result(syscall(SYS_read, d, to, count(n))); });
}
ssize_t pread(int d, void* to, size_t n, off_t at) {
  return disturbed(is_watched(d), "pread", d, ssize_t{-1}, [&](auto count) { return result(syscall(SYS_pread64, d, to, count(n), at)); });
}
ssize_t pread64(int d, void* to, size_t n, off_t at) { return pread(d, to, n, at); }
ssize_t write(int d, const void* from, size_t n) {
  return disturbed(is_watched(d), "write", d, ssize_t{-1}, [&](auto count) { return result(syscall(SYS_write, d, from, count(n))); });
}
ssize_t pwrite(int d, const void* from, size_t n, off_t at) {
  return disturbed(is_watched(d), "pwrite", d, ssize_t{-1},
                   [&](auto count) { return result(syscall(SYS_pwrite64, d, from, count(n), at)); });
}
ssize_t pwrite64(int d, const void* from, size_t n, off_t at) { return pwrite(d, from, n, at); }
ssize_t writev(int d, const struct iovec* parts, int n) {
  return disturbed(is_watched(d), "writev", d, ssize_t{-1},
                   [&](auto count) { return result(syscall(SYS_writev, d, parts, static_cast<int>(count(static_cast<std::size_t>(n))))); });
}
ssize_t readv(int d, const struct iovec* parts, int n) {
  return disturbed(is_watched(d), "readv", d, ssize_t{-1},
                   [&](auto count) { return result(syscall(SYS_readv, d, parts, static_cast<int>(count(static_cast<std::size_t>(n))))); });
}
size_t fread(void* to, size_t size, size_t n, FILE* file) {
  static const auto real = next<size_t (*)(void*, size_t, size_t, FILE*)>("fread");
  if (!is_watched(fileno(file))) return real(to, size, n, file);
  const Fault fault("fread", fileno(file));
  if (const int error = fault.error()) {
    file->_flags |= 0x20;  // what ferror looks at
    errno = error;
    return 0;
  }
  return real(to, size, n, file);
}

int fsync(int d) {
  return disturbed(is_watched(d), "fsync", d, -1, [&](auto) { return static_cast<int>(syscall(SYS_fsync, d)); });
}
int fdatasync(int d) {
  return disturbed(is_watched(d), "fdatasync", d, -1, [&](auto) { return static_cast<int>(syscall(SYS_fdatasync, d)); });
}
int ftruncate(int d, off_t n) {
  return disturbed(is_watched(d), "ftruncate", d, -1, [&](auto) { return static_cast<int>(syscall(SYS_ftruncate, d, n)); });
}
int ftruncate64(int d, off_t n) { return ftruncate(d, n); }
int flock(int d, int operation) {
  return disturbed(is_watched(d), "flock", d, -1, [&](auto) { return static_cast<int>(syscall(SYS_flock, d, operation)); });
}
// The descriptor is gone even where the call fails.
int close(int d) {
  if (!is_watched(d)) return static_cast<int>(syscall(SYS_close, d));
  const Fault fault("close", d);
  watch(d, false);
  const int status = static_cast<int>(syscall(SYS_close, d));
  if (const int error = fault.error()) {
    errno = error;
    return -1;
  }
  return status;
}
int fclose(FILE* file) {
  static const auto real = next<int (*)(FILE*)>("fclose");
  const int d = fileno(file);
  if (!is_watched(d)) return real(file);
  const Fault fault("fclose", d);
  watch(d, false);
  const int status = real(file);
  if (const int error = fault.error()) {
    errno = error;
    return EOF;
  }
  return status;
}

int rename(const char* from, const char* to) {
  return disturbed(below_folder(from) || below_folder(to), "rename", to, -1,
                   [&](auto) { return static_cast<int>(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)); });
}
int renameat(int a, const char* from, int b, const char* to) {
  return disturbed(below_folder(from) || below_folder(to), "renameat", to, -1,
                   [&](auto) { return static_cast<int>(syscall(SYS_renameat, a, from, b, to)); });
}
int unlink(const char* path) {
  return disturbed(below_folder(path), "unlink", path, -1,
                   [&](auto) { return static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, 0)); });
}
int unlinkat(int folder, const char* path, int flags) {
  return disturbed(below_folder(path), "unlinkat", path, -1,
                   [&](auto) { return static_cast<int>(syscall(SYS_unlinkat, folder, path, flags)); });
}
int remove(const char* path) {
  static const auto real = next<int (*)(const char*)>("remove");
  return disturbed(below_folder(path), "remove", path, -1, [&](auto) { return real(path); });
}
int rmdir(const char* path) {
  return disturbed(below_folder(path), "rmdir", path, -1,
                   [&](auto) { return static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)); });
}
int mkdir(const char* path, mode_t mode) {
  return disturbed(below_folder(path), "mkdir", path, -1,
                   [&](auto) { return static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode)); });
}

}  // extern "C"
