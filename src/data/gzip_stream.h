// The bytes of a file in order, inflated where it is gzip (told by its first bytes, not by its name).
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace norma {

class ByteStream {
 public:
  // Throws Error(data) naming the file if it cannot be opened.
  explicit ByteStream(const std::filesystem::path& file);
  ~ByteStream();
  ByteStream(ByteStream&&) noexcept;
  ByteStream& operator=(ByteStream&&) noexcept;

  // The next `count` bytes, fewer only at the end of the data. A file of several gzip members is their concatenation (RFC 1952); zero bytes
  // behind a member are passed over.
  // Throws Error(data) naming file and byte offset for a stream that is cut, corrupt (CRC, length) or followed by anything else.
  std::size_t read(std::uint8_t* destination, std::size_t count);

  bool compressed() const;
  std::uint64_t file_bytes() const;  // on disk
  // No data this file can hold is longer: its own size, or deflate's largest expansion of it.
  std::uint64_t largest_content() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace norma
