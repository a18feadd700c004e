// SHA-256 (FIPS 180-4) by OpenSSL's libcrypto, which uses the processor's SHA instructions.
#pragma once
// EVP is avoided: it fetches the algorithm from a provider and takes memory for it. libcrypto 3.0 crashes if there is no memory. These
// functions work in their caller's memory, so they cannot fail.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <cstddef>
#include <string>

namespace norma {

class Sha256 {
 public:
  Sha256() { SHA256_Init(&context_); }

  void update(const void* bytes, std::size_t count) { SHA256_Update(&context_, bytes, count); }
  // 64 lower-case hex digits of all bytes so far. Call it once, last.
  std::string hex();

 private:
  SHA256_CTX context_;
};

}  // namespace norma
