// A file under construction: .<target>.norma-part, a name of norma's alone, locked against other processes, renamed when it is complete and
// removed otherwise.
#pragma once
#include <cstddef>
#include <filesystem>

namespace norma::app {

class PartFile {
 public:
  // Opens it empty. Throws Error(failure) naming the file; also where another process is writing it.
  explicit PartFile(std::filesystem::path target);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  const std::filesystem::path& path() const { return part_; }
  // Starts over.
  void clear();
  // False leaves the cause in errno.
  bool write(const void* bytes, std::size_t count);
  // Flushes to disk and takes the target's name, which the folder on disk has then, too.
  void finish();

 private:
  std::filesystem::path target_, part_;
  int fd_ = -1;
};

}  // namespace norma::app
