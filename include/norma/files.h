// Files read whole and written whole, and calls of the system that go on after a signal.
#pragma once
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "norma/error.h"
#include "norma/export.h"

namespace norma {

// Regular files alone: no folder, device, socket or FIFO, which may wait or go on for ever. The pipes of a shell, | and <(...), may be read
// as well where whoever reads sets a limit.
enum class Accept : std::uint8_t { files, files_and_pipes };

// All bytes of a file. Throws Error(kind) "FILE: is a device, not a regular file" and "FILE: cannot be read: REASON", also where there are
// more than `most` of them; Error(failure) instead of a usage error where it is the system that fails, not the path that is wrong.
NORMA_API std::string read_file(const std::filesystem::path& file, ErrorKind kind = ErrorKind::data,
                                std::uint64_t most = std::numeric_limits<std::uint64_t>::max(), Accept accept = Accept::files);

// Written to a temporary name in the same folder, fsync, rename, fsync of the folder: the file that was there survives any failure.
// Throws Error(failure) naming the file and the cause.
NORMA_API void write_file(const std::filesystem::path& file, std::span<const std::byte> bytes);
NORMA_API void write_file(const std::filesystem::path& file, std::string_view text);

// Makes files created or renamed in `folder` outlive a power cut. Throws Error(failure) naming `made`.
NORMA_API void sync_folder(const std::filesystem::path& folder, const std::filesystem::path& made);

// Returns 64 lower-case hex digits. sha256_of_file throws Error(data) naming the file if it cannot be read.
NORMA_API std::string sha256(std::span<const std::byte> bytes);
NORMA_API std::string sha256_of_file(const std::filesystem::path& file);

// call(), again for as long as a signal interrupts it. On network and user-space file systems even open and rename end so.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// This overload is for functions of std::filesystem.
template <class Call>
auto uninterrupted(std::error_code& error, Call call) {
  auto result = call();
  while (error == std::errc::interrupted) result = call();
  return result;
}

// Writes all bytes to an open file, in as many calls as that takes. False leaves the cause in errno.
NORMA_API bool write_all(int descriptor, std::span<const std::byte> bytes);

}  // namespace norma
