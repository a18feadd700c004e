// Reading by the system's own calls: streams of the standard library hide the reason of an error, and stop at a signal.
#include "src/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "norma/files.h"

namespace norma {

InputFile::InputFile(const std::filesystem::path& file, ErrorKind kind, FileTypes types) : path_(file), kind_(kind) {
  const int flags = O_RDONLY | O_CLOEXEC | (types == FileTypes::regular ? O_NONBLOCK : 0);
  descriptor_ = uninterrupted([&] { return ::open(path_.c_str(), flags); });
  if (descriptor_ < 0) fail(errno);
  struct stat status {};
  const int failed = ::fstat(descriptor_, &status) != 0 ? errno : 0;
  const bool regular = S_ISREG(status.st_mode);
  if (regular) size_ = static_cast<std::uint64_t>(status.st_size);
  if (!failed && (regular || (types == FileTypes::all && !S_ISDIR(status.st_mode)))) return;
  ::close(descriptor_);
  if (failed) fail(failed);
  throw Error(kind, path_.string() + (S_ISDIR(status.st_mode) ? ": is a folder, not a file" : ": is not a regular file"));
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::fail(int error) const {
  const bool path_is_wrong =
      error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM || error == ELOOP || error == ENAMETOOLONG;
  throw Error(kind_ == ErrorKind::usage && !path_is_wrong ? ErrorKind::failure : kind_,
              path_.string() + ": cannot be read: " + std::generic_category().message(error));
}

std::size_t InputFile::read(void* to, std::size_t count) {
  constexpr std::size_t most = std::size_t{1} << 30;  // Linux reads at most 2^31 - 4096 bytes a call
  std::size_t done = 0;
  while (done < count) {
    const ssize_t n = uninterrupted([&] { return ::read(descriptor_, static_cast<char*>(to) + done, std::min(count - done, most)); });
    if (n < 0) fail(errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace norma
