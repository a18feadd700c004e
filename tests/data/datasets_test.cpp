// Data sets on disk: the search, the pairing of images and labels, and what is said when something is wrong.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "norma/dataset.h"
#include "src/data/published_files.h"
#include "tests/support/environment_variable.h"
#include "tests/support/expect_error.h"
#include "tests/support/idx_files.h"
#include "tests/support/temporary_folder.h"

namespace norma {
namespace {

namespace fs = std::filesystem;
using namespace test;

class Datasets : public ::testing::Test {
 protected:
  // Four good files of 12 and 6 samples, 4x3, in `folder`.
  static void write_set(const fs::path& folder, bool packed = false) {
    const std::string files[] = {idx_images(12, 4, 3), idx_labels(12, 3), idx_images(6, 4, 3), idx_labels(6, 3)};
    for (std::size_t i = 0; i < 4; ++i)
      write_bytes(folder / (std::string(idx_files[i]) + (packed ? ".gz" : "")), packed ? gzip(files[i]) : files[i]);
  }

  TemporaryFolder home_;
  // Nothing of the machine's own is found, but for /usr/share/datasets.
  EnvironmentVariable data_dir_{"NORMA_DATA_DIR", nullptr}, xdg_{"XDG_CACHE_HOME", nullptr}, user_{"HOME", home_.path().string().c_str()};
};

TEST_F(Datasets, SearchPathInOrder) {
  const fs::path usr = "/usr/share/datasets";
  EXPECT_EQ(dataset_search_path(), (std::vector<fs::path>{home_ / ".cache/norma/datasets", usr}));
  EXPECT_EQ(dataset_cache(), home_ / ".cache/norma/datasets");
  const EnvironmentVariable dir("NORMA_DATA_DIR", "/data"), xdg("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(dataset_search_path("/mine"), (std::vector<fs::path>{"/mine", "/data", "/xdg/norma/datasets", usr}));
  EXPECT_EQ(dataset_cache(), "/xdg/norma/datasets");
  const EnvironmentVariable relative("XDG_CACHE_HOME", "xdg"), empty("NORMA_DATA_DIR", ""), nobody("HOME", nullptr);
  EXPECT_EQ(dataset_search_path(), std::vector<fs::path>{usr});
  expect_error(ErrorKind::failure, {"HOME"}, [] { dataset_cache(); });
}

TEST_F(Datasets, FindsTheFirstCompleteFolder) {
  write_set(home_ / "b/mnist", true);
  write_set(home_ / "a/mnist");
  fs::remove(home_ / "a/mnist" / std::string(idx_files[3]));
  const EnvironmentVariable dir("NORMA_DATA_DIR", (home_ / "b").string().c_str());
  EXPECT_EQ(find_dataset("mnist", home_ / "a"), home_ / "b/mnist");
  write_set(home_ / "a/MNIST/raw");
  EXPECT_EQ(find_dataset("mnist", home_ / "a"), home_ / "a/MNIST/raw");
  write_set(home_ / "a/FashionMNIST/raw");
  EXPECT_EQ(find_dataset("fashion-mnist", home_ / "a"), home_ / "a/FashionMNIST/raw");
  EXPECT_EQ(find_dataset("no-such-set", home_ / "a"), std::nullopt);
}

TEST_F(Datasets, FindsFilesAsArchiversAndKaggleNameThem) {
  const auto dotted = [](std::string name) { return name.replace(name.rfind("-idx"), 1, "."); };
  for (const bool packed : {false, true})
    for (const bool dots : {false, true})
      for (const int place : {0, 1, 2}) {  // in the set's folder; in one of the file's name, with dots or without
        const fs::path root = home_ / ("root" + std::to_string(packed) + std::to_string(dots) + std::to_string(place));
        write_set(root / "shapes", packed);
        for (const std::string_view file : idx_files) {
          const std::string name(file), suffix = packed ? ".gz" : "";
          const fs::path folder = root / "shapes", to = place == 0 ? folder : folder / (place == 1 ? name : dotted(name));
          fs::rename(folder / (name + suffix), folder / "moving");
          fs::create_directories(to);
          fs::rename(folder / "moving", to / ((dots ? dotted(name) : name) + suffix));
        }
        EXPECT_EQ(load_dataset("shapes", root).train.size(), 12) << root;
      }
}

TEST_F(Datasets, SaysWhereItLookedAndWhatToDo) {
  write_set(home_ / "a/mnist");
  fs::remove(home_ / "a/mnist" / std::string(idx_files[2]));
  expect_error(ErrorKind::data,
               {(home_ / "a/mnist").string() + " (lacks t10k-images-idx3-ubyte[.gz])", (home_ / "a/MNIST/raw").string(),
                (home_ / ".cache/norma/datasets/mnist").string(), "/usr/share/datasets/mnist", "norma data fetch mnist"},
               [&] { load_dataset("mnist", home_ / "a"); });
  expect_error(ErrorKind::data,
               {"train-labels-idx1-ubyte, t10k-images-idx3-ubyte", "raw or .gz", "train-images.idx3-ubyte", "norma data fetch mnist"},
               [&] { load_dataset("mnist", home_ / "empty"); });
  expect_error(ErrorKind::data, {"kmnist not found", "/usr/share/datasets/kmnist", "can fetch fashion-mnist, mnist"},
               [] { load_dataset("kmnist"); });
  for (const char* name : {"", ".", "..", "a/b", "../mnist"}) expect_error(ErrorKind::usage, {"data set"}, [&] { load_dataset(name); });
}

TEST_F(Datasets, ClassesOfAKnownSetNeedNoFiles) {
  EXPECT_EQ(dataset_classes("mnist"), (std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}));
  EXPECT_EQ(dataset_classes("fashion-mnist").back(), "Ankle boot");
  test::expect_error(ErrorKind::usage, {"\"mnits\"", "fashion-mnist, mnist"}, [] { dataset_classes("mnits"); });
}

TEST_F(Datasets, LoadsASetOfTheUsersOwn) {
  for (const bool packed : {false, true}) {
    const fs::path root = home_ / (packed ? "packed" : "raw");
    write_set(root / "shapes", packed);
    const DatasetPair pair = load_dataset("shapes", root);
    EXPECT_EQ(pair.source, (root / "shapes").string());
    EXPECT_EQ(pair.train.name, "shapes/train");
    EXPECT_EQ(pair.train.size(), 12);
    EXPECT_EQ(pair.train.sample, (Shape{1, 4, 3}));
    EXPECT_EQ(pair.train.bytes.size(), 12u * 4 * 3);
    EXPECT_EQ(pair.train.bytes[100], 100);
    EXPECT_TRUE(pair.train.floats.empty());
    EXPECT_EQ(pair.train.labels[4], 1);
    EXPECT_EQ(pair.train.classes, (std::vector<std::string>{"0", "1", "2"}));
    EXPECT_EQ(pair.test.name, "shapes/test");
    EXPECT_EQ(pair.test.size(), 6);
    EXPECT_EQ(pair.test.classes, pair.train.classes);
  }
}

TEST_F(Datasets, LabelsOutOfRangeNameTheSample) {
  write_set(home_ / "a/shapes");
  std::string labels = idx_labels(6, 3);
  labels[8 + 4] = 9;
  const fs::path file = home_ / "a/shapes" / std::string(idx_files[3]);
  write_bytes(file, labels);
  expect_error(ErrorKind::data, {file.string(), "label 9 of sample 4 is not in 0 .. 2; the labels are 0 .. 9"},
               [&] { load_dataset("shapes", home_ / "a"); });

  write_bytes(home_ / "images", idx_images(6, 2, 2));
  expect_error(ErrorKind::data, {file.string(), "label 9 of sample 4", "0 .. 2"}, [&] { load_idx(home_ / "images", file, 3); });
  EXPECT_EQ(load_idx(home_ / "images", file).classes.size(), 10u);
  EXPECT_EQ(load_idx(home_ / "images", file, 12).classes.size(), 12u);
  EXPECT_EQ(load_idx(home_ / "images", file).name, "images");
  expect_error(ErrorKind::usage, {"classes is -1"}, [&] { load_idx(home_ / "images", file, -1); });
}

TEST_F(Datasets, LabelsFromOneAreSaidToBeSo) {
  std::string labels = idx_labels(6, 3);
  for (std::size_t i = 8; i < labels.size(); ++i) ++labels[i];
  write_bytes(home_ / "images", idx_images(6, 2, 2));
  write_bytes(home_ / "labels", labels);
  expect_error(
      ErrorKind::data,
      {(home_ / "labels").string(), "label 3 of sample 2 is not in 0 .. 2", "the labels are 1 .. 3, no label is 0: subtract 1", "out = 4"},
      [&] { load_idx(home_ / "images", home_ / "labels", 3); });
  EXPECT_EQ(load_idx(home_ / "images", home_ / "labels").classes.size(), 4u);
}

TEST_F(Datasets, CountsThatDifferNameBothFiles) {
  write_bytes(home_ / "images.gz", gzip(idx_images(6, 2, 2)));
  write_bytes(home_ / "labels", idx_labels(7, 2));
  expect_error(ErrorKind::data, {(home_ / "images.gz").string() + " holds 6 images", (home_ / "labels").string() + " holds 7 labels"},
               [&] { load_idx(home_ / "images.gz", home_ / "labels"); });
}

TEST_F(Datasets, SplitsOfDifferentSizesAreRefused) {
  write_set(home_ / "a/shapes");
  write_bytes(home_ / "a/shapes" / std::string(idx_files[2]), idx_images(6, 3, 3));
  expect_error(ErrorKind::data, {"t10k-images", "(1, 3, 3)", "train-images", "(1, 4, 3)"}, [&] { load_dataset("shapes", home_ / "a"); });
}

TEST_F(Datasets, BytesThatAreNotThePublishedOnesAreRefused) {
  write_set(home_ / "a/mnist");
  expect_error(ErrorKind::data, {"train-images-idx3-ubyte", "not the published mnist", "ba891046e6505d7a"},
               [&] { load_dataset("mnist", home_ / "a"); });
}

// A header that announces more than was published is refused before a byte is inflated for it; so is what follows the published bytes.
TEST_F(Datasets, AKnownSetIsNeverReadBeyondItsPublishedSize) {
  write_set(home_ / "a/mnist");
  const fs::path file = home_ / "a/mnist" / std::string(idx_files[0]);
  write_bytes(file.string() + ".gz", gzip(big_endian({0x803, 60001, 28, 28}) + std::string(60000, '\0'), 0));
  fs::remove(file);
  expect_error(ErrorKind::data,
               {file.string() + ".gz", "announces 60001 x 28 x 28 bytes, more than the 47040016 published", "norma data fetch mnist"},
               [&] { load_dataset("mnist", home_ / "a"); });
}

TEST_F(Datasets, CheckReportsEveryFile) {
  write_set(home_ / "mnist", true);
  write_bytes(home_ / "mnist" / (std::string(idx_files[1]) + ".gz"), gzip(idx_labels(60000, 10)).substr(0, 70));
  write_bytes(home_ / "mnist" / (std::string(idx_files[2]) + ".gz"), gzip(std::string(9'000'000, '\0')));
  fs::remove(home_ / "mnist" / (std::string(idx_files[3]) + ".gz"));
  const std::vector<FileCheck> rows = check_dataset("mnist", home_ / "mnist");
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].status, FileCheck::Status::mismatch);
  EXPECT_EQ(rows[0].bytes, 12u * 4 * 3 + 16);
  EXPECT_NE(rows[0].detail.find("cut short: 160 bytes, not 47040016"), std::string::npos) << rows[0].detail;
  EXPECT_EQ(rows[1].status, FileCheck::Status::mismatch);
  EXPECT_NE(rows[1].detail.find("gzip stream is cut short at byte 70"), std::string::npos) << rows[1].detail;
  EXPECT_EQ(rows[2].status, FileCheck::Status::mismatch);
  EXPECT_EQ(rows[2].bytes, 7840017u) << "stops one byte after what was published";
  EXPECT_EQ(rows[3].status, FileCheck::Status::missing);
  EXPECT_EQ(rows[3].path, home_ / "mnist/t10k-labels-idx1-ubyte.gz");
  expect_error(ErrorKind::usage, {"kmnist", "fashion-mnist, mnist"}, [&] { check_dataset("kmnist", home_.path()); });
  expect_error(ErrorKind::usage, {"mnist has no file \"x\""}, [&] { check_dataset_file("mnist", "x", home_ / "x"); });
}

TEST_F(Datasets, CheckSaysWhatAFileOfAnotherKindIs) {
  const fs::path file = home_ / "mnist" / (std::string(idx_files[3]) + ".gz");
  write_bytes(file, "<html>Not found</html>");
  FileCheck row = check_dataset_file("mnist", std::string(idx_files[3]), file);
  EXPECT_NE(row.detail.find("not an IDX file but an HTML page"), std::string::npos) << row.detail;
  write_bytes(file, "version https://git-lfs.github.com/spec/v1\n");
  row = check_dataset_file("mnist", std::string(idx_files[3]), file);
  EXPECT_NE(row.detail.find("git lfs pull"), std::string::npos) << row.detail;
}

// ---- the real sets, where they are

class RealDatasets : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = find_dataset(GetParam());
    if (!folder_)
      GTEST_SKIP() << GetParam() << " is in none of the folders searched: set NORMA_DATA_DIR, or `norma data fetch " << GetParam() << "`";
  }
  std::optional<fs::path> folder_;
};

TEST_P(RealDatasets, LoadsAndChecks) {
  const DatasetPair pair = load_dataset(GetParam());
  EXPECT_EQ(pair.train.size(), 60000);
  EXPECT_EQ(pair.test.size(), 10000);
  EXPECT_EQ(pair.test.sample, (Shape{1, 28, 28}));
  const bool fashion = std::string(GetParam()) == "fashion-mnist";
  EXPECT_EQ(pair.train.classes[9], fashion ? "Ankle boot" : "9");
  EXPECT_EQ(pair.train.labels[0], fashion ? 9 : 5);
  std::vector<int> counts(10);
  for (const std::int32_t label : pair.train.labels) ++counts[static_cast<std::size_t>(label)];
  EXPECT_EQ(counts[0], fashion ? 6000 : 5923);
  for (const FileCheck& row : check_dataset(GetParam(), *folder_)) {
    EXPECT_EQ(row.status, FileCheck::Status::ok) << row.path << row.detail;
    EXPECT_EQ(row.sha256, row.expected);
  }
}

TEST_P(RealDatasets, TheOtherSetsFilesAreRecognised) {
  const std::string other = std::string(GetParam()) == "mnist" ? "fashion-mnist" : "mnist";
  TemporaryFolder folder;
  fs::create_directories(folder / other);
  for (const std::string_view file : idx_files)
    for (const char* suffix : {"", ".gz"}) {
      const fs::path path = *folder_ / (std::string(file) + suffix);
      if (fs::exists(path)) fs::create_symlink(path, folder / other / path.filename());
    }
  expect_error(ErrorKind::data, {"not the published " + other, "these are the bytes of " + std::string(GetParam()), "same file names"},
               [&] { load_dataset(other, folder.path()); });
}

INSTANTIATE_TEST_SUITE_P(Known, RealDatasets, ::testing::Values("mnist", "fashion-mnist"),
                         [](const auto& set) { return set.param[0] == 'm' ? "Mnist" : "FashionMnist"; });

}  // namespace
}  // namespace norma
