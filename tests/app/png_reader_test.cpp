// PNG pictures of every kind: their stored values, and what is refused.
#include "apps/norma/draw/png_reader.h"

#include <cmath>

#include "apps/norma/draw/picture_input.h"
#include "apps/norma/draw/png.h"
#include "tests/support/expect_error.h"
#include "tests/support/peak_memory.h"
#include "tests/support/png_files.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

using namespace test;
using Values = std::vector<std::uint8_t>;

class PngRead : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& bytes) {
    write_bytes(folder_ / "picture.png", bytes);
    return folder_ / "picture.png";
  }
  Values read(const PngFile& png) {
    PngReader reader(write(png.bytes()));
    const Values all = pixels_of(reader);
    reader.rewind();
    EXPECT_EQ(pixels_of(reader), all) << "read again";
    return all;
  }
  void refuses(const std::string& bytes, std::initializer_list<std::string> words) {
    const std::filesystem::path file = write(bytes);
    const auto all = [&] {
      PngReader reader(file);
      pixels_of(reader);
    };
    expect_error(ErrorKind::data, words, all);
    expect_error(ErrorKind::data, {file.string()}, all);
  }
  TemporaryFolder folder_;
};

std::string text(std::initializer_list<int> bytes) { return {bytes.begin(), bytes.end()}; }

TEST_F(PngRead, ValuesAreThoseStored) {
  EXPECT_EQ(read({8, 1, 1, 0, text({0, 0b10110001})}), (Values{255, 0, 255, 255, 0, 0, 0, 255}));
  EXPECT_EQ(read({4, 1, 2, 0, text({0, 0b00011011})}), (Values{0, 85, 170, 255}));
  EXPECT_EQ(read({2, 1, 4, 0, text({0, 0x3A})}), (Values{3 * 17, 10 * 17}));
  EXPECT_EQ(read({3, 1, 8, 0, text({0, 1, 128, 254})}), (Values{1, 128, 254}));
  EXPECT_EQ(read({2, 1, 8, 2, text({0, 1, 2, 3, 250, 251, 252})}), (Values{1, 2, 3, 250, 251, 252}));
  EXPECT_EQ(read({2, 1, 8, 4, text({0, 9, 255, 200, 7})}), (Values{9, 255, 200, 7})) << "grey and alpha";
  EXPECT_EQ(read({1, 2, 8, 6, text({0, 1, 2, 3, 4, 0, 5, 6, 7, 0})}), (Values{1, 2, 3, 4, 5, 6, 7, 0}));
}

TEST_F(PngRead, OfSixteenBitsTheUpperEightRemain) {
  EXPECT_EQ(read({3, 1, 16, 0, text({0, 100, 255, 0, 255, 255, 0})}), (Values{100, 0, 255}));
  EXPECT_EQ(read({1, 1, 16, 2, text({0, 1, 200, 2, 200, 3, 200})}), (Values{1, 2, 3}));
  EXPECT_EQ(read({1, 1, 16, 4, text({0, 30, 255, 255, 255})}), (Values{30, 255}));
  EXPECT_EQ(read({1, 1, 16, 6, text({0, 1, 255, 2, 255, 3, 255, 128, 255})}), (Values{1, 2, 3, 128}));
}

TEST_F(PngRead, PalettesAndTransparentColours) {
  const std::string palette = png_chunk("PLTE", text({10, 20, 30, 40, 50, 60, 70, 80, 90}));
  EXPECT_EQ(read({3, 1, 8, 3, text({0, 2, 0, 1}), palette}), (Values{70, 80, 90, 10, 20, 30, 40, 50, 60}));
  EXPECT_EQ(read({3, 1, 2, 3, text({0, 0b10000100}), palette}), (Values{70, 80, 90, 10, 20, 30, 40, 50, 60}));
  EXPECT_EQ(read({2, 1, 8, 3, text({0, 0, 1}), palette + png_chunk("tRNS", text({77}))}), (Values{10, 20, 30, 77, 40, 50, 60, 255}));
  EXPECT_EQ(read({2, 1, 8, 0, text({0, 5, 6}), png_chunk("tRNS", text({0, 5}))}), (Values{5, 0, 6, 255}));
  EXPECT_EQ(read({2, 1, 4, 0, text({0, 0x56}), png_chunk("tRNS", text({0, 5}))}), (Values{85, 0, 102, 255}));
  EXPECT_EQ(read({2, 1, 16, 0, text({0, 5, 1, 5, 2}), png_chunk("tRNS", text({5, 1}))}), (Values{5, 0, 5, 255}))
      << "all 16 bits are compared";
  EXPECT_EQ(read({2, 1, 8, 2, text({0, 1, 2, 3, 1, 2, 4}), png_chunk("tRNS", text({0, 1, 0, 2, 0, 3}))}),
            (Values{1, 2, 3, 0, 1, 2, 4, 255}));
}

// PIL, torchvision, OpenCV and the data sets do the same: colour management is not a net's business.
TEST_F(PngRead, ColourChunksChangeNothing) {
  const std::string srgb = png_chunk("sRGB", text({0})),
                    chroma = png_chunk("cHRM", big_endian({31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000})),
                    profile = png_chunk("iCCP", std::string("x\0\0not a profile", 16)), bits = png_chunk("sBIT", text({3, 3, 3}));
  const std::string grey = text({0, 10, 100, 200}), palette = png_chunk("PLTE", text({10, 100, 200}));
  for (const std::uint32_t gamma : {22727u, 45455u, 55555u, 100000u, 1u}) {
    const std::string gama = png_chunk("gAMA", big_endian({gamma}));
    for (const std::string& chunks : {gama, gama + srgb, gama + chroma, chroma + srgb, profile, gama + bits}) {
      EXPECT_EQ(read({3, 1, 8, 0, grey, chunks}), (Values{10, 100, 200}));
      EXPECT_EQ(read({1, 1, 8, 2, grey, chunks}), (Values{10, 100, 200}));
      EXPECT_EQ(read({1, 1, 8, 3, text({0, 0}), chunks + palette}), (Values{10, 100, 200}));
      EXPECT_EQ(read({1, 1, 8, 6, text({0, 10, 100, 200, 128}), chunks}), (Values{10, 100, 200, 128}));
      EXPECT_EQ(read({2, 1, 16, 0, text({0, 10, 0, 200, 0}), chunks}), (Values{10, 200}));
      EXPECT_EQ(read({1, 1, 16, 4, text({0, 10, 0, 200, 0}), chunks}), (Values{10, 200}));
    }
  }
}

TEST_F(PngRead, InterlacedPicturesAreTheSame) {
  // 3 x 3: the passes hold (0,0); -; -; (2,0); (0,2) (2,2); (1,0) (1,2); row 1.
  const std::string passes = text({0, 1, 0, 3, 0, 7, 9, 0, 2, 0, 8, 0, 4, 5, 6});
  EXPECT_EQ(read({3, 3, 8, 0, passes, "", true}), (Values{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(PngRead, RefusesBrokenFiles) {
  const std::vector<std::byte> png = encode_png({4, 4, 1, Values(16, 200)});
  const std::string bytes(reinterpret_cast<const char*>(png.data()), png.size());
  for (std::size_t n = 0; n + 12 < bytes.size(); ++n)  // IEND, the last 12 bytes, is not needed
    refuses(bytes.substr(0, n), {n < 8 ? "is not a PNG picture" : "cut short"});
  for (std::size_t i = 8; i + 12 < bytes.size(); ++i) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 0x10);
    write(broken);
    try {  // chunks that are passed over, or data zlib can make nothing else of
      PngReader reader(folder_ / "picture.png");
      pixels_of(reader);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    }
  }
  refuses("GIF89a and more", {"is not a PNG picture but a GIF picture"});
  refuses("\xff\xd8\xff\xe0 and more", {"a JPEG picture; save it as PNG"});
  expect_error(ErrorKind::data, {"absent.png"}, [&] { PngReader reader(folder_ / "absent.png"); });
}

TEST_F(PngRead, SizesAreHeldAgainstTheFile) {
  const auto sized = [](std::uint32_t w, std::uint32_t h, int depth, int type, bool interlaced) {
    return PngFile{w, h, depth, type, std::string(10, 0), "", interlaced}.bytes();
  };
  refuses(sized(65536, 65536, 8, 0, false), {"65536 x 65536 pixels are too many", "67108864"});
  refuses(sized(70000, 1, 8, 0, false), {"70000 x 1 pixels are too many", "65536 a side"});
  refuses(sized(1, 2147483647, 1, 0, false), {"1 x 2147483647 pixels are too many"});
  refuses(sized(8192, 8192, 8, 0, false), {"8192 x 8192 pixels, 67108864 bytes, are more than a PNG file of", "can hold"});
  refuses(sized(8192, 8192, 1, 0, true), {"8192 x 8192 pixels, 8388608 bytes, are more than a PNG file of", "can hold"});
  refuses(sized(1000, 1000, 16, 6, false), {"1000 x 1000 pixels, 8000000 bytes"});
  // The most pixels that this number of bytes can hold: 8 a byte.
  const auto bytes = static_cast<std::uint32_t>(sized(1, 1, 1, 0, false).size());
  refuses(sized(1032 * 8, bytes, 1, 0, false), {"Not enough image data"});
  refuses(sized(1032 * 8, bytes + 1, 1, 0, false), {"can hold"});
}

// 8192 x 8192 pixels of one value in 65 KB: honest as far as deflate goes.
TEST_F(PngRead, AFlatPictureOfManyPixelsTakesNoMemoryToSpeakOf) {
  std::string idat;
  {
    z_stream z{};
    ASSERT_EQ(deflateInit(&z, 9), Z_OK);
    std::string row(8193, 0), out(1 << 17, 0);
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    for (int y = 0; y < 8192; ++y) {
      z.next_in = reinterpret_cast<Bytef*>(row.data());
      z.avail_in = static_cast<uInt>(row.size());
      ASSERT_EQ(deflate(&z, y == 8191 ? Z_FINISH : Z_NO_FLUSH), y == 8191 ? Z_STREAM_END : Z_OK);
    }
    idat = out.substr(0, z.total_out);
    deflateEnd(&z);
  }
  const auto picture = [&](int interlaced) {
    std::string header = big_endian({8192, 8192});
    for (const int c : {8, 0, 0, 0, interlaced}) header += static_cast<char>(c);
    return write("\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", idat) + png_chunk("IEND", ""));
  };
  const std::filesystem::path file = picture(0);
  ASSERT_LT(std::filesystem::file_size(file), 70000u);
  if (!forget_peak_memory()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written: no peak of memory to look at";
  const std::int64_t before = peak_memory();
  EXPECT_EQ(image_input(read_picture(file), {1, 28, 28}, Invert::automatic, true).bytes, Values(784, 0));
  EXPECT_LT(peak_memory() - before, 8 * 1024) << "KiB";
}

TEST_F(PngRead, AnInterlacedPictureIsHeldWholeAndBoundedByItsFile) {
  PngFile bomb{8192, 4096, 8, 6, std::string(10, 0), "", true};      // 128 MiB
  const std::string bytes = bomb.bytes() + std::string(7 << 20, 0);  // behind IEND
  refuses(bytes, {"8192 x 4096 pixels are too many for an interlaced PNG", "save it without interlacing"});
}

TEST_F(PngRead, TransparencyIsMixedWithTheGroundInStoredValues) {
  const auto grounds = [&](const PngFile& png) {
    Values all;
    read_picture(write(png.bytes())).rows([&](Picture::Row row) {
      all.insert(all.end(), row.begin(), row.end());
      return true;
    });
    return all;
  };
  EXPECT_EQ(grounds({3, 1, 8, 4, text({0, 100, 255, 200, 128, 200, 0})}), (Values{100, 227, 255}));
  EXPECT_EQ(grounds({1, 2, 8, 6, text({0, 0, 100, 200, 255, 0, 0, 0, 0, 0})}), (Values{0, 100, 200, 255, 255, 255}));
  EXPECT_EQ(grounds({3, 1, 8, 4, text({0, 255, 0, 255, 255, 255, 0})}), (Values{0, 255, 0})) << "white on transparent: over black";
  EXPECT_EQ(grounds({2, 1, 8, 0, text({0, 5, 6}), png_chunk("tRNS", text({0, 5}))}), (Values{255, 6}));
}

}  // namespace
}  // namespace norma::app
