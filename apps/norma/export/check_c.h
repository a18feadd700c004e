// A C file compiled and run.
#pragma once
#include <optional>
#include <string>

namespace norma::app {

struct CheckedC {
  std::string compiler;  // "cc"
  double largest_output = 0, difference = 0;
  std::optional<double> difference_of_floats;  // from the outputs with weights of float
};

// Compiles the text with $CC, else cc, and runs its test. Throws Error(failure) where there is no compiler, Error(verification) where the
// compiler refuses the text or its outputs are not norma's.
CheckedC check_c(const std::string& text, const std::string& name);

}  // namespace norma::app
