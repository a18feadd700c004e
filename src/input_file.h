// A file that is read in order. Every error names it and the system's reason.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "norma/error.h"

namespace norma {

enum class FileTypes {
  regular,  // alone; a pipe or a device is refused at once, not waited for
  all,
};

class InputFile {
 public:
  // Throws Error(kind) "FILE: cannot be read: REASON", here and in read(); Error(failure) instead of a usage error where it is the system
  // that fails, not the path that is wrong.
  InputFile(const std::filesystem::path& file, ErrorKind kind, FileTypes types = FileTypes::regular);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // in bytes, of a regular file; else 0

  // The next `count` bytes, fewer only at the end of the file. A signal or a short read does not end it.
  std::size_t read(void* to, std::size_t count);

 private:
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_;
  ErrorKind kind_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace norma
