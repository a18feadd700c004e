// Files told apart by their first bytes, as file(1) does.
#include "norma/file_kind.h"

#include <algorithm>

namespace norma {
namespace {

using namespace std::string_view_literals;

struct Kind {
  std::string_view begin, name;
};

constexpr Kind kinds[] = {
    {"\x1f\x8b"sv, "a gzip file: unpack it first"},
    {"PK\x03\x04"sv, "a zip archive (as .npz, .pt and Kaggle's downloads are): unpack it first"},
    {"PK\x05\x06"sv, "an empty zip archive"},
    {"BZh"sv, "a bzip2 file: unpack it first"},
    {"\xfd"
     "7zXZ\0"sv,
     "an xz file: unpack it first"},
    {"\x28\xb5\x2f\xfd"sv, "a zstd file: unpack it first"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive: unpack it first"},
    {"Rar!\x1a\x07"sv, "a rar archive: unpack it first"},
    {"\x93NUMPY"sv, "a NumPy array (.npy)"},
    {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"},
    {"GGUF"sv, "a GGUF file"},
    {"MATLAB 5.0 MAT-file"sv, "a MATLAB file"},
    {"PAR1"sv, "a Parquet table"},
    {"ARROW1"sv, "an Arrow table"},
    {"\x89PNG\r\n\x1a\n"sv, "a PNG picture (norma predict takes such)"},
    {"\xff\xd8\xff"sv, "a JPEG picture"},
    {"GIF8"sv, "a GIF picture"},
    {"II*\0"sv, "a TIFF picture"},
    {"MM\0*"sv, "a TIFF picture"},
    {"%PDF-"sv, "a PDF document"},
    {"version https://git-lfs.github.com/"sv, "a Git LFS pointer, not the file it stands for: git lfs pull fetches that"},
    {"\x7f"
     "ELF"sv,
     "a program"},
    {"\0\0\x08\x01"sv, "an IDX file of labels"},
    {"\0\0\x08\x03"sv, "an IDX file of images"},
    {"\x01\x08\0\0"sv, "an IDX header in little-endian byte order: its numbers are to be big-endian"},
    {"\x03\x08\0\0"sv, "an IDX header in little-endian byte order: its numbers are to be big-endian"},
};

// Files of torch.save; before 1.6 they began with a number of their own.
std::string_view torch_kind(std::string_view bytes) {
  constexpr std::size_t name_length = 26, name = 30;
  constexpr std::string_view pickle = "/data.pkl";
  if (bytes.starts_with("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19."sv))
    return "a file of torch.save before PyTorch 1.6, or of its old format: load it with torch, and save the state_dict anew";
  if (!bytes.starts_with("PK\x03\x04") || bytes.size() < name) return "";
  const std::size_t length = static_cast<unsigned char>(bytes[name_length]) + 256u * static_cast<unsigned char>(bytes[name_length + 1]);
  const std::string_view first = bytes.substr(name, length);
  return first.size() == length && first.ends_with(pickle) ? "weights of torch.save (.pt, .pth): norma convert makes safetensors of them"
                                                           : "";
}

bool begins_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(), [](char w, char c) {
           return w == (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
         });
}

// Pictures whose mark is not all at the very beginning, or too short to be one alone. Empty for anything else.
std::string_view picture_kind(std::string_view bytes) {
  const auto has = [&](std::size_t at, std::string_view mark) { return bytes.size() > at && bytes.substr(at).starts_with(mark); };
  if (has(0, "BM") && has(6, "\0\0\0\0"sv)) return "a BMP picture";
  if (has(0, "RIFF") && has(8, "WEBP")) return "a WebP picture";
  if (has(4, "ftypavif") || has(4, "ftypavis")) return "an AVIF picture";
  for (const std::string_view brand : {"ftyphei", "ftyphev", "ftypmif1", "ftypmsf1"})
    if (has(4, brand)) return "a HEIC picture";
  const auto netpbm = [&](char ascii, char binary) {  // its first number, or a comment, comes after one blank
    return has(0, "P") && bytes.size() > 3 && (bytes[1] == ascii || bytes[1] == binary) &&
           std::string_view(" \t\r\n").find(bytes[2]) != std::string_view::npos &&
           std::string_view("#0123456789").find(bytes[3]) != std::string_view::npos;
  };
  return netpbm('2', '5') ? "a PGM picture" : netpbm('3', '6') ? "a PPM picture" : netpbm('1', '4') ? "a PBM picture" : "";
}

// ASCII, or UTF-8 by the look of it.
bool is_text(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u >= 0x80 || (u >= 0x20 && u != 0x7f) || c == '\n' || c == '\r' || c == '\t' || c == '\f';
  });
}

std::string text_kind(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // the mark that Windows' editors put first
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (begins_with_word(text, "<!doctype html") || begins_with_word(text, "<html"))
    return "an HTML page, perhaps of an error or a login, saved in the file's place: fetch it again";
  if (text.starts_with("<?xml")) return "XML text, perhaps a server's error, saved in the file's place: fetch it again";
  const std::string_view line = text.substr(0, text.find('\n'));
  if (text.starts_with('{') || text.starts_with('[')) return "text, perhaps JSON or TOML";
  return std::count(line.begin(), line.end(), ',') > 1 ? "text, perhaps a CSV table" : "text";
}

}  // namespace

std::string file_kind(std::string_view first_bytes) {
  first_bytes = first_bytes.substr(0, 512);
  if (first_bytes.empty()) return "an empty file";
  if (const std::string_view torch = torch_kind(first_bytes); !torch.empty()) return std::string(torch);
  for (const Kind& kind : kinds)
    if (first_bytes.starts_with(kind.begin)) return std::string(kind.name);
  if (first_bytes.size() > 262 && first_bytes.substr(257, 5) == "ustar") return "a tar archive: unpack it first";
  if (const std::string_view picture = picture_kind(first_bytes); !picture.empty()) return std::string(picture);
  if (first_bytes.size() >= 2 && first_bytes[0] == '\x80' && first_bytes[1] >= 2 && first_bytes[1] <= 5) return "a Python pickle";
  if (first_bytes.size() > 3 && first_bytes[0] == '\x08' && first_bytes[1] > 0 && first_bytes[1] < 32 && first_bytes[2] == '\x12')
    return "an ONNX model";
  if (first_bytes.size() > 8 && first_bytes.substr(3, 5) == "\0\0\0\0\0"sv && first_bytes[8] == '{')
    return "a safetensors file (weights of a model)";
  if (std::all_of(first_bytes.begin(), first_bytes.end(), [](char c) { return c == 0; })) return "zero bytes (a broken download or disk?)";
  return is_text(first_bytes) ? text_kind(first_bytes) : "";
}

}  // namespace norma
