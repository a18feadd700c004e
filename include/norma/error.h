// Every error norma throws on purpose. The kind is the exit code of the command line.
#pragma once
#include <stdexcept>
#include <string>

#include "norma/export.h"

namespace norma {

enum class ErrorKind : int {
  failure = 1,       // anything not below: I/O, out of memory
  usage = 2,         // wrong flag, recipe, shape or option
  data = 3,          // data set missing or corrupt
  device = 4,        // device unavailable
  diverged = 5,      // a loss, gradient, weight or result that is not finite
  verification = 6,  // results of two backends differ
};

// A plain value: one thread at a time may change it, any number may read it.
class NORMA_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }
  int exit_code() const noexcept { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

}  // namespace norma
