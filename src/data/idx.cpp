// Reading one IDX file: every number of the header is checked before memory is taken for it.
#include "src/data/idx.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "norma/error.h"
#include "norma/file_kind.h"
#include "norma/text.h"
#include "src/data/gzip_stream.h"
#include "src/files/sha256.h"

namespace norma {
namespace {

constexpr std::size_t step_bytes = std::size_t{1} << 18;  // read, and hashed while it is in the cache
constexpr std::uint64_t usual_expansion = 8;              // of gzip: reserved at once; more is taken only as data arrives

std::uint32_t big_endian(const std::uint8_t* p, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | p[i];
  return value;
}

std::string hex32(std::uint32_t value) {
  std::array<char, 11> text;
  std::snprintf(text.data(), text.size(), "0x%08x", value);
  return text.data();
}

struct Type {
  std::uint32_t code;
  std::size_t bytes;
  bool is_signed, is_integer;
  const char* name;
};
constexpr std::array<Type, 6> types = {{{0x08, 1, false, true, "unsigned bytes"},
                                        {0x09, 1, true, true, "signed bytes"},
                                        {0x0B, 2, true, true, "16-bit integers"},
                                        {0x0C, 4, true, true, "32-bit integers"},
                                        {0x0D, 4, true, false, "32-bit floats"},
                                        {0x0E, 8, true, false, "64-bit floats"}}};
constexpr std::uint32_t image_magic = 0x803, label_magic = 0x801;

// Returns null if the magic number is not IDX's.
const Type* type_of(std::uint32_t magic) {
  const auto at = std::find_if(types.begin(), types.end(), [&](const Type& t) { return t.code == magic >> 8; });
  return at != types.end() && (magic & 0xFF) > 0 ? &*at : nullptr;
}

class Reader {
 public:
  Reader(const std::filesystem::path& file, IdxKind kind, bool hash, std::uint64_t most)
      : path_(file), stream_(file), kind_(kind), most_(most) {
    if (hash) hash_.emplace();
  }

  std::vector<std::int64_t> read_sizes() {
    std::vector<std::int64_t> dims;
    read_header(dims);
    return dims;
  }

  IdxFile read() {
    IdxFile idx;
    read_header(idx.dims);
    if (kind_ == IdxKind::images) read_images(idx.bytes);
    else read_labels(idx);
    std::uint8_t extra;  // also makes zlib reach and check the trailer
    if (stream_.read(&extra, 1) > 0)
      fail("too long: the header announces " + std::to_string(total_) + " bytes after it, more follow", offset_);
    if (hash_) idx.sha256 = hash_->hex();
    return idx;
  }

 private:
  // Offsets count decompressed bytes, where there are such.
  [[noreturn]] void fail(const std::string& what, std::uint64_t offset) const {
    throw Error(ErrorKind::data, printable(path_.string()) + ": " + what + " at byte " + std::to_string(offset) +
                                     (stream_.compressed() ? " of the decompressed data" : ""));
  }
  [[noreturn]] void refuse(const std::string& what) const { throw Error(ErrorKind::data, printable(path_.string()) + ": " + what); }

  std::uint32_t expected() const { return kind_ == IdxKind::images ? image_magic : label_magic; }
  const char* wanted() const { return kind_ == IdxKind::images ? "images" : "labels"; }

  std::size_t take(std::uint8_t* destination, std::size_t count) {
    const std::size_t got = stream_.read(destination, count);
    if (hash_) hash_->update(destination, got);
    offset_ += got;
    return got;
  }

  std::uint32_t word(const char* what) {
    std::array<std::uint8_t, 4> bytes;
    if (take(bytes.data(), bytes.size()) < bytes.size())
      fail(std::string("cut short in the header (") + what + "): the data ends", offset_);
    return big_endian(bytes.data(), bytes.size());
  }

  // The magic number and the sizes.
  void read_header(std::vector<std::int64_t>& dims) {
    const std::uint32_t magic = word("magic number");
    type_ = type_of(magic);
    if (!type_) refuse_foreign(magic);
    if (magic == (kind_ == IdxKind::images ? label_magic : image_magic))
      refuse(std::string("holds ") + (kind_ == IdxKind::images ? "labels, not images" : "images, not labels") + " (magic number " +
             hex32(magic) + ", not " + hex32(expected()) + "): are the two files exchanged?");
    constexpr std::array<const char*, 4> names = {"count", "height", "width", "fourth size"};
    const std::uint32_t rank = magic & 0xFF;
    for (std::size_t i = 0; i < std::min<std::size_t>(rank, names.size()); ++i) {
      const std::uint32_t size = word(names[i]);
      if (size == 0) fail(i == 0 ? "holds no samples: count is 0" : std::string("image ") + names[i] + " is 0", offset_ - 4);
      dims.push_back(size);
      sizes_ += (i ? " x " : "") + std::to_string(size);
    }
    if (rank > names.size()) sizes_ += " x ...";
    const std::string found = "IDX data of " + std::to_string(rank) + (rank == 1 ? " dimension, " : " dimensions, ") + sizes_ + " " +
                              type_->name + " (magic number " + hex32(magic) + "); ";
    if (kind_ == IdxKind::images && magic != image_magic)
      refuse(found + (rank == 3 ? "norma reads images of unsigned bytes: scale the values to 0 .. 255 and write them as such"
                      : rank == 4
                          ? "norma reads grey images of 3 dimensions, count x height x width: which of 4 the colours are, is not said"
                          : "norma reads images of 3 dimensions, count x height x width"));
    if (kind_ == IdxKind::labels && (!type_->is_integer || !one_label_a_sample(rank, dims)))
      refuse(found + (type_->is_integer ? "norma reads one label a sample, the number of its class" : "labels are whole numbers"));
    check_announced(dims);
  }

  bool one_label_a_sample(std::uint32_t rank, const std::vector<std::int64_t>& dims) {
    if (rank == 2 && dims[1] == 8 && type_->bytes == 4) columns_ = 8;  // QMNIST's
    return rank == 1 || (rank == 2 && (dims[1] == 1 || columns_ == 8));
  }

  [[noreturn]] void refuse_foreign(std::uint32_t magic) {
    std::string head;
    for (int shift = 24; shift >= 0; shift -= 8) head += static_cast<char>(magic >> shift & 0xFF);
    std::array<std::uint8_t, 508> more;
    head.append(reinterpret_cast<const char*>(more.data()), take(more.data(), more.size()));
    std::string kind = file_kind(head);
    if (kind.empty()) fail("not an IDX file: magic number is " + hex32(magic) + ", not " + hex32(expected()) + " of IDX " + wanted(), 0);
    if (kind.find(':') == std::string::npos)  // has no remedy of its own
      kind += std::string("; norma reads IDX alone: ") + hex32(expected()) +
              (kind_ == IdxKind::images ? ", count, height and width as big-endian 32-bit numbers, then a byte a pixel"
                                        : " and the count as big-endian 32-bit numbers, then a byte a label");
    refuse(std::string("not an IDX file of ") + wanted() + (stream_.compressed() ? ": the decompressed data are " : " but ") + kind);
  }

  void check_announced(const std::vector<std::int64_t>& dims) {
    total_ = type_->bytes;
    bool overflow = false;
    for (const std::int64_t size : dims) overflow = __builtin_mul_overflow(total_, static_cast<std::uint64_t>(size), &total_) || overflow;
    const std::string announced =
        "the header announces " + sizes_ + (type_->bytes > 1 ? " x " + std::to_string(type_->bytes) : "") + " bytes";
    const std::uint64_t room = stream_.largest_content() - std::min(stream_.largest_content(), offset_);
    if (overflow || total_ > room) {
      if (stream_.compressed())
        fail(announced + ", more than a gzip file of " + std::to_string(stream_.file_bytes()) + " bytes can hold,", 4);
      fail("cut short: " + announced + " of " + wanted() + ", the file ends", stream_.file_bytes());
    }
    if (total_ > most_ - std::min(most_, offset_)) fail(announced + ", more than the " + std::to_string(most_) + " published,", 4);
  }

  // The next bytes, at most step_bytes, of which `left` are to come.
  void take_step(std::uint8_t* destination, std::size_t step) {
    if (take(destination, step) < step)
      fail("cut short: the header announces " + std::to_string(total_) + " bytes after it, the data ends", offset_);
  }

  void read_images(std::vector<std::uint8_t>& bytes) {
    bytes.reserve(static_cast<std::size_t>(std::min(total_, usual_expansion * stream_.file_bytes())));
    while (bytes.size() < total_) {
      const std::size_t before = bytes.size(), step = static_cast<std::size_t>(std::min<std::uint64_t>(step_bytes, total_ - before));
      if (bytes.capacity() < before + step)  // by hand, since vector's doubling may pass the total
        bytes.reserve(
            static_cast<std::size_t>(std::min<std::uint64_t>(total_, std::max<std::uint64_t>(2 * bytes.capacity(), before + step))));
      bytes.resize(before + step);
      take_step(bytes.data() + before, step);
    }
  }

  void read_labels(IdxFile& idx) {
    const std::uint64_t header = offset_;
    std::vector<std::uint8_t> buffer(step_bytes);
    const std::size_t stride = type_->bytes * columns_;
    bool one_hot = columns_ > 1;
    for (std::uint64_t left = total_; left > 0;) {
      const std::size_t step = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), left));
      take_step(buffer.data(), step);
      left -= step;
      for (std::size_t at = 0; at < step; at += stride) {
        idx.labels.push_back(label(&buffer[at], idx.labels.size(), header));
        one_hot = one_hot && is_one_hot(&buffer[at]);
      }
    }
    if (one_hot)
      refuse("the labels are one-hot, " + sizes_ + " " + type_->name + "; norma reads one label a sample, the number of its class");
    idx.dims.resize(1);
  }

  std::int32_t label(const std::uint8_t* p, std::size_t sample, std::uint64_t header) const {
    const std::uint32_t bits = big_endian(p, type_->bytes), sign = std::uint32_t{1} << (8 * type_->bytes - 1);
    const bool negative = type_->is_signed && (bits & sign);
    if (!negative && bits <= std::uint32_t{largest_label}) return static_cast<std::int32_t>(bits);
    const std::int64_t value = std::int64_t{bits} - (negative ? 2 * std::int64_t{sign} : 0);
    fail("label " + std::to_string(value) + " of sample " + std::to_string(sample) + " is not in 0 .. " + std::to_string(largest_label),
         header + sample * type_->bytes * columns_);
  }

  bool is_one_hot(const std::uint8_t* p) const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < columns_; ++i) sum += big_endian(p + i * type_->bytes, type_->bytes);
    return sum == 1;
  }

  std::filesystem::path path_;
  ByteStream stream_;
  IdxKind kind_;
  std::uint64_t most_;
  std::optional<Sha256> hash_;
  std::uint64_t offset_ = 0;
  const Type* type_ = nullptr;
  std::string sizes_;        // "60000 x 28 x 28"
  std::uint64_t total_ = 0;  // bytes announced after the header
  std::size_t columns_ = 1;  // of which the first is the label
};

}  // namespace

IdxFile read_idx(const std::filesystem::path& file, IdxKind kind, bool hash, std::uint64_t most) {
  return Reader(file, kind, hash, most).read();
}

std::vector<std::int64_t> image_sizes(const std::filesystem::path& file) {
  return Reader(file, IdxKind::images, false, std::numeric_limits<std::uint64_t>::max()).read_sizes();
}

}  // namespace norma
