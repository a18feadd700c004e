// Generated C compiled together and run.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/temporary_folder.h"

namespace norma::test {

// $CC, else cc; empty where it compiles nothing.
std::string c_compiler();
// Its flags for both sanitizers, where programs with them run here; else empty.
std::string c_sanitizers();

// Runs a command of the shell: its exit code, and what it printed on both streams.
struct Ran {
  int code = -1;
  std::string printed;
};
Ran run_in(const TemporaryFolder& folder, const std::string& command);

// Many functions in one program. Each has memory of its own of just its size; its scratch is full of NaN.
class CFunctions {
 public:
  // samples: bytes or floats as the function takes them, of any number of samples.
  void add(const CSource& source, const std::string& name, std::vector<std::uint8_t> samples);
  void add(const CSource& source, const std::string& name, const std::vector<float>& samples);
  // The outputs of each, in the order in which they were added. Fails the test where the compiler or the program does.
  std::vector<std::vector<float>> run(const std::string& flags) const;

 private:
  struct Function {
    CSource source;
    std::string name;
    std::vector<std::uint8_t> bytes;  // of the samples
    std::size_t samples;
  };
  std::vector<Function> functions_;
};

}  // namespace norma::test
