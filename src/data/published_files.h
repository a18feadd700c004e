// Published facts about the data sets that norma knows by name.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace norma {

struct KnownFile {
  std::string_view file;    // without .gz
  std::uint64_t bytes;      // decompressed
  std::string_view sha256;  // of the decompressed bytes: mirrors and distributions differ in their gzip containers
};

struct KnownSet {
  std::string_view name, torchvision;  // folder names
  std::array<KnownFile, 4> files;      // in the order of idx_files
  std::array<std::string_view, 10> classes;
};

// The files of any set on disk, by MNIST's names.
inline constexpr std::array<std::string_view, 4> idx_files = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                                              "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

std::span<const KnownSet> known_sets();

// Null for a name that is not known.
const KnownSet* find_known_set(std::string_view name);

}  // namespace norma
