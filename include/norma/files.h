// Files read whole, and calls of the system that go on after a signal. checkpoint.h writes them.
#pragma once
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>

#include "norma/error.h"

namespace norma {

// Regular files alone: no folder, device, socket or FIFO, which may wait or go on for ever. The pipes of a shell, | and <(...), may be read
// as well where whoever reads sets a limit.
enum class Accept : std::uint8_t { files, files_and_pipes };

// All bytes of a file. Throws Error(kind) "FILE: is a device, not a regular file" and "FILE: cannot be read: REASON", also where there are
// more than `most` of them; Error(failure) instead of a usage error where it is the system that fails, not the path that is wrong.
std::string read_file(const std::filesystem::path& file, ErrorKind kind = ErrorKind::data,
                      std::uint64_t most = std::numeric_limits<std::uint64_t>::max(), Accept accept = Accept::files);

// call(), again for as long as a signal interrupts it. On network and user-space file systems even open and rename end so.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// The same for functions of std::filesystem.
template <class Call>
auto uninterrupted(std::error_code& error, Call call) {
  auto result = call();
  while (error == std::errc::interrupted) result = call();
  return result;
}

}  // namespace norma
