// IDX files (http://yann.lecun.com/exdb/mnist): big-endian u32 magic 0x0000'08'dd (unsigned bytes, dd dimensions), the dd sizes, the bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace norma {

enum class IdxKind : std::uint32_t { labels = 0x801, images = 0x803 };  // the magic numbers

struct IdxFile {
  std::vector<std::int64_t> dims;  // {count} or {count, height, width}, all at least 1
  std::vector<std::uint8_t> bytes;
  std::string sha256;  // of the decompressed file, header included; empty unless asked for
};

// Reads a raw or gzip file. Memory follows the bytes that arrive and never passes what the header announces.
// Throws Error(data) naming file and byte offset: cut short, too long, wrong magic, a size of 0, sizes that such a file cannot hold.
IdxFile read_idx(const std::filesystem::path& file, IdxKind kind, bool hash = false);

}  // namespace norma
