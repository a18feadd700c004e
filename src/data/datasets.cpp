// Data sets on disk: finds them, makes Datasets of pairs of IDX files, and checks the files on the way.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <future>

#include "norma/dataset.h"
#include "norma/error.h"
#include "norma/file_kind.h"
#include "norma/text.h"
#include "src/data/gzip_stream.h"
#include "src/data/idx.h"
#include "src/data/label_range.h"
#include "src/data/published_files.h"
#include "src/files/sha256.h"

namespace norma {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Empty without a home folder.
fs::path cache_folder() {
  const fs::path xdg = environment("XDG_CACHE_HOME");  // a relative one is to be ignored (XDG base directory specification)
  if (xdg.is_absolute()) return xdg / "norma" / "datasets";
  const fs::path home = environment("HOME");
  return home.empty() ? fs::path() : home / ".cache" / "norma" / "datasets";
}

// Finds the file in the folder, raw or else .gz. It may have its own name, an archiver's (train-images.idx3-ubyte), or lie in a folder of
// its name, as Kaggle unpacks it. Returns nullopt if none is there. A device or a pipe is returned too: reading it says what it is.
std::optional<fs::path> find_file(const fs::path& folder, std::string_view file) {
  std::string dotted(file);
  dotted[dotted.rfind("-idx")] = '.';
  std::error_code ignored;
  for (const std::string& name : {std::string(file), dotted})
    for (const fs::path& place : {folder, folder / std::string(file), folder / dotted})
      for (const char* suffix : {"", ".gz"}) {
        fs::path path = place / (name + suffix);
        if (fs::exists(path, ignored) && !fs::is_directory(path, ignored)) return path;
      }
  return {};
}

std::vector<fs::path> candidate_folders(const std::string& name, const std::optional<fs::path>& data_dir) {
  const KnownSet* known = find_known_set(name);
  std::vector<fs::path> folders;
  for (const fs::path& root : dataset_search_path(data_dir)) {
    folders.push_back(root / name);
    if (known) folders.push_back(root / known->torchvision / "raw");
  }
  return folders;
}

void check_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
    throw Error(ErrorKind::usage, "data set \"" + printable(name) + "\": a name without '/' is needed; for other files there is load_idx");
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

[[noreturn]] void fail_not_found(const std::string& name, const std::optional<fs::path>& data_dir) {
  std::string message = "data set " + printable(name) + " not found; looked in";
  for (const fs::path& folder : candidate_folders(name, data_dir)) {
    message += "\n  " + printable(folder.string());
    std::vector<std::string> lacking;
    for (std::string_view file : idx_files)
      if (!find_file(folder, file)) lacking.push_back(std::string(file) + "[.gz]");
    if (lacking.size() < idx_files.size()) message += " (lacks " + join(lacking) + ")";
  }
  message += "\n  a folder is to hold " + join({idx_files.begin(), idx_files.end()}) +
             ", raw or .gz, each under this name, as train-images.idx3-ubyte, or in a folder of its name";
  message +=
      find_known_set(name)
          ? "\n  fetch it with: norma data fetch " + name + "; where it lies elsewhere: --data-dir DIR, the folder that holds " + name + "/"
          : "\n  norma can fetch " + join(known_datasets()) + "; any other set needs its four files in one of these";
  throw Error(ErrorKind::data, message);
}

// "; these are the bytes of fashion-mnist, ..." where that is so.
std::string whose_bytes(const std::string& sha256) {
  for (const KnownSet& set : known_sets())
    for (const KnownFile& file : set.files)
      if (file.sha256 == sha256)
        return "; these are the bytes of " + std::string(set.name) + "'s " + std::string(file.file) +
               " (MNIST and Fashion-MNIST use the same file names)";
  return "";
}

IdxFile read_known(const fs::path& folder, const fs::path& path, IdxKind kind, const KnownSet* set, std::size_t file) {
  if (!set) return read_idx(path, kind);
  const std::string mend = "; mend it: norma data fetch " + std::string(set->name) + " --data-dir " +
                           (folder.filename() == set->name ? shell_word(folder.parent_path().string()) : std::string("DIR"));
  IdxFile idx;
  try {
    idx = read_idx(path, kind, true, set->files[file].bytes);
  } catch (const Error& error) {
    throw Error(error.kind(), error.what() + mend);
  }
  if (idx.sha256 != set->files[file].sha256)
    throw Error(ErrorKind::data, printable(path.string()) + ": not the published " + std::string(set->name) +
                                     ": sha256 of the decompressed bytes is " + idx.sha256 + ", not " +
                                     std::string(set->files[file].sha256) + whose_bytes(idx.sha256) + mend);
  return idx;
}

// Names the classes; 0 classes: one more than the largest label.
void set_classes(Dataset& data, std::int64_t classes, const fs::path& labels_path) {
  const std::int64_t largest = *std::max_element(data.labels.begin(), data.labels.end());
  const std::int64_t count = classes ? classes : largest + 1;
  if (largest >= count) {
    const auto i = std::find_if(data.labels.begin(), data.labels.end(), [=](std::int32_t l) { return l >= count; }) - data.labels.begin();
    throw Error(ErrorKind::data, printable(labels_path.string()) + ": label " + std::to_string(data.labels[static_cast<std::size_t>(i)]) +
                                     " of sample " + std::to_string(i) + " is not in 0 .. " + std::to_string(count - 1) +
                                     label_range(data.labels));
  }
  for (std::int64_t c = 0; c < count; ++c) data.classes.push_back(std::to_string(c));
}

Dataset pair_up(std::string name, IdxFile images, const fs::path& images_path, IdxFile labels, const fs::path& labels_path) {
  if (images.dims[0] != labels.dims[0])
    throw Error(ErrorKind::data, printable(images_path.string()) + " holds " + std::to_string(images.dims[0]) + " images, but " +
                                     printable(labels_path.string()) + " holds " + std::to_string(labels.dims[0]) +
                                     " labels (counts at byte 4)");
  Dataset data;
  data.name = std::move(name);
  data.sample = {1, images.dims[1], images.dims[2]};
  data.bytes = std::move(images.bytes);
  data.labels = std::move(labels.labels);
  return data;
}

}  // namespace

Dataset::operator DatasetView() const {
  return {.name = name, .sample = sample, .bytes = bytes, .floats = floats, .labels = labels, .classes = classes, .targets = targets};
}

std::int64_t DatasetView::size() const {
  const auto features = static_cast<std::size_t>(std::max<std::int64_t>(1, sample.elements()));
  return static_cast<std::int64_t>(labels.empty() ? std::max(bytes.size(), floats.size()) / features : labels.size());
}

std::vector<fs::path> dataset_search_path(const std::optional<fs::path>& data_dir) {
  std::vector<fs::path> folders;
  if (data_dir) folders.push_back(*data_dir);
  if (const std::string dir = environment("NORMA_DATA_DIR"); !dir.empty()) folders.emplace_back(dir);
  if (fs::path cache = cache_folder(); !cache.empty()) folders.push_back(std::move(cache));
  folders.emplace_back("/usr/share/datasets");
  return folders;
}

fs::path dataset_cache() {
  fs::path cache = cache_folder();
  if (cache.empty()) throw Error(ErrorKind::failure, "no folder to keep data sets in: neither XDG_CACHE_HOME nor HOME is set");
  return cache;
}

std::optional<fs::path> find_dataset(const std::string& name, const std::optional<fs::path>& data_dir) {
  check_name(name);
  for (fs::path& folder : candidate_folders(name, data_dir))
    if (std::all_of(idx_files.begin(), idx_files.end(), [&](std::string_view file) { return find_file(folder, file).has_value(); }))
      return std::move(folder);
  return {};
}

DatasetPair load_dataset(const std::string& name, const std::optional<fs::path>& data_dir) {
  const std::optional<fs::path> folder = find_dataset(name, data_dir);
  if (!folder) fail_not_found(name, data_dir);
  const KnownSet* known = find_known_set(name);
  std::array<fs::path, 4> path;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const std::optional<fs::path> found = find_file(*folder, idx_files[i]);
    if (!found) fail_not_found(name, data_dir);
    path[i] = *found;
  }
  const auto read = [&](std::size_t i) { return read_known(*folder, path[i], i % 2 ? IdxKind::labels : IdxKind::images, known, i); };
  // The training images are most of the work; the rest is read at the same time.
  auto rest = std::async([&] { return std::array{read(1), read(2), read(3)}; });
  IdxFile train_images = read(0);
  auto [train_labels, test_images, test_labels] = rest.get();

  DatasetPair pair;
  pair.source = folder->string();
  pair.train = pair_up(name + "/train", std::move(train_images), path[0], std::move(train_labels), path[1]);
  pair.test = pair_up(name + "/test", std::move(test_images), path[2], std::move(test_labels), path[3]);
  if (pair.train.sample != pair.test.sample)
    throw Error(ErrorKind::data, printable(path[2].string()) + ": images are " + to_string(pair.test.sample) + ", those in " +
                                     printable(path[0].string()) + " are " + to_string(pair.train.sample) + " (sizes at byte 8)");
  set_classes(pair.train, known ? static_cast<std::int64_t>(known->classes.size()) : 0, path[1]);
  set_classes(pair.test, static_cast<std::int64_t>(pair.train.classes.size()), path[3]);
  if (known) {
    pair.train.classes.assign(known->classes.begin(), known->classes.end());
    pair.test.classes = pair.train.classes;
  }
  return pair;
}

Dataset load_idx(const fs::path& images, const fs::path& labels, std::int64_t classes) {
  if (classes < 0) throw Error(ErrorKind::usage, "load_idx: classes is " + std::to_string(classes) + ", not 0 (from the labels) or more");
  fs::path stem = images.filename();
  if (stem.extension() == ".gz") stem.replace_extension();
  Dataset data = pair_up(stem.string(), read_idx(images, IdxKind::images), images, read_idx(labels, IdxKind::labels), labels);
  set_classes(data, classes, labels);
  return data;
}

Shape idx_shape(const fs::path& images) {
  const std::vector<std::int64_t> sizes = image_sizes(images);
  return {sizes[0], 1, sizes[1], sizes[2]};
}

std::vector<std::string> known_datasets() {
  std::vector<std::string> names;
  for (const KnownSet& set : known_sets()) names.emplace_back(set.name);
  return names;
}

namespace {
// Throws Error(usage) listing the known names.
const KnownSet& known_set(const std::string& name) {
  const KnownSet* set = find_known_set(name);
  if (!set)
    throw Error(ErrorKind::usage,
                "data set \"" + printable(name) + "\" is not one that norma knows the files of: " + join(known_datasets()));
  return *set;
}

}  // namespace

std::vector<std::string> dataset_classes(const std::string& name) {
  const auto& classes = known_set(name).classes;
  return {classes.begin(), classes.end()};
}

namespace {
// Reads the whole file, but never more than one byte beyond its expected size.
void hash_file(FileCheck& row, std::uint64_t expected_bytes) {
  ByteStream stream(row.path);
  Sha256 hash;
  std::vector<std::uint8_t> buffer(std::size_t{1} << 18);
  std::string kind;  // a file's other kind
  while (row.bytes <= expected_bytes) {
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), expected_bytes + 1 - row.bytes));
    const std::size_t got = stream.read(buffer.data(), want);
    hash.update(buffer.data(), got);
    if (row.bytes == 0) kind = file_kind({reinterpret_cast<const char*>(buffer.data()), got});
    row.bytes += got;
    if (got < want) break;
  }
  if (row.bytes > expected_bytes) {
    row.detail = "more than the " + std::to_string(expected_bytes) + " bytes published";
    return;
  }
  row.sha256 = hash.hex();
  if (row.sha256 == row.expected) row.status = FileCheck::Status::ok;
  else if (!kind.empty() && !kind.starts_with("an IDX file")) row.detail = "not an IDX file but " + kind;
  else if (row.bytes < expected_bytes)
    row.detail = "cut short: " + std::to_string(row.bytes) + " bytes, not " + std::to_string(expected_bytes);
  else row.detail = "other bytes than published" + whose_bytes(row.sha256);
}
}  // namespace

FileCheck check_dataset_file(const std::string& name, const std::string& file, const fs::path& path) {
  const KnownSet& set = known_set(name);
  const auto known = std::find_if(set.files.begin(), set.files.end(), [&](const KnownFile& f) { return f.file == file; });
  if (known == set.files.end()) throw Error(ErrorKind::usage, "data set " + name + " has no file \"" + printable(file) + "\"");
  FileCheck row;
  row.file = file;
  row.path = path;
  row.expected = known->sha256;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    row.detail = "no such file";
    return row;
  }
  row.status = FileCheck::Status::mismatch;
  try {
    hash_file(row, known->bytes);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    row.detail = error.what();
  }
  return row;
}

std::vector<FileCheck> check_dataset(const std::string& name, const fs::path& folder) {
  std::vector<FileCheck> rows;
  for (const KnownFile& file : known_set(name).files) {
    const fs::path path = find_file(folder, file.file).value_or(folder / (std::string(file.file) + ".gz"));
    rows.push_back(check_dataset_file(name, std::string(file.file), path));
  }
  return rows;
}

}  // namespace norma
