// Kinds of files, recognised by their first bytes.
#include "norma/file_kind.h"

#include <gtest/gtest.h>

namespace norma {
namespace {

using namespace std::string_view_literals;

TEST(FileKind, IsSaidOfEveryKindThatIsGivenInsteadOfAnother) {
  const std::pair<std::string_view, std::string_view> kinds[] = {
      {"", "an empty file"},
      {"\x1f\x8b\x08\0"sv, "gzip"},
      {"PK\x03\x04rest", "zip archive"},
      {"BZh91AY", "bzip2"},
      {"\xfd"
       "7zXZ\0\0"sv,
       "xz file"},
      {"\x28\xb5\x2f\xfd\x24", "zstd"},
      {"\x93NUMPY\x01\0v\0{'descr'"sv, "NumPy array"},
      {"\x89HDF\r\n\x1a\n\0"sv, "HDF5"},
      {"\x80\x02}q\0(X"sv, "Python pickle"},
      {"\x80\x04\x95"sv, "Python pickle"},
      {"MATLAB 5.0 MAT-file, Platform", "MATLAB"},
      {"PAR1\x15\x04", "Parquet"},
      {"\x89PNG\r\n\x1a\n\0\0"sv, "a PNG picture (norma predict"},
      {"\xff\xd8\xff\xe0", "a JPEG picture"},
      {"GIF89a\x01", "a GIF picture"},
      {"BM\x36\x10\0\0\0\0\0\0\x36"sv, "a BMP picture"},
      {"RIFF\x24\x01\0\0WEBPVP8 "sv, "a WebP picture"},
      {"P2\n# made by hand\n2 2\n255\n0 1 2 3\n", "a PGM picture"},
      {"P5 28 28 255\n\0\x80\xff"sv, "a PGM picture"},
      {"P3\n2 2\n255\n", "a PPM picture"},
      {"P6\n2 2 255\n\0"sv, "a PPM picture"},
      {"P4\n8 1\n\xff", "a PBM picture"},
      {"\0\0\0\x18"
       "ftypheic\0\0\0\0mif1"sv,
       "a HEIC picture"},
      {"\0\0\0\x1c"
       "ftypmif1\0\0\0\0"sv,
       "a HEIC picture"},
      {"\0\0\0\x1c"
       "ftypavif\0\0\0\0"sv,
       "an AVIF picture"},
      {"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"},
      {"\n <!DOCTYPE HTML>\n<html>", "an HTML page"},
      {"<HTML><head>", "an HTML page"},
      {"<?xml version=\"1.0\"?><Error>", "XML"},
      {"label,pixel0,pixel1\n5,0,0\n", "CSV"},
      {"\xef\xbb\xbflabel,pixel0,pixel1\r\n", "CSV"},
      {"hello, world\n", "text"},
      {"{\"a\": 1}", "JSON"},
      {"\x10\x02\0\0\0\0\0\0{\"conv1"sv, "safetensors"},
      {"\0\0\x08\x03\0\0\xea\x60"sv, "an IDX file of images"},
      {"\0\0\x08\x01\0\0\xea\x60"sv, "an IDX file of labels"},
      {"\x03\x08\0\0\x60\xea\0\0"sv, "little-endian"},
      {"\0\0\0\0\0\0\0\0\0\0"sv, "zero bytes"},
  };
  for (const auto& [begin, name] : kinds)
    EXPECT_NE(file_kind(begin).find(name), std::string::npos) << "\"" << file_kind(begin) << "\" is not " << name;
  std::string tar(512, '\0');
  tar.replace(0, 5, "a.idx").replace(257, 5, "ustar");
  EXPECT_NE(file_kind(tar).find("tar archive"), std::string::npos);
}

TEST(FileKind, OfOthersNothingIsSaid) {
  for (const std::string_view bytes :
       {"\x01\x02\x03\x04"sv, "\0\x01"sv, "text and \x01 then"sv, "BM\x01 and more"sv, "RIFF\x24\x01\0\0WAVEfmt "sv,
        "\0\0\0\x18"
        "ftypisom\0"sv})
    EXPECT_EQ(file_kind(bytes), "") << bytes;
  EXPECT_EQ(file_kind("BMI,weight,height"), "text, perhaps a CSV table");
  for (const std::string_view text : {"one, two", "P2", "P2 is prose", "P5,1"}) EXPECT_EQ(file_kind(text), "text") << text;
}

}  // namespace
}  // namespace norma
