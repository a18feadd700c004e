// SHA-256 through OpenSSL's EVP interface.
#include "src/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "norma/checkpoint.h"
#include "norma/error.h"

namespace norma {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(evp); }
};

namespace {
void require(bool done) {
  if (!done) throw Error(ErrorKind::failure, "sha256: libcrypto failed");
}
}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  require(context_->evp && EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(const void* bytes, std::size_t count) { require(EVP_DigestUpdate(context_->evp, bytes, count) == 1); }

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  require(EVP_DigestFinal_ex(context_->evp, digest.data(), &length) == 1);
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 sum;
  sum.update(bytes.data(), bytes.size());
  return sum.hex();
}

std::string sha256_of_file(const std::filesystem::path& file) {
  const auto fail = [&](int error) {
    throw Error(ErrorKind::data, file.string() + ": cannot be read: " + std::generic_category().message(error));
  };
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  const std::unique_ptr<std::FILE, Close> in(std::fopen(file.c_str(), "rbe"));
  if (!in) fail(errno);
  Sha256 sum;
  std::vector<std::byte> part(1 << 20);
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), in.get())) sum.update(part.data(), n);
  if (std::ferror(in.get())) fail(errno);
  return sum.hex();
}

}  // namespace norma
