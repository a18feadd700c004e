// Saving a file so that a crash, a full disk or a kill leaves either the previous contents or all of the next ones.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <vector>

#include "norma/checkpoint.h"
#include "norma/error.h"
#include "norma/files.h"
#include "norma/text.h"
#include "src/files/input_file.h"
#include "src/files/write_parts.h"

namespace norma {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& file, const std::string& cause) {
  throw Error(ErrorKind::failure, "cannot write " + printable(file.string()) + ": " + cause);
}

[[noreturn]] void fail(const fs::path& file, int error) { fail(file, std::generic_category().message(error)); }

// An open file under a name of its own, unlinked again unless it was renamed.
class TemporaryFile {
 public:
  // The name does not contain the target's, which may already be as long as a name can be.
  TemporaryFile(const fs::path& folder, const fs::path& target) : target_(target) {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 1000; ++attempt) {
      path_ = folder / (".norma-" + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp");
      descriptor_ = uninterrupted([&] { return ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
      if (descriptor_ >= 0) return;
      if (errno != EEXIST) fail(target_, errno);
    }
    fail(target_, "no free temporary name in " + printable(folder.string()));
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) uninterrupted([&] { return ::unlink(path_.c_str()); });
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void set_mode(mode_t mode) {
    if (uninterrupted([&] { return ::fchmod(descriptor_, mode); }) != 0) fail(target_, errno);
  }

  void write(std::span<const std::byte> bytes) {
    if (!write_all(descriptor_, bytes)) fail(target_, errno);
  }

  // Some network file systems report a full disk only in fsync or close.
  void sync_and_close() {
    if (uninterrupted([&] { return ::fsync(descriptor_); }) != 0) fail(target_, errno);
    const int d = descriptor_;
    descriptor_ = -1;
    if (::close(d) != 0 && errno != EINTR) fail(target_, errno);
  }

  void rename_to(const fs::path& destination) {
    if (uninterrupted([&] { return ::rename(path_.c_str(), destination.c_str()); }) != 0) fail(target_, errno);
    renamed_ = true;
  }

 private:
  fs::path target_, path_;
  int descriptor_ = -1;
  bool renamed_ = false;
};

}  // namespace

bool write_all(int descriptor, std::span<const std::byte> bytes) {
  constexpr std::size_t most = std::size_t{1} << 30;  // Linux writes at most 2^31 - 4096 bytes a call
  while (!bytes.empty()) {
    const ssize_t n = uninterrupted([&] { return ::write(descriptor, bytes.data(), std::min(bytes.size(), most)); });
    if (n == 0) errno = EIO;  // no progress, and no reason
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

void sync_folder(const fs::path& folder, const fs::path& target) {
  const int d = uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (d < 0) {
    if (errno == EACCES) return;  // a folder one may write but not read cannot be opened for fsync
    fail(target, errno);
  }
  const int status = uninterrupted([&] { return ::fsync(d); }), error = errno;
  ::close(d);
  if (status != 0 && error != EINVAL) fail(target, error);  // EINVAL: this file system has no fsync for folders
}

void write_parts(const fs::path& file, std::span<const std::span<const std::byte>> parts) {
  require_no_nul(file, ErrorKind::usage);
  // Through a symbolic link the file it points to is replaced, not the link.
  std::error_code error;
  fs::path destination = file;
  if (fs::is_symlink(file, error)) {
    destination = fs::weakly_canonical(file, error);
    if (error) fail(file, error.value());
  }
  struct stat previous {};
  const bool exists = ::stat(destination.c_str(), &previous) == 0;
  // A rename onto /dev/null would put a file in the place of the device.
  if (exists && !S_ISREG(previous.st_mode)) fail(file, S_ISDIR(previous.st_mode) ? "it is a folder" : "it is not a regular file");

  const fs::path folder = destination.has_parent_path() ? destination.parent_path() : fs::path(".");
  TemporaryFile temporary(folder, file);
  if (exists) temporary.set_mode(previous.st_mode & 07777);
  std::vector<std::byte> small;  // many small pieces in one call
  for (const std::span<const std::byte> bytes : parts) {
    constexpr std::size_t enough = std::size_t{1} << 16;
    if (small.size() + bytes.size() > enough) {
      temporary.write(small);
      small.clear();
    }
    if (bytes.size() >= enough) temporary.write(bytes);
    else small.insert(small.end(), bytes.begin(), bytes.end());
  }
  temporary.write(small);
  temporary.sync_and_close();
  temporary.rename_to(destination);
  sync_folder(folder, file);
}

void write_file(const fs::path& file, std::span<const std::byte> bytes) { write_parts(file, {&bytes, 1}); }
void write_file(const fs::path& file, std::string_view text) { write_file(file, std::as_bytes(std::span(text.data(), text.size()))); }

}  // namespace norma
