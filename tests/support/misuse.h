// Misuse of the public API, in tables.
#pragma once
#include <functional>
#include <initializer_list>
#include <string>

#include "norma/norma.h"
#include "tests/support/expect_error.h"

namespace norma::test {

constexpr ErrorKind usage = ErrorKind::usage;

struct Misuse {
  const char* what;
  ErrorKind kind;
  std::initializer_list<std::string> says;
  std::function<void()> run;
};

inline void expect_all(std::initializer_list<Misuse> misuses) {
  for (const Misuse& m : misuses) {
    SCOPED_TRACE(m.what);
    expect_error(m.kind, m.says, m.run);
  }
}

inline nn::Sequential mlp() { return {nn::Linear{.out = 8}, nn::BatchNorm{}, nn::ReLU{}, nn::Linear{.out = 3}}; }

}  // namespace norma::test
