// Data sets in memory: images as uint8 or features as float, with integer labels.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "norma/shape.h"

namespace norma {

// One split. Exactly one of bytes and floats holds the samples, [count][C][H][W] (or [count][F]).
struct Dataset {
  std::string name;  // "mnist/train"
  Shape sample;      // (C,H,W) or (F), without the batch
  std::vector<std::uint8_t> bytes;
  std::vector<float> floats;
  std::vector<std::int32_t> labels;  // [count], in 0 .. classes-1
  std::vector<std::string> classes;  // names
  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

struct DatasetPair {
  Dataset train, test;
  std::string source;  // where it came from: a folder, "built in"
};

// ---- known sets on disk

// Folders searched, in order: data_dir (when given), $NORMA_DATA_DIR, $XDG_CACHE_HOME/norma/datasets (default ~/.cache/norma/datasets),
// /usr/share/datasets.
std::vector<std::filesystem::path> dataset_search_path(const std::optional<std::filesystem::path>& data_dir = {});

// The folder that holds the four IDX files of `name` ("mnist", "fashion-mnist"), .gz or raw: <dir>/mnist, or torchvision's <dir>/MNIST/raw.
std::optional<std::filesystem::path> find_dataset(const std::string& name, const std::optional<std::filesystem::path>& data_dir = {});

// Loads and checks (magic, sizes, label range, counts, sha256 of the decompressed bytes). Throws Error(data) naming file and byte offset;
// where nothing is found, the folders searched and the command that fetches it.
DatasetPair load_dataset(const std::string& name, const std::optional<std::filesystem::path>& data_dir = {});
inline DatasetPair load_mnist(const std::optional<std::filesystem::path>& data_dir = {}) { return load_dataset("mnist", data_dir); }
inline DatasetPair load_fashion_mnist(const std::optional<std::filesystem::path>& data_dir = {}) {
  return load_dataset("fashion-mnist", data_dir);
}

// Any pair of IDX files (images with magic 0x803, labels 0x801; gzip or raw). classes 0: one more than the largest label.
Dataset load_idx(const std::filesystem::path& images, const std::filesystem::path& labels, std::int64_t classes = 0);

// ---- made by code, the same bits everywhere

// scikit-learn's make_circles: samples/2 points on the unit circle (label 0), the rest on one of radius `factor` (label 1), plus Gaussian
// noise of that standard deviation; features are (2). test_fraction of a shuffled copy becomes the test split.
DatasetPair make_circles(std::int64_t samples, double noise, double factor, double test_fraction, std::uint64_t seed);

// Digits 0-9 drawn in 28x28 from a stroke font with random shift, rotation, scale, slant, thickness and noise; classes in equal shares.
DatasetPair make_digits(std::int64_t train, std::int64_t test, std::uint64_t seed);

}  // namespace norma
