// Data sets in memory: images as uint8 or features as float, with integer labels or float targets.
// Its types are plain values: one thread at a time may change one, any number may read it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/export.h"
#include "norma/shape.h"

namespace norma {

// One split in its owner's memory, which must stay and not change while a call reads it. Members are as Dataset's.
struct NORMA_API DatasetView {
  std::string_view name{};
  Shape sample{};
  std::span<const std::uint8_t> bytes{};
  std::span<const float> floats{};
  std::span<const std::int32_t> labels{};
  std::span<const std::string> classes{};
  std::span<const float> targets{};
  std::int64_t size() const;
};

// One split. Exactly one of bytes and floats holds the samples, [count][C][H][W] (or [count][F]). A set has labels, targets, both, or, to
// predict, neither.
struct NORMA_API Dataset {
  std::string name;  // "mnist/train"
  Shape sample;      // (C,H,W) or (F), without the batch
  std::vector<std::uint8_t> bytes;
  std::vector<float> floats;
  std::vector<std::int32_t> labels;  // [count], in 0 .. classes-1
  std::vector<std::string> classes;  // names
  std::vector<float> targets{};      // [count], each of the shape of the net's output: for MeanSquared and CustomLoss
  // Samples: the number of labels; without labels as many as the samples' values make.
  std::int64_t size() const { return DatasetView(*this).size(); }
  operator DatasetView() const;  // NOLINT: whatever reads a set takes a view of it
};

// Samples of one step, in the caller's memory until the call returns. Members are as Dataset's.
struct NORMA_API Batch {
  std::span<const std::uint8_t> bytes{};
  std::span<const float> floats{};
  std::span<const std::int32_t> labels{};
  std::span<const float> targets{};
};

struct NORMA_API DatasetPair {
  Dataset train, test;
  std::string source;  // origin: a folder, "built in"
};

// From stored samples to the net's input, in this order.
struct NORMA_API Transform {
  bool to_unit = true;               // bytes / 255
  std::vector<double> mean, stddev;  // then (x - mean[c]) / stddev[c]; one value serves all channels
  std::optional<Size2> resize{};     // bilinear, antialiased
};

// ---- known sets on disk

// Folders searched, in order: data_dir (when given), $NORMA_DATA_DIR, $XDG_CACHE_HOME/norma/datasets (default ~/.cache/norma/datasets),
// /usr/share/datasets.
NORMA_API std::vector<std::filesystem::path> dataset_search_path(const std::optional<std::filesystem::path>& data_dir = {});

// The folder that holds the four IDX files of `name` ("mnist", "fashion-mnist"), .gz or raw: <dir>/mnist, or torchvision's <dir>/MNIST/raw.
// A file may also be called train-images.idx3-ubyte, or lie in a folder of its own name.
NORMA_API std::optional<std::filesystem::path> find_dataset(const std::string& name,
                                                            const std::optional<std::filesystem::path>& data_dir = {});

// Loads and checks (magic, sizes, label range, counts, sha256 of the decompressed bytes). Throws Error(data) naming file and byte offset;
// where nothing is found, the folders searched and the command that fetches it.
NORMA_API DatasetPair load_dataset(const std::string& name, const std::optional<std::filesystem::path>& data_dir = {});

// Sets whose files are known byte for byte: "fashion-mnist", "mnist".
NORMA_API std::vector<std::string> known_datasets();

// The names of a known set's classes: "T-shirt/top", ...; "0" to "9". Needs no files. Throws Error(usage) for a name that is not known.
NORMA_API std::vector<std::string> dataset_classes(const std::string& name);

// Returns the folder of fetched sets: $XDG_CACHE_HOME/norma/datasets, default ~/.cache/norma/datasets. Throws Error(failure) without a
// home.
NORMA_API std::filesystem::path dataset_cache();

// One file of a known set on disk, compared with the published one.
struct NORMA_API FileCheck {
  enum class Status : std::uint8_t { ok, missing, mismatch };
  Status status = Status::missing;
  std::string file;            // "train-images-idx3-ubyte"
  std::filesystem::path path;  // the file found, raw or .gz; where missing, the .gz that was looked for
  std::uint64_t bytes = 0;     // decompressed
  std::string sha256;          // of the decompressed bytes; empty where they could not be read
  std::string expected;        // the published one
  std::string detail;          // the fault: "gzip stream cut short at byte 4096"; empty when ok
};

// Checks the four files of a known set in `folder`. Throws Error(usage) for a name that is not known. Faults of the files are in the rows.
NORMA_API std::vector<FileCheck> check_dataset(const std::string& name, const std::filesystem::path& folder);

// Checks one file at any path as `file` of the set.
NORMA_API FileCheck check_dataset_file(const std::string& name, const std::string& file, const std::filesystem::path& path);

// Loads any pair of IDX files, gzip or raw. Images are unsigned bytes (magic 0x803). Labels are bytes, integers of 16 or 32 bits, or
// QMNIST's eight integers a sample, in 0 .. 65535. classes 0: one more than the largest label.
NORMA_API Dataset load_idx(const std::filesystem::path& images, const std::filesystem::path& labels, std::int64_t classes = 0);

// (count, 1, height, width) of such images. Reads the header alone, and checks it as load_idx does.
NORMA_API Shape idx_shape(const std::filesystem::path& images);

// ---- made by code, the same bits everywhere

// Makes scikit-learn's points, as floats and in its order: those of make_circles(samples, noise=noise, factor=factor, random_state=seed),
// then train_test_split(..., test_size=test_fraction, random_state=seed).
// samples/2 points lie on the unit circle (label 0), the rest on a circle of radius `factor` (label 1). Gaussian noise of standard
// deviation `noise` is added. Features are (2). seed < 2^32.
NORMA_API DatasetPair make_circles(std::int64_t samples, double noise, double factor, double test_fraction, std::uint64_t seed);

// Digits 0-9 drawn in 28x28 from a stroke font with random shift, rotation, scale, slant, thickness and noise; classes in equal shares.
NORMA_API DatasetPair make_digits(std::int64_t train, std::int64_t test, std::uint64_t seed);

}  // namespace norma
