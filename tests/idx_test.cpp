// IDX files: right ones in every wrapping, and every way of being wrong.
#include "src/idx.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "src/sha256.h"
#include "tests/expect_error.h"
#include "tests/idx_files.h"
#include "tests/temporary_folder.h"

namespace norma {
namespace {

using namespace test;

class Idx : public ::testing::Test {
 protected:
  std::filesystem::path file(std::string_view bytes) {
    const std::filesystem::path path = folder_ / "file";
    write_bytes(path, bytes);
    return path;
  }
  // Reading these bytes is an Error(data) that names the file and these words.
  void refuses(std::string_view bytes, std::initializer_list<std::string> words, IdxKind kind = IdxKind::images) {
    const std::filesystem::path path = file(bytes);
    expect_error(ErrorKind::data, words, [&] { read_idx(path, kind); });
    expect_error(ErrorKind::data, {path.string()}, [&] { read_idx(path, kind); });
  }

  TemporaryFolder folder_;
  const std::string images_ = idx_images(7, 5, 3), labels_ = idx_labels(7, 4);
};

TEST_F(Idx, ReadsRawAndGzipAlike) {
  for (const std::string& bytes : {images_, gzip(images_), gzip(images_, 0), gzip(images_, 9)}) {
    const IdxFile idx = read_idx(file(bytes), IdxKind::images);
    EXPECT_EQ(idx.dims, (std::vector<std::int64_t>{7, 5, 3}));
    EXPECT_EQ(std::string(idx.bytes.begin(), idx.bytes.end()), images_.substr(16));
    EXPECT_EQ(idx.sha256, "");
  }
  for (const std::string& bytes : {labels_, gzip(labels_)}) {
    const IdxFile idx = read_idx(file(bytes), IdxKind::labels, true);
    EXPECT_EQ(idx.dims, std::vector<std::int64_t>{7});
    EXPECT_EQ(idx.bytes, (std::vector<std::uint8_t>{0, 1, 2, 3, 0, 1, 2}));
    Sha256 hash;
    hash.update(labels_.data(), labels_.size());
    EXPECT_EQ(idx.sha256, hash.hex());
  }
}

TEST_F(Idx, ReadsMoreThanOneStepOfABuffer) {
  const std::string large = idx_images(3000, 28, 17);
  for (const std::string& bytes : {large, gzip(large)}) {
    const IdxFile idx = read_idx(file(bytes), IdxKind::images);
    EXPECT_TRUE(std::equal(idx.bytes.begin(), idx.bytes.end(), large.begin() + 16, large.end(),
                           [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
  }
}

TEST_F(Idx, GzipMembersAreJoined) {
  for (const std::size_t cut : {0UL, 1UL, 16UL, 60UL, images_.size()}) {
    const IdxFile idx = read_idx(file(gzip(images_.substr(0, cut)) + gzip(images_.substr(cut))), IdxKind::images);
    EXPECT_EQ(std::string(idx.bytes.begin(), idx.bytes.end()), images_.substr(16)) << cut;
  }
}

TEST_F(Idx, Sha256IsTheStandardOne) {  // FIPS 180-4's example
  Sha256 hash;
  hash.update("ab", 2);
  hash.update("c", 1);
  EXPECT_EQ(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(Idx, RefusesWhatIsNoFile) {
  expect_error(ErrorKind::data, {(folder_ / "absent").string(), "cannot be opened"},
               [&] { read_idx(folder_ / "absent", IdxKind::images); });
  expect_error(ErrorKind::data, {folder_.path().string(), "folder"}, [&] { read_idx(folder_.path(), IdxKind::images); });
}

TEST_F(Idx, RefusesARawFileCutAnywhere) {
  for (std::size_t n = 0; n < images_.size(); ++n)
    refuses(std::string_view(images_).substr(0, n), {"cut short", "at byte " + std::to_string(n)});
}

TEST_F(Idx, RefusesAGzipCutAnywhere) {
  const std::string packed = gzip(images_);
  for (std::size_t n = 2; n < packed.size(); ++n)
    refuses(std::string_view(packed).substr(0, n), {"gzip stream is cut short at byte " + std::to_string(n)});
  refuses(packed.substr(0, 1), {"cut short in the header"});
}

TEST_F(Idx, RefusesDecompressedDataThatEndsEarly) {
  refuses(gzip(images_.substr(0, images_.size() - 2)), {"announces 105 bytes", "at byte 119 of the decompressed data"});
  refuses(gzip(images_.substr(0, 9)), {"header (height)", "at byte 9 of the decompressed data"});
}

TEST_F(Idx, RefusesTrailingBytes) {
  refuses(images_ + "x", {"too long", "announces 105 bytes", "at byte 121"});
  refuses(gzip(images_ + "x"), {"too long", "at byte 121 of the decompressed data"});
  refuses(gzip(images_) + gzip("x"), {"too long", "at byte 121 of the decompressed data"});
  const std::string packed = gzip(images_), at = "at byte " + std::to_string(packed.size()) + " of the file";
  refuses(packed + "x", {"followed by something else", at});
  refuses(packed + std::string(600, '\0'), {"followed by something else", at});
  refuses(packed + "\x1f\x8b", {"gzip stream is cut short"});
}

TEST_F(Idx, RefusesAWrongMagicNumber) {
  refuses(labels_ + std::string(20, '\0'), {"0x00000801 (a file of labels)", "0x00000803", "at byte 0"});
  refuses(images_, {"0x00000803 (a file of images)", "0x00000801", "at byte 0"}, IdxKind::labels);
  refuses("<!DOCTYPE html><html>", {"0x3c21444f", "at byte 0"});
  refuses(gzip("PK\x03\x04 and more of it"), {"0x504b0304", "at byte 0 of the decompressed data"});
}

TEST_F(Idx, RefusesEmptySets) {
  refuses(big_endian({0x803, 0, 28, 28}), {"no samples", "at byte 4"});
  refuses(big_endian({0x801, 0}), {"no samples", "at byte 4"}, IdxKind::labels);
  refuses(big_endian({0x803, 1, 0, 28}), {"height is 0", "at byte 8"});
  refuses(gzip(big_endian({0x803, 1, 28, 0})), {"width is 0", "at byte 12"});
}

// Starts the peak of this process's resident memory over; false where the kernel does not offer that.
bool forget_peak_memory() {
  std::ofstream reset("/proc/self/clear_refs");
  reset << 5 << std::flush;
  return reset.good();
}
// In KiB.
std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      std::int64_t kib = 0;
      status >> kib;
      return kib;
    }
  return 0;
}

TEST_F(Idx, RefusesAbsurdSizesBeforeTakingMemory) {
  if (!forget_peak_memory()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written: no peak of memory to look at";
  constexpr std::uint32_t most = 0xFFFFFFFF;
  const std::int64_t before = peak_memory();
  for (const std::string& header : {big_endian({0x803, most, most, most}), big_endian({0x803, 1u << 31, 1u << 31, 4}),
                                    big_endian({0x803, 1u << 22, 1u << 10, 1}), big_endian({0x803, most, 1, 1})}) {
    refuses(header + "data", {"cut short: the header announces", "the file ends at byte 20"});
    refuses(gzip(header + "data"), {"the header announces", "more than a gzip file of", "can hold, at byte 4"});
  }
  // Could be held, were the rest of the file zeros: memory follows what arrives.
  refuses(gzip(big_endian({0x803, 300, 1000, 1000})) + gzip("data") + std::string(300000, '\0'), {"followed by something else"});
  EXPECT_GT(before, 0);
  EXPECT_LT(peak_memory() - before, 16 * 1024) << "KiB";
}

TEST_F(Idx, AGzipBombStopsAtWhatTheHeaderAllows) {
  const std::filesystem::path path = file(gzip(idx_images(4, 5, 3) + std::string(std::size_t{64} << 20, '\0'), 1));
  ASSERT_LT(std::filesystem::file_size(path), std::size_t{1} << 20);
  if (!forget_peak_memory()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written: no peak of memory to look at";
  const std::int64_t before = peak_memory();
  expect_error(ErrorKind::data, {"too long", "announces 60 bytes", "at byte 76"}, [&] { read_idx(path, IdxKind::images); });
  EXPECT_GT(before, 0);
  EXPECT_LT(peak_memory() - before, 8 * 1024) << "KiB";
}

TEST_F(Idx, RefusesAWrongChecksumOrLengthInTheTrailer) {
  const std::string packed = gzip(images_);
  for (std::size_t i = packed.size() - 8; i < packed.size(); ++i) {
    std::string broken = packed;
    broken[i] = static_cast<char>(broken[i] ^ 1);
    refuses(broken, {"corrupt gzip stream", i < packed.size() - 4 ? "data check" : "length check"});
  }
}

// Whatever is done to a file, reading it either gives what its header says or throws Error(data).
TEST_F(Idx, SurvivesMutations) {
  std::mt19937_64 random(20240229);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::string seeds[] = {images_, gzip(images_), gzip(images_.substr(0, 40)) + gzip(images_.substr(40)), labels_, gzip(labels_, 0)};
  int accepted = 0, refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = seeds[below(std::size(seeds))];
    for (std::size_t edits = 1 + below(3); edits > 0 && !bytes.empty(); --edits) {
      switch (below(4)) {
        case 0: bytes[below(bytes.size())] = static_cast<char>(random()); break;
        case 1: bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8)); break;
        case 2: bytes.erase(below(bytes.size()), 1 + below(8)); break;
        default: bytes.insert(below(bytes.size()), 1 + below(8), static_cast<char>(random())); break;
      }
    }
    const std::filesystem::path path = file(bytes);
    for (const IdxKind kind : {IdxKind::images, IdxKind::labels}) {
      try {
        const IdxFile idx = read_idx(path, kind, true);
        std::int64_t elements = 1;
        for (const std::int64_t d : idx.dims) elements *= d;
        EXPECT_EQ(static_cast<std::size_t>(elements), idx.bytes.size());
        EXPECT_EQ(idx.sha256.size(), 64u);
        ++accepted;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(accepted, 100);  // edits of pixels
  EXPECT_GT(refused, 1500);
}

}  // namespace
}  // namespace norma
