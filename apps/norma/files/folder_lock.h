// A lock on a folder against a second norma.
#pragma once
#include <filesystem>
#include <utility>

namespace norma::app {

class FolderLock {
 public:
  FolderLock() = default;
  // Throws Error(failure) if another process holds the folder, or it cannot be opened. A file system without locks is used without one.
  explicit FolderLock(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FolderLock();

 private:
  int descriptor_ = -1;
};

// Removes the temporary files that a killed write_file left in a folder. The caller must hold the folder, so that no one writes to it.
void remove_leftovers(const std::filesystem::path& folder);

}  // namespace norma::app
