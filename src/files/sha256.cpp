#include "src/files/sha256.h"

#include <array>

#include "norma/checkpoint.h"
#include "norma/files.h"
#include "src/files/input_file.h"

namespace norma {

std::string Sha256::hex() {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256_Final(digest.data(), &context_);
  std::string text;
  for (const unsigned char byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 sum;
  sum.update(bytes.data(), bytes.size());
  return sum.hex();
}

std::string sha256_of_file(const std::filesystem::path& file) {
  InputFile in(file, ErrorKind::data);
  Sha256 sum;
  std::vector<std::byte> part(1 << 20);
  while (const std::size_t n = in.read(part.data(), part.size())) sum.update(part.data(), n);
  return sum.hex();
}

}  // namespace norma
