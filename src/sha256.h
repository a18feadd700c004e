// SHA-256 (FIPS 180-4) by OpenSSL's libcrypto, which uses the processor's SHA instructions.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

namespace norma {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(const void* bytes, std::size_t count);
  // 64 lower-case hex digits of all bytes so far. Call it once, last.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace norma
