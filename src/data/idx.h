// IDX files (http://yann.lecun.com/exdb/mnist): big-endian u32 magic 0x0000'tt'dd (type, number of dimensions), the dd sizes, the values.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace norma {

enum class IdxKind : std::uint8_t { labels, images };

inline constexpr std::int32_t largest_label = 65535;

struct IdxFile {
  std::vector<std::int64_t> dims;    // {count} or {count, height, width}, all at least 1
  std::vector<std::uint8_t> bytes;   // of images
  std::vector<std::int32_t> labels;  // of labels, 0 .. largest_label
  std::string sha256;                // of the decompressed file, header included; empty unless asked for
};

// Reads a raw or gzip file. Images are unsigned bytes of three dimensions. Labels are bytes or big-endian integers of 16 or 32 bits, one a
// sample. QMNIST has eight a sample; the first is the class. Memory follows the values that arrive and never passes what the header
// announces.
// Throws Error(data) naming file and byte offset. It refuses a file that is cut short, too long or of another kind (and says which). It
// also refuses a size of 0, sizes that such a file cannot hold, and more than `most` decompressed bytes.
IdxFile read_idx(const std::filesystem::path& file, IdxKind kind, bool hash = false,
                 std::uint64_t most = std::numeric_limits<std::uint64_t>::max());

// The sizes of a file of images, from its header alone, checked as read_idx checks it.
std::vector<std::int64_t> image_sizes(const std::filesystem::path& file);

}  // namespace norma
