// The most memory that this process held.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>

namespace norma::test {

// Starts the peak of this process's resident memory over; false where the kernel does not offer that.
inline bool forget_peak_memory() {
  std::ofstream reset("/proc/self/clear_refs");
  reset << 5 << std::flush;
  return reset.good();
}
// Peak memory in KiB.
inline std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      std::int64_t kib = 0;
      status >> kib;
      return kib;
    }
  return 0;
}

}  // namespace norma::test
