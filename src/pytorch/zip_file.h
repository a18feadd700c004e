// The parts of a zip archive whose entries lie uncompressed, as torch.save writes them (APPNOTE.TXT of PKWARE, with zip64).
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/files/input_file.h"

namespace norma {

struct ZipEntry {
  std::string_view name;
  std::uint64_t at = 0, size = 0;  // of its bytes in the file
  std::uint32_t crc = 0;
  std::uint16_t method = 0;  // 0: stored
  bool encrypted = false;
};

class ZipFile {
 public:
  // Reads the directory at the archive's end. Entries lie one after the other, none over another, before the directory. Throws Error(data)
  // naming the file for one that is damaged, cut short or of several disks.
  explicit ZipFile(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return file_.size(); }
  std::span<const ZipEntry> entries() const { return entries_; }  // in the order of their names
  const ZipEntry* find(std::string_view name) const;              // null if absent

  // Throws Error(data) naming file and entry where it is compressed or encrypted, or its bytes do not give its checksum.
  void check(const ZipEntry& entry);
  // Bytes of the file, all of them.
  void read(std::uint64_t at, void* to, std::size_t count);

 private:
  struct Directory {
    std::uint64_t at = 0, size = 0, entries = 0;
  };
  Directory find_directory();
  void read_entries(const Directory& directory);
  void place(ZipEntry& entry, std::uint64_t header, const Directory& directory);

  std::string name_;
  InputFile file_;
  std::string directory_;  // the entries' names lie in it
  std::vector<ZipEntry> entries_;
};

}  // namespace norma
