// Reading one IDX file: every number of the header is checked before memory is taken for it.
#include "src/idx.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "norma/error.h"
#include "src/byte_stream.h"
#include "src/sha256.h"

namespace norma {
namespace {

constexpr std::size_t step_bytes = std::size_t{1} << 18;  // read, and hashed while it is in the cache
constexpr std::uint64_t usual_expansion = 8;              // of gzip: what is reserved at once; more is taken only as data arrives

std::uint32_t big_endian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | std::uint32_t{p[3]};
}

std::string hex32(std::uint32_t value) {
  std::array<char, 11> text;
  std::snprintf(text.data(), text.size(), "0x%08x", value);
  return text.data();
}

const char* name_of(IdxKind kind) { return kind == IdxKind::images ? "images" : "labels"; }

class Reader {
 public:
  Reader(const std::filesystem::path& file, bool hash) : path_(file), stream_(file) {
    if (hash) hash_.emplace();
  }

  IdxFile read(IdxKind kind) {
    IdxFile idx;
    check_magic(kind);
    const std::uint64_t total = read_sizes(kind, idx.dims);
    read_bytes(total, idx.bytes);
    if (hash_) idx.sha256 = hash_->hex();
    return idx;
  }

 private:
  // Offsets count decompressed bytes, where there are such.
  [[noreturn]] void fail(const std::string& what, std::uint64_t offset) const {
    throw Error(ErrorKind::data, path_.string() + ": " + what + " at byte " + std::to_string(offset) +
                                     (stream_.compressed() ? " of the decompressed data" : ""));
  }

  std::size_t take(std::uint8_t* destination, std::size_t count) {
    const std::size_t got = stream_.read(destination, count);
    if (hash_) hash_->update(destination, got);
    offset_ += got;
    return got;
  }

  std::uint32_t word(const std::string& what) {
    std::array<std::uint8_t, 4> bytes;
    if (take(bytes.data(), bytes.size()) < bytes.size()) fail("cut short in the header (" + what + "): the data ends", offset_);
    return big_endian(bytes.data());
  }

  void check_magic(IdxKind kind) {
    const std::uint32_t magic = word("magic number"), expected = static_cast<std::uint32_t>(kind);
    if (magic == expected) return;
    const IdxKind other = kind == IdxKind::images ? IdxKind::labels : IdxKind::images;
    const char* hint =
        magic == static_cast<std::uint32_t>(other) ? (kind == IdxKind::images ? " (a file of labels)" : " (a file of images)") : "";
    fail("magic number is " + hex32(magic) + hint + ", not " + hex32(expected) + " of IDX " + name_of(kind) + ",", 0);
  }

  // Returns how many bytes the header announces.
  std::uint64_t read_sizes(IdxKind kind, std::vector<std::int64_t>& dims) {
    const std::array<const char*, 3> names = {"count", "height", "width"};
    const std::size_t rank = kind == IdxKind::images ? 3 : 1;
    std::string sizes;
    std::uint64_t total = 1;
    bool overflow = false;
    for (std::size_t i = 0; i < rank; ++i) {
      const std::uint32_t size = word(names[i]);
      if (size == 0) fail(i == 0 ? "holds no samples: count is 0" : std::string("image ") + names[i] + " is 0", offset_ - 4);
      dims.push_back(size);
      sizes += (i ? " x " : "") + std::to_string(size);
      overflow = __builtin_mul_overflow(total, std::uint64_t{size}, &total) || overflow;
    }
    const std::uint64_t room = stream_.largest_content() - std::min(stream_.largest_content(), offset_);
    if (overflow || total > room) {
      const std::string announced = "the header announces " + sizes + " bytes";
      if (stream_.compressed())
        fail(announced + ", more than a gzip file of " + std::to_string(stream_.file_bytes()) + " bytes can hold,", 4);
      fail("cut short: " + announced + " of " + name_of(kind) + ", the file ends", stream_.file_bytes());
    }
    return total;
  }

  void read_bytes(std::uint64_t total, std::vector<std::uint8_t>& bytes) {
    const std::uint64_t header = offset_;
    bytes.reserve(static_cast<std::size_t>(std::min(total, usual_expansion * stream_.file_bytes())));
    while (bytes.size() < total) {
      const std::size_t before = bytes.size(), step = static_cast<std::size_t>(std::min<std::uint64_t>(step_bytes, total - before));
      if (bytes.capacity() < before + step)  // by hand, since vector's doubling may pass the total
        bytes.reserve(
            static_cast<std::size_t>(std::min<std::uint64_t>(total, std::max<std::uint64_t>(2 * bytes.capacity(), before + step))));
      bytes.resize(before + step);
      if (take(bytes.data() + before, step) < step)
        fail("cut short: the header announces " + std::to_string(total) + " bytes after it, the data ends", offset_);
    }
    std::uint8_t extra;  // also makes zlib reach and check the trailer
    if (stream_.read(&extra, 1) > 0)
      fail("too long: the header announces " + std::to_string(total) + " bytes after it, more follow", header + total);
  }

  std::filesystem::path path_;
  ByteStream stream_;
  std::optional<Sha256> hash_;
  std::uint64_t offset_ = 0;
};

}  // namespace

IdxFile read_idx(const std::filesystem::path& file, IdxKind kind, bool hash) { return Reader(file, hash).read(kind); }

}  // namespace norma
