// Reading by the system's own calls: streams of the standard library hide the reason of an error, and stop at a signal.
#include "src/files/input_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "norma/text.h"

namespace norma {

namespace {

constexpr std::size_t most_at_once = std::size_t{1} << 30;  // Linux reads at most 2^31 - 4096 bytes a call

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  return S_ISSOCK(mode) ? "a socket" : "a device";
}

bool has_no_name(int pipe) {
  struct statfs system {};
  return ::fstatfs(pipe, &system) == 0 && system.f_type == PIPEFS_MAGIC;
}

}  // namespace

void require_no_nul(const std::filesystem::path& file, ErrorKind kind) {
  if (file.native().find('\0') != std::string::npos) throw Error(kind, printable(file.string()) + ": a path cannot hold a NUL byte");
}

InputFile::InputFile(const std::filesystem::path& file, ErrorKind kind, Accept accept) : path_(file), kind_(kind) {
  require_no_nul(file, kind);
  try {
    open(accept);
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw;
  }
}

void InputFile::open(Accept accept) {
  const auto refuse = [&](mode_t mode) {
    throw Error(kind_, printable(path_.string()) + ": is " + kind_of(mode) + ", not a regular file");
  };
  struct stat status {};
  // Looked at before it is opened, too: to open a FIFO waits for its other end, and to open a device may do something.
  const bool pipe =
      uninterrupted([&] { return ::stat(path_.c_str(), &status); }) == 0 && S_ISFIFO(status.st_mode) && accept == Accept::files_and_pipes;
  if (status.st_mode != 0 && !S_ISREG(status.st_mode) && !pipe) refuse(status.st_mode);
  descriptor_ = uninterrupted([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | (pipe ? O_NONBLOCK : 0)); });
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) fail(errno);
  if (S_ISREG(status.st_mode)) size_ = static_cast<std::uint64_t>(status.st_size);
  else if (!pipe || !S_ISFIFO(status.st_mode) || !has_no_name(descriptor_)) refuse(status.st_mode);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::fail(int error) const {
  const bool path_is_wrong =
      error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM || error == ELOOP || error == ENAMETOOLONG;
  throw Error(kind_ == ErrorKind::usage && !path_is_wrong ? ErrorKind::failure : kind_,
              printable(path_.string()) + ": cannot be read: " + std::generic_category().message(error));
}

std::size_t InputFile::read(void* to, std::size_t count) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t n =
        uninterrupted([&] { return ::read(descriptor_, static_cast<char*>(to) + done, std::min(count - done, most_at_once)); });
    if (n < 0 && errno == EAGAIN) {  // a pipe, empty so far
      pollfd more{descriptor_, POLLIN, 0};
      ::poll(&more, 1, -1);
      continue;
    }
    if (n < 0) fail(errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::size_t InputFile::read_at(std::uint64_t at, void* to, std::size_t count) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t n = uninterrupted([&] {
      return ::pread(descriptor_, static_cast<char*>(to) + done, std::min(count - done, most_at_once), static_cast<off_t>(at + done));
    });
    if (n < 0) fail(errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace norma
