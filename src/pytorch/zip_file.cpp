#include "src/pytorch/zip_file.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "norma/text.h"
#include "src/files/safetensors_header.h"

namespace norma {
namespace {

// A little-endian number, wherever it lies.
template <class T>
T number(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

constexpr std::size_t end_bytes = 22, end64_bytes = 56, locator_bytes = 20, entry_bytes = 46, header_bytes = 30;
constexpr std::uint32_t all32 = 0xffffffff;

// A field of an entry that is all ones has its value in the extra field of zip64.
struct Extra64 {
  std::string_view left;
  std::uint64_t value(std::uint32_t field, const std::string& where) {
    if (field != all32) return field;
    if (left.size() < 8) corrupt(where, "has no zip64 sizes");
    const auto wide = number<std::uint64_t>(left, 0);
    left.remove_prefix(8);
    return wide;
  }
};

std::string_view extra64_of(std::string_view extra) {
  while (extra.size() >= 4) {
    const std::size_t bytes = number<std::uint16_t>(extra, 2);
    if (bytes > extra.size() - 4) break;
    if (number<std::uint16_t>(extra, 0) == 1) return extra.substr(4, bytes);
    extra.remove_prefix(4 + bytes);
  }
  return {};
}

}  // namespace

ZipFile::ZipFile(const std::filesystem::path& path) : name_(printable(path.string())), file_(path, ErrorKind::data) {
  read_entries(find_directory());
}

void ZipFile::read(std::uint64_t at, void* to, std::size_t count) {
  if (file_.read_at(at, to, count) != count) corrupt(name_, "reading it stopped short; did the file change meanwhile?");
}

ZipFile::Directory ZipFile::find_directory() {
  const auto cut = [&] { corrupt(name_, "the archive has no directory at its end (was it cut short?)"); };
  std::string tail(static_cast<std::size_t>(std::min<std::uint64_t>(size(), end_bytes + 0xffff)), '\0');
  read(size() - tail.size(), tail.data(), tail.size());
  if (tail.size() < end_bytes) cut();
  std::size_t end = tail.size() - end_bytes;  // its comment ends with the file
  while (tail.compare(end, 4, "PK\5\6") != 0 || number<std::uint16_t>(tail, end + 20) != tail.size() - end - end_bytes)
    if (end-- == 0) cut();
  const std::uint64_t end_at = size() - tail.size() + end;
  Directory d{number<std::uint32_t>(tail, end + 16), number<std::uint32_t>(tail, end + 12), number<std::uint16_t>(tail, end + 10)};
  bool one_disk = number<std::uint16_t>(tail, end + 4) == number<std::uint16_t>(tail, end + 6);
  std::uint64_t directory_end = end_at;
  std::string locator(locator_bytes, '\0');
  if (end_at >= locator_bytes) read(end_at - locator_bytes, locator.data(), locator_bytes);
  if (locator.starts_with("PK\6\7")) {
    directory_end = number<std::uint64_t>(locator, 8);
    std::string end64(end64_bytes, '\0');
    if (directory_end > end_at || end_at - directory_end < end64_bytes) cut();
    read(directory_end, end64.data(), end64_bytes);
    if (!end64.starts_with("PK\6\6")) cut();
    d = {number<std::uint64_t>(end64, 48), number<std::uint64_t>(end64, 40), number<std::uint64_t>(end64, 32)};
    one_disk = number<std::uint32_t>(end64, 16) == number<std::uint32_t>(end64, 20);
  }
  if (!one_disk) corrupt(name_, "is one of several parts of an archive");
  if (d.at > directory_end || d.size != directory_end - d.at || d.entries > d.size / entry_bytes)
    corrupt(name_, "the archive's directory is damaged");
  return d;
}

void ZipFile::read_entries(const Directory& d) {
  directory_.resize(d.size);
  read(d.at, directory_.data(), directory_.size());
  entries_.reserve(d.entries);
  std::string_view left = directory_;
  for (std::uint64_t i = 0; i < d.entries; ++i) {
    const std::string where = name_ + ": entry " + std::to_string(i) + " of the archive's directory";
    if (left.size() < entry_bytes || !left.starts_with("PK\1\2")) corrupt(where, "is damaged");
    const std::size_t name = number<std::uint16_t>(left, 28), extra = number<std::uint16_t>(left, 30),
                      whole = entry_bytes + name + extra + number<std::uint16_t>(left, 32);
    if (whole > left.size()) corrupt(where, "is damaged");
    Extra64 wide{extra64_of(left.substr(entry_bytes + name, extra))};
    ZipEntry e{.name = left.substr(entry_bytes, name),
               .crc = number<std::uint32_t>(left, 16),
               .method = number<std::uint16_t>(left, 10),
               .encrypted = (number<std::uint16_t>(left, 8) & 1) != 0};
    e.size = wide.value(number<std::uint32_t>(left, 24), where);
    const std::uint64_t stored = wide.value(number<std::uint32_t>(left, 20), where);
    place(e, wide.value(number<std::uint32_t>(left, 42), where), d);
    if (e.method == 0 && stored != e.size) corrupt(where, "has two sizes");
    if (stored > d.at - e.at) corrupt(where, "reaches beyond the archive's contents");
    entries_.push_back(e);
    left.remove_prefix(whole);
  }
  if (!left.empty()) corrupt(name_, "the archive's directory is damaged");
  std::ranges::sort(entries_, {}, &ZipEntry::at);
  for (std::size_t i = 1; i < entries_.size(); ++i)
    if (entries_[i].at - entries_[i].name.size() - header_bytes < entries_[i - 1].at + (entries_[i - 1].method ? 0 : entries_[i - 1].size))
      corrupt(name_, "its entries " + in_quotes(entries_[i - 1].name) + " and " + in_quotes(entries_[i].name) + " overlap");
  std::ranges::sort(entries_, {}, &ZipEntry::name);
  const auto twice = std::ranges::adjacent_find(entries_, {}, &ZipEntry::name);
  if (twice != entries_.end()) corrupt(name_, "has the entry " + in_quotes(twice->name) + " twice");
}

// header: where the entry's own header begins; its bytes follow that.
void ZipFile::place(ZipEntry& e, std::uint64_t header, const Directory& d) {
  const std::string where = name_ + ": entry " + in_quotes(e.name);
  std::string own(header_bytes + e.name.size(), '\0');
  if (header > d.at || d.at - header < own.size()) corrupt(where, "begins beyond the archive's contents");
  read(header, own.data(), own.size());
  if (!own.starts_with("PK\3\4") || number<std::uint16_t>(own, 26) != e.name.size() || own.substr(header_bytes) != e.name)
    corrupt(where, "is not where the archive's directory says");
  e.at = header + own.size() + number<std::uint16_t>(own, 28);
  if (e.at > d.at) corrupt(where, "begins beyond the archive's contents");
}

const ZipEntry* ZipFile::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(entries_, name, {}, &ZipEntry::name);
  return found == entries_.end() || found->name != name ? nullptr : &*found;
}

void ZipFile::check(const ZipEntry& e) {
  const std::string where = name_ + ": entry " + in_quotes(e.name);
  if (e.encrypted) corrupt(where, "is encrypted");
  if (e.method != 0)
    corrupt(where, std::string("is compressed (") + (e.method == 8 ? "deflate" : "method " + std::to_string(e.method)) +
                       "), which torch.save does not do: save the state_dict with it anew");
  std::vector<unsigned char> block(std::size_t{1} << 16);
  std::uint64_t at = e.at;
  uLong crc = crc32(0, nullptr, 0);
  for (std::uint64_t left = e.size; left > 0;) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left, block.size()));
    read(at, block.data(), n);
    crc = crc32(crc, block.data(), static_cast<uInt>(n));
    at += n, left -= n;
  }
  if (crc != e.crc)
    corrupt(where, "does not give its checksum: the file is damaged (or was saved with torch.serialization.set_crc32_options(False))");
}

}  // namespace norma
