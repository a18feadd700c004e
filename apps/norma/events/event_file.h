// TensorBoard's event files, events.out.tfevents.*: records of TFRecord, each an Event of protobuf.
//
//   record     u64 length, u32 masked crc of it, payload, u32 masked crc of the payload; little-endian
//   Event      1: wall_time, a double; 2: step, an int64; 3: file_version, text; 5: summary
//   Summary    1: value, repeated
//   Value      1: tag, text; 2: simple_value, a float
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace norma::app {

struct Scalar {
  std::string tag;  // "loss/train"
  double value = 0;
};

// The first record of a file: "brain.Event:2". wall_time: seconds since 1970.
std::string event_file_begin(double wall_time);
// A record with all scalars of a step. Those that are not finite stand as they are.
std::string event_of(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

// Calls f(step, end) for every whole record after the first, with the place where it ends. Returns the place where the last whole record
// ends: what follows was cut by a crash. Throws Error(data) naming the file and byte of a record that norma does not write.
std::uint64_t for_each_event(const std::filesystem::path& file, const std::function<void(std::int64_t step, std::uint64_t end)>& f);

// CRC-32C (RFC 3720, appendix B.4), and as TFRecord masks it.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace norma::app
