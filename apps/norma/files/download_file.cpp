// The life of a part file. A lock rather than a name of its own per process: what a killed process left is written over, not piled up.
// It is not norma::write_file's file: that is closed before its rename, and this lock must outlive it. They share write_all.
#include "apps/norma/files/download_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "norma/checkpoint.h"
#include "norma/files.h"

namespace norma::app {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const char* what) {
  throw Error(ErrorKind::failure, fmt::format("{}: cannot {} ({})", file.string(), what, std::strerror(errno)));
}

// The process that held the lock may have renamed or removed the file we opened.
bool still_named(int fd, const std::filesystem::path& file) {
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && stat(file.c_str(), &named) == 0 && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int open_locked(const std::filesystem::path& file) {
  for (;;) {
    const int fd = uninterrupted([&] { return open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666); });
    if (fd < 0) fail(file, "open");
    if (uninterrupted([&] { return flock(fd, LOCK_EX | LOCK_NB); }) != 0) {
      const int error = errno;
      close(fd);
      if (error == EWOULDBLOCK) throw Error(ErrorKind::failure, file.string() + ": another process is writing this file");
      errno = error;
      fail(file, "lock");
    }
    if (still_named(fd, file)) return fd;
    close(fd);
  }
}

std::filesystem::path part_of(const std::filesystem::path& target) {
  return target.parent_path() / ("." + target.filename().string() + ".norma-part");
}

}  // namespace

PartFile::PartFile(std::filesystem::path target) : target_(std::move(target)), part_(part_of(target_)), fd_(open_locked(part_)) {
  if (uninterrupted([&] { return ftruncate(fd_, 0); }) == 0) return;
  const int error = errno;
  close(fd_);
  errno = error;
  fail(part_, "empty");
}

PartFile::~PartFile() {
  if (fd_ < 0) return;
  uninterrupted([&] { return unlink(part_.c_str()); });
  close(fd_);
}

void PartFile::clear() {
  if (uninterrupted([&] { return ftruncate(fd_, 0); }) != 0 || lseek(fd_, 0, SEEK_SET) != 0) fail(part_, "empty");
}

bool PartFile::write(const void* bytes, std::size_t count) {
  return write_all(fd_, std::span(static_cast<const std::byte*>(bytes), count));
}

void PartFile::finish() {
  if (uninterrupted([&] { return fsync(fd_); }) != 0) fail(part_, "flush");
  if (uninterrupted([&] { return rename(part_.c_str(), target_.c_str()); }) != 0) fail(part_, "rename");
  close(std::exchange(fd_, -1));
  sync_folder(target_.has_parent_path() ? target_.parent_path() : std::filesystem::path("."), target_);
}

}  // namespace norma::app
