// Files of torch.save made by hand: a zip archive of stored entries, and the pickle of a state_dict.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace norma::test {

// A file of tests/golden/torch/, which PyTorch wrote.
inline std::filesystem::path torch_file(const std::string& name) {
  const char* root = std::getenv("NORMA_SOURCE_DIR");
  const std::filesystem::path tests =
      root ? std::filesystem::path(root) / "tests" : std::filesystem::path(__FILE__).parent_path().parent_path();
  return tests / "golden/torch" / name;
}

template <class T>
std::string little(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

struct ZipPart {
  std::string name, bytes;
  std::uint16_t method = 0, flags = 0;
  std::int64_t wrong_offset = 0, wrong_size = 0;  // added in the directory
  std::uint32_t wrong_crc = 0;
};

// zip64: all sizes and places in the wide fields.
inline std::string zip_of(const std::vector<ZipPart>& parts, bool zip64 = false) {
  std::string all, directory;
  constexpr std::uint32_t ones = 0xffffffff;
  for (const ZipPart& p : parts) {
    const auto length = static_cast<std::uint64_t>(static_cast<std::int64_t>(p.bytes.size()) + p.wrong_size);
    const auto at = static_cast<std::uint64_t>(static_cast<std::int64_t>(all.size()) + p.wrong_offset);
    const auto crc =
        static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(p.bytes.data()), static_cast<uInt>(p.bytes.size()))) +
        p.wrong_crc;
    const std::string names = little(static_cast<std::uint16_t>(p.name.size()));
    const std::string middle = little(p.flags) + little(p.method) + little(std::uint32_t{0}) + little(crc);
    const std::string sizes = little(static_cast<std::uint32_t>(p.bytes.size()));
    all += "PK\3\4" + little(std::uint16_t{0}) + middle + sizes + sizes + names + little(std::uint16_t{0}) + p.name + p.bytes;
    const std::string wide =
        zip64 ? little(std::uint16_t{1}) + little(std::uint16_t{24}) + little(length) + little(length) + little(at) : "";
    const std::string narrow = zip64 ? little(ones) : little(static_cast<std::uint32_t>(length));
    directory += "PK\1\2" + little(std::uint32_t{0}) + middle + narrow + narrow + names + little(static_cast<std::uint16_t>(wide.size())) +
                 little(std::uint16_t{0}) + little(std::uint16_t{0}) + little(std::uint16_t{0}) + little(std::uint32_t{0}) +
                 (zip64 ? little(ones) : little(static_cast<std::uint32_t>(at))) + p.name + wide;
  }
  const std::uint64_t begin = all.size(), end = begin + directory.size(), count = parts.size();
  all += directory;
  if (zip64)
    all += "PK\6\6" + little(std::uint64_t{44}) + little(std::uint32_t{0}) + little(std::uint32_t{0}) + little(std::uint32_t{0}) +
           little(count) + little(count) + little(std::uint64_t{directory.size()}) + little(begin) + "PK\6\7" + little(std::uint32_t{0}) +
           little(end) + little(std::uint32_t{1});
  const auto few = zip64 ? std::uint16_t{0xffff} : static_cast<std::uint16_t>(count);
  return all + "PK\5\6" + little(std::uint32_t{0}) + little(few) + little(few) +
         little(zip64 ? ones : static_cast<std::uint32_t>(directory.size())) + little(zip64 ? ones : static_cast<std::uint32_t>(begin)) +
         little(std::uint16_t{0});
}

// ---- pickles

inline std::string text_of(const std::string& s) { return "X" + little(static_cast<std::uint32_t>(s.size())) + s; }
inline std::string integer(std::int32_t i) { return "J" + little(i); }
inline std::string tuple(const std::vector<std::int32_t>& items) {
  std::string all = "(";
  for (const std::int32_t i : items) all += integer(i);
  return all + "t";
}
// torch._utils._rebuild_tensor_v2(storage `key` of `elements`, offset, shape, strides)
inline std::string tensor(const std::string& key, std::int32_t elements, std::int32_t offset, const std::vector<std::int32_t>& shape,
                          const std::vector<std::int32_t>& strides, const std::string& storage = "FloatStorage") {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text_of("storage") + "ctorch\n" + storage + "\n" + text_of(key) + text_of("cpu") +
         integer(elements) + "tQ" + integer(offset) + tuple(shape) + tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}
// {name: value, ...}; values: pickled
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [name, value] : items) all += text_of(name) + value;
  return all + "u";
}
inline std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }

// An archive of this pickle, with storages 0, 1, ... of these bytes.
inline std::vector<ZipPart> torch_parts(const std::string& pickled, const std::vector<std::string>& storages) {
  std::vector<ZipPart> parts{{"archive/data.pkl", pickled}, {"archive/byteorder", "little"}};
  for (std::size_t i = 0; i < storages.size(); ++i) parts.push_back({"archive/data/" + std::to_string(i), storages[i]});
  return parts;
}
// A state_dict of w, two by three, and b, three floats.
inline std::string small_torch_file(bool zip64 = false) {
  std::string bytes;
  for (int i = 0; i < 9; ++i) bytes += little(static_cast<float>(i));
  return zip_of(torch_parts(pickle(dict({{"w", tensor("0", 9, 0, {2, 3}, {3, 1})}, {"b", tensor("0", 9, 6, {3}, {1})}})), {bytes}), zip64);
}

}  // namespace norma::test
