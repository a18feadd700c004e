// A file that is read in order, or from any place. Every error names it and the system's reason.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "norma/files.h"

namespace norma {

// Throws Error(kind) naming a path with a NUL byte: the system would read or write the file whose name ends there.
void require_no_nul(const std::filesystem::path& file, ErrorKind kind);

class InputFile {
 public:
  // Throws Error(kind) "FILE: is a device, not a regular file", and "FILE: cannot be read: REASON", here and in read(); Error(failure)
  // instead of a usage error where it is the system that fails, not the path that is wrong.
  InputFile(const std::filesystem::path& file, ErrorKind kind, Accept accept = Accept::files);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // in bytes; 0 of a pipe

  // The next `count` bytes, fewer only at the end of the file. A signal or a short read does not end it.
  std::size_t read(void* to, std::size_t count);
  // The `count` bytes from byte `at` on, fewer only at the end of the file. The place of read() stays.
  std::size_t read_at(std::uint64_t at, void* to, std::size_t count);

 private:
  void open(Accept accept);
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_;
  ErrorKind kind_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace norma
