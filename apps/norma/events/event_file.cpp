#include "apps/norma/events/event_file.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "norma/error.h"
#include "norma/files.h"

namespace norma::app {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian and written as numbers lie in memory");

constexpr const char* file_version = "brain.Event:2";
constexpr std::size_t head_bytes = 12, foot_bytes = 4;
constexpr std::uint64_t most_payload = std::uint64_t{1} << 26;  // of a record; norma's are far smaller

// Fields of a message: number << 3 | wire type.
constexpr char double_1 = 1 << 3 | 1, varint_2 = 2 << 3 | 0, text_1 = 1 << 3 | 2, float_2 = 2 << 3 | 5, text_3 = 3 << 3 | 2,
               message_5 = 5 << 3 | 2;

constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0u);
    table[i] = c;
  }
  return table;
}();

template <class T>
std::string bytes_of(T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

template <class T>
T read_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string field(char key, std::string_view text) { return key + varint(text.size()) + std::string(text); }

std::string record(std::string_view payload) {
  const std::string length = bytes_of(static_cast<std::uint64_t>(payload.size()));
  return length + bytes_of(masked_crc32c(length)) + std::string(payload) + bytes_of(masked_crc32c(payload));
}

std::string timed(double wall_time) { return double_1 + bytes_of(wall_time); }

// The step of a payload that event_of made: behind the wall time. -1 of a payload without.
std::int64_t step_of(std::string_view payload) {
  constexpr std::size_t at = 1 + sizeof(double);
  if (payload.size() <= at || payload[0] != double_1 || payload[at] != varint_2) return -1;
  std::uint64_t step = 0;
  int shift = 0;
  for (std::size_t i = at + 1; i < payload.size() && shift < 63; ++i, shift += 7) {
    step |= static_cast<std::uint64_t>(payload[i] & 0x7f) << shift;
    if ((payload[i] & 0x80) == 0) return static_cast<std::int64_t>(step);
  }
  return -1;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t c = ~0u;
  for (const char b : bytes) c = crc_table[(c ^ static_cast<unsigned char>(b)) & 0xff] ^ (c >> 8);
  return ~c;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string event_file_begin(double wall_time) { return record(timed(wall_time) + field(text_3, file_version)); }

std::string event_of(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& s : scalars) summary += field(text_1, field(text_1, s.tag) + float_2 + bytes_of(static_cast<float>(s.value)));
  return record(timed(wall_time) + varint_2 + varint(static_cast<std::uint64_t>(step)) + field(message_5, summary));
}

std::uint64_t for_each_event(const std::filesystem::path& file, const std::function<void(std::int64_t, std::uint64_t)>& f) {
  const std::string text = read_file(file);
  const std::string_view all = text;
  const auto refuse = [&](std::size_t at, const char* why) {
    throw Error(ErrorKind::data, fmt::format("{}: byte {}: {}; move the file away", file.string(), at, why));
  };
  std::size_t at = 0;
  const std::string begin = event_file_begin(0).substr(0, head_bytes + 1);  // up to the wall time
  if (!all.starts_with(begin.substr(0, all.size()))) refuse(0, "norma writes no such record");
  while (all.size() - at >= head_bytes) {
    const auto length = read_at<std::uint64_t>(all, at);
    if (read_at<std::uint32_t>(all, at + sizeof length) != masked_crc32c(all.substr(at, sizeof length)) || length > most_payload)
      refuse(at, "no record of TensorBoard's event files begins here");
    if (all.size() - at < head_bytes + length + foot_bytes) break;
    const std::string_view payload = all.substr(at + head_bytes, length);
    if (read_at<std::uint32_t>(all, at + head_bytes + length) != masked_crc32c(payload)) refuse(at, "the record is damaged");
    const std::int64_t step = step_of(payload);
    const bool first = at == 0;
    if (first ? !payload.ends_with(field(text_3, file_version)) : step < 1) refuse(at, "norma writes no such record");
    at += head_bytes + length + foot_bytes;
    if (!first) f(step, at);
  }
  return at;
}

}  // namespace norma::app
