// Plain and gzip files behind one read(); zlib does the inflating and checks CRC-32 and length of every member.
#include "src/data/gzip_stream.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "norma/error.h"
#include "norma/text.h"
#include "src/files/input_file.h"

namespace norma {

namespace {
constexpr std::size_t input_bytes = std::size_t{1} << 17;
constexpr std::uint64_t deflate_expansion = 1032;  // 258 bytes from 2 bits: zlib's technical note, "Maximum Compression Factor"
constexpr int gzip_only = 15 + 16;                 // window of 32 KiB, gzip header and trailer
}  // namespace

struct ByteStream::State {
  InputFile file;
  std::vector<std::uint8_t> input = std::vector<std::uint8_t>(input_bytes);
  std::size_t begin = 0, end = 0;  // bytes of `input` not yet used
  std::uint64_t taken = 0;         // bytes read from the file, those in `input` included
  bool gzip = false, inflating = false, between_members = false, at_end = false;
  z_stream zlib{};

  explicit State(const std::filesystem::path& path) : file(path, ErrorKind::data) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (inflating) inflateEnd(&zlib);
  }

  std::uint64_t offset() const { return taken - (end - begin); }  // in the file, of the next unused byte

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::data, printable(file.path().string()) + ": " + what + " at byte " + std::to_string(offset()) + " of the file");
  }

  // Moves unused bytes to the front and reads more behind them; returns false at the end of the file.
  bool fill() {
    std::memmove(input.data(), input.data() + begin, end - begin);
    end -= begin;
    begin = 0;
    const std::size_t got = file.read(input.data() + end, input.size() - end);
    end += got;
    taken += got;
    return got > 0;
  }

  bool magic_next() const { return end - begin >= 2 && input[begin] == 0x1f && input[begin + 1] == 0x8b; }

  // After a member: true with the next one ready, false at the end of the file. Zero bytes between and behind members are padding, as tapes
  // and block copies leave it; gzip(1) and Python pass over them, too.
  bool next_member() {
    do {
      while (begin < end && input[begin] == 0) ++begin;
    } while (begin == end && fill());
    if (begin == end) return false;
    while (end - begin < 2 && fill()) {
    }
    if (!magic_next()) fail("gzip stream is followed by something else");
    inflateReset(&zlib);
    return true;
  }

  std::size_t copy(std::uint8_t* destination, std::size_t count) {
    std::size_t done = 0;
    while (done < count) {
      if (begin == end && !fill()) break;
      const std::size_t n = std::min(count - done, end - begin);
      std::memcpy(destination + done, input.data() + begin, n);
      begin += n;
      done += n;
    }
    return done;
  }

  // Until `count` bytes are out or the last member ended.
  std::size_t inflate_into(std::uint8_t* destination, std::size_t count) {
    std::size_t done = 0;
    while (done < count && !at_end) {
      if (between_members) {
        at_end = !next_member();
        between_members = false;
        continue;
      }
      if (begin == end && !fill()) fail("gzip stream is cut short");
      constexpr std::size_t most = std::numeric_limits<uInt>::max();
      zlib.next_in = input.data() + begin;
      zlib.avail_in = static_cast<uInt>(end - begin);
      zlib.next_out = destination + done;
      zlib.avail_out = static_cast<uInt>(std::min(count - done, most));
      const uInt room = zlib.avail_out;
      const int status = inflate(&zlib, Z_NO_FLUSH);
      begin = end - zlib.avail_in;
      done += room - zlib.avail_out;
      if (status == Z_STREAM_END) {
        between_members = true;
      } else if (status == Z_MEM_ERROR) {
        throw Error(ErrorKind::failure, printable(file.path().string()) + ": out of memory while inflating");
      } else if (status != Z_OK && status != Z_BUF_ERROR) {  // Z_BUF_ERROR: more input is needed, which the loop brings
        fail(std::string("corrupt gzip stream (") + (zlib.msg ? zlib.msg : zError(status)) + ")");
      }
    }
    return done;
  }
};

ByteStream::ByteStream(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {
  State& s = *state_;
  while (s.end < 2 && s.fill()) {
  }
  s.gzip = s.magic_next();
  if (!s.gzip) return;
  if (inflateInit2(&s.zlib, gzip_only) != Z_OK) throw Error(ErrorKind::failure, printable(path.string()) + ": zlib cannot start");
  s.inflating = true;
}
ByteStream::~ByteStream() = default;
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;

std::size_t ByteStream::read(std::uint8_t* destination, std::size_t count) {
  return state_->gzip ? state_->inflate_into(destination, count) : state_->copy(destination, count);
}

bool ByteStream::compressed() const { return state_->gzip; }
std::uint64_t ByteStream::file_bytes() const { return state_->file.size(); }
std::uint64_t ByteStream::largest_content() const { return state_->gzip ? state_->file.size() * deflate_expansion : state_->file.size(); }

}  // namespace norma
