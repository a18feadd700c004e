// IDX files: right ones in every wrapping, and every way of being wrong.
#include "src/data/idx.h"

#include <gtest/gtest.h>

#include <random>

#include "src/files/sha256.h"
#include "tests/support/expect_error.h"
#include "tests/support/idx_files.h"
#include "tests/support/peak_memory.h"
#include "tests/support/temporary_folder.h"

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
    EXPECT_EQ(idx.labels, (std::vector<std::int32_t>{0, 1, 2, 3, 0, 1, 2}));
    EXPECT_TRUE(idx.bytes.empty());
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
  expect_error(ErrorKind::data, {(folder_ / "absent").string(), "cannot be read: No such file"},
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
  refuses(packed + "\x1f", {"followed by something else", at});
  refuses(packed + "\x1f\x8b", {"gzip stream is cut short"});
}

TEST_F(Idx, ZeroBytesBehindAGzipMemberArePadding) {
  const std::string packed = gzip(images_);
  for (const std::size_t zeros : {1u, 2u, 511u, 131072u, 400000u}) {
    const std::string padding(zeros, '\0');
    const IdxFile idx = read_idx(file(packed + padding), IdxKind::images, true);
    EXPECT_EQ(std::string(idx.bytes.begin(), idx.bytes.end()), images_.substr(16));
    EXPECT_EQ(read_idx(file(gzip(images_.substr(0, 30)) + padding + gzip(images_.substr(30)) + padding), IdxKind::images).bytes, idx.bytes);
    refuses(packed + padding + "x", {"followed by something else", "at byte " + std::to_string(packed.size() + zeros) + " of the file"});
    refuses(packed + padding + gzip("x"), {"too long"});
    refuses(packed.substr(0, packed.size() - 1) + padding + "x", {"gzip"});
  }
}

TEST_F(Idx, RefusesAWrongMagicNumber) {
  refuses(labels_ + std::string(20, '\0'), {"holds labels, not images", "0x00000801, not 0x00000803", "exchanged"});
  refuses(images_, {"holds images, not labels", "0x00000803, not 0x00000801", "exchanged"}, IdxKind::labels);
  refuses("\x01\x02\x03\x04", {"not an IDX file", "0x01020304, not 0x00000803 of IDX images at byte 0"});
  refuses(gzip(big_endian({0x803'0000, 1, 1, 1})), {"0x08030000", "at byte 0 of the decompressed data"});
  refuses(big_endian({0x800, 1}), {"0x00000800"});
  refuses(big_endian({0xA03, 1, 1, 1}), {"0x00000a03"});
}

TEST_F(Idx, SaysWhatAFileOfAnotherKindIs) {
  refuses("<!DOCTYPE html><html>", {"not an IDX file of images but an HTML page", "fetch it again"});
  refuses("label,pixel0,pixel1\n1,2,3\n",
          {"not an IDX file of labels but text, perhaps a CSV table; norma reads IDX alone: 0x00000801 and the count as"}, IdxKind::labels);
  refuses(gzip("PK\x03\x04 and more of it"), {"the decompressed data are a zip archive"});
  refuses(gzip(gzip(images_)), {"the decompressed data are a gzip file"});
  refuses(std::string("\x93NUMPY\x01\x00", 8), {"a NumPy array (.npy); norma reads IDX alone: 0x00000803, count, height and width as"});
  refuses("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", {"a Git LFS pointer", "git lfs pull"});
  refuses(std::string(64, '\0'), {"zero bytes"});
  refuses(std::string("\x03\x08\0\0\x07\0\0\0", 8), {"little-endian"});
}

// Big-endian values of `bytes` bytes each, behind a magic number and sizes.
std::string idx_values(std::initializer_list<std::uint32_t> header, std::size_t bytes, const std::vector<std::int64_t>& values) {
  std::string file = big_endian(header);
  for (const std::int64_t v : values)
    for (std::size_t i = bytes; i-- > 0;) file += static_cast<char>(static_cast<std::uint64_t>(v) >> (8 * i) & 0xFF);
  return file;
}

TEST_F(Idx, ReadsLabelsOfEveryIntegerType) {
  const std::vector<std::int64_t> small = {3, 0, 127, 1}, large = {3, 0, 32767, 256}, largest = {3, 0, 65535, 40000};
  const auto read = [&](const std::string& bytes) {
    const IdxFile idx = read_idx(file(bytes), IdxKind::labels);
    EXPECT_EQ(idx.dims, std::vector<std::int64_t>{4});
    return std::vector<std::int64_t>(idx.labels.begin(), idx.labels.end());
  };
  EXPECT_EQ(read(idx_values({0x801, 4}, 1, {3, 0, 255, 128})), (std::vector<std::int64_t>{3, 0, 255, 128}));
  EXPECT_EQ(read(idx_values({0x901, 4}, 1, small)), small);
  EXPECT_EQ(read(idx_values({0xB01, 4}, 2, large)), large);
  EXPECT_EQ(read(gzip(idx_values({0xC01, 4}, 4, largest))), largest);
  EXPECT_EQ(read(idx_values({0xC02, 4, 1}, 4, largest)), largest);
  const std::vector<std::int64_t> table = {3,     0,  70, 1, 51, 12, 0, 0, 0,     4, 71, 2, 48, 13, 0, 0,
                                           65535, -1, 0,  0, 0,  0,  0, 0, 40000, 1, 0,  0, 0,  0,  0, 0};
  EXPECT_EQ(read(idx_values({0xC02, 4, 8}, 4, table)), largest) << "QMNIST's: the first of eight";
}

TEST_F(Idx, ReadsMoreLabelsThanABufferHolds) {
  std::vector<std::int64_t> many(100001);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int64_t>(i % 40000);
  const IdxFile idx = read_idx(file(idx_values({0xC01, 100001}, 4, many)), IdxKind::labels);
  EXPECT_TRUE(std::equal(many.begin(), many.end(), idx.labels.begin(), idx.labels.end()));
}

TEST_F(Idx, RefusesLabelsThatAreNoClasses) {
  const auto labels = IdxKind::labels;
  refuses(idx_values({0x901, 2}, 1, {1, -1}), {"label -1 of sample 1 is not in 0 .. 65535 at byte 9"}, labels);
  refuses(idx_values({0xB01, 2}, 2, {1, -32768}), {"label -32768 of sample 1", "at byte 10"}, labels);
  refuses(idx_values({0xC01, 2}, 4, {65536, 1}), {"label 65536 of sample 0", "at byte 8"}, labels);
  refuses(idx_values({0xC01, 2}, 4, {1, -2147483648LL}), {"label -2147483648 of sample 1", "at byte 12"}, labels);
  refuses(idx_values({0xC02, 2, 8}, 4, {1, 0, 0, 0, 0, 0, 0, 0, -7, 0, 0, 0, 0, 0, 0, 0}), {"label -7 of sample 1", "at byte 44"}, labels);
  refuses(idx_values({0xC02, 2, 8}, 4, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), {"one-hot", "2 x 8 32-bit integers"}, labels);
  refuses(idx_values({0x802, 2, 3}, 1, {1, 0, 0, 0, 0, 1}), {"2 dimensions, 2 x 3 unsigned bytes", "one label a sample"}, labels);
  refuses(idx_values({0xD01, 1}, 4, {0}), {"1 dimension, 1 32-bit floats", "whole numbers"}, labels);
  refuses(idx_values({0xC01, 2}, 4, {1}), {"cut short: the header announces 2 x 4 bytes of labels, the file ends at byte 12"}, labels);
}

TEST_F(Idx, SaysWhatImagesOfOtherTypesAre) {
  refuses(idx_values({0xD03, 1, 1, 1}, 4, {0}),
          {"3 dimensions, 1 x 1 x 1 32-bit floats (magic number 0x00000d03)", "scale the values to 0 .. 255"});
  refuses(idx_values({0xC03, 1, 1, 1}, 4, {0}), {"32-bit integers", "scale the values"});
  refuses(idx_values({0x804, 2, 6, 6, 3}, 1, {0}), {"4 dimensions, 2 x 6 x 6 x 3 unsigned bytes", "count x height x width", "which of 4"});
  refuses(idx_values({0x802, 2, 36}, 1, {0}), {"2 dimensions, 2 x 36 unsigned bytes", "count x height x width"});
  refuses(idx_values({0x8FF, 1, 1, 1, 1, 1}, 1, {0}), {"255 dimensions, 1 x 1 x 1 x 1 x ... unsigned bytes"});
}

TEST_F(Idx, RefusesEmptySets) {
  refuses(big_endian({0x803, 0, 28, 28}), {"no samples", "at byte 4"});
  refuses(big_endian({0x801, 0}), {"no samples", "at byte 4"}, IdxKind::labels);
  refuses(big_endian({0x803, 1, 0, 28}), {"height is 0", "at byte 8"});
  refuses(gzip(big_endian({0x803, 1, 28, 0})), {"width is 0", "at byte 12"});
}

TEST_F(Idx, RefusesAbsurdSizesBeforeTakingMemory) {
  if (!forget_peak_memory()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written: no peak of memory to look at";
  constexpr std::uint32_t most = 0xFFFFFFFF;
  const std::int64_t before = peak_memory();
  for (const std::string& header : {big_endian({0x803, most, most, most}), big_endian({0x803, 1u << 31, 1u << 31, 4}),
                                    big_endian({0x803, 1u << 22, 1u << 10, 1}), big_endian({0x803, most, 1, 1})}) {
    refuses(header + "data", {"cut short: the header announces", "of images, the file ends at byte 20"});
    refuses(gzip(header + "data"), {"the header announces", "more than a gzip file of", "can hold, at byte 4"});
  }
  // Could be held, were the rest of the file zeros: memory follows what arrives.
  refuses(gzip(big_endian({0x803, 300, 1000, 1000})) + gzip("data") + std::string(300000, '\0'), {"cut short"});
  EXPECT_GT(before, 0);
  EXPECT_LT(peak_memory() - before, 16 * 1024) << "KiB";
}

TEST_F(Idx, AHeaderThatAnnouncesAFewBytesMoreThanTheFileHoldsIsRefusedUnread) {
  for (const std::size_t missing : {1u, 2u, 15u, 16u, 17u, 105u})  // the words are those of the header's check, not of the reading
    refuses(
        images_.substr(0, images_.size() - missing),
        {"cut short: the header announces 7 x 5 x 3 bytes of images, the file ends at byte " + std::to_string(images_.size() - missing)});
  for (const std::size_t missing : {1u, 7u})
    refuses(labels_.substr(0, labels_.size() - missing),
            {"cut short: the header announces 7 bytes of labels, the file ends at byte " + std::to_string(labels_.size() - missing)},
            IdxKind::labels);
}

TEST_F(Idx, NothingBeyondAKnownSizeIsRead) {
  const std::uint64_t whole = images_.size();
  for (const std::string& bytes : {images_, gzip(images_)}) {
    EXPECT_EQ(read_idx(file(bytes), IdxKind::images, false, whole).bytes.size(), 105u);
    for (const std::uint64_t most : {whole - 1, std::uint64_t{16}, std::uint64_t{3}})
      expect_error(ErrorKind::data, {"announces 7 x 5 x 3 bytes, more than the " + std::to_string(most) + " published", "at byte 4"},
                   [&] { read_idx(folder_ / "file", IdxKind::images, false, most); });
  }
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

TEST_F(Idx, MemoryOfReadingFollowsTheData) {
  constexpr std::int64_t mib = 1024;  // KiB
  const std::uint32_t count = 64;     // MiB of pixels
  const std::filesystem::path path = folder_ / "file";
  {
    std::string whole = big_endian({0x803, count, 1024, 1024});
    whole.resize(whole.size() + (std::size_t{count} << 20), '\7');
    write_bytes(path, gzip(whole, 1));
  }
  if (!forget_peak_memory()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written: no peak of memory to look at";
  const std::int64_t before = peak_memory();
  EXPECT_EQ(read_idx(path, IdxKind::images).bytes.size(), std::size_t{count} << 20);
  EXPECT_LT(peak_memory() - before, count * mib * 5 / 2 + 16 * mib) << "KiB";
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
        EXPECT_EQ(static_cast<std::size_t>(elements), idx.bytes.size() + idx.labels.size());
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
