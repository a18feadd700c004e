#include "apps/norma/files/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "norma/files.h"

namespace norma::app {

namespace fs = std::filesystem;

FolderLock::FolderLock(const std::filesystem::path& folder) {
  descriptor_ = uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor_ < 0) throw Error(ErrorKind::failure, folder.string() + ": cannot be opened: " + std::strerror(errno));
  if (uninterrupted([&] { return ::flock(descriptor_, LOCK_EX | LOCK_NB); }) != 0 && errno == EWOULDBLOCK) {
    ::close(std::exchange(descriptor_, -1));
    throw Error(ErrorKind::failure, folder.string() + ": another norma is writing to it");
  }
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void remove_leftovers(const fs::path& folder) {
  const auto number = [](std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; };
  std::error_code error;
  std::vector<fs::path> leftovers;
  try {
    for (fs::directory_iterator it(folder), end; it != end; ++it) {  // not increment(error), which ends the program without memory
      constexpr std::string_view before = ".norma-", after = ".tmp";
      const std::string name = it->path().filename().string();
      if (!name.starts_with(before) || !name.ends_with(after) || !it->is_regular_file(error) || it->is_symlink(error)) continue;
      const std::string_view numbers = std::string_view(name).substr(before.size(), name.size() - before.size() - after.size());
      const std::size_t dash = numbers.find('-');
      if (dash != std::string_view::npos && number(numbers.substr(0, dash)) && number(numbers.substr(dash + 1)))
        leftovers.push_back(it->path());
    }
  } catch (const fs::filesystem_error&) {  // a folder that cannot be read keeps what it holds
  }
  for (const fs::path& file : leftovers) uninterrupted(error, [&] { return fs::remove(file, error); });
}

}  // namespace norma::app
