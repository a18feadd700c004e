// Every error norma throws on purpose. The kind is the exit code of the command line.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace norma {

enum class ErrorKind : int {
  failure = 1,       // anything not below: I/O, out of memory
  usage = 2,         // wrong flag, recipe, shape or option
  data = 3,          // data set missing or corrupt
  device = 4,        // device unavailable
  diverged = 5,      // a non-finite loss or gradient
  verification = 6,  // results of two backends differ
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }
  int exit_code() const noexcept { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

// For a message about a name that is not known: "; did you mean \"conv1\"?", or "" where no known name is within a third of its length
// in edits.
std::string suggestion(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace norma
