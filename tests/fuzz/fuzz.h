// The fuzzers. Each feeds any bytes as one kind of file to its reader and checks the result. One program, norma_fuzz, holds them all;
// tests/scripts/fuzz.sh runs it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "norma/error.h"

namespace norma::fuzz {

using Bytes = std::span<const std::uint8_t>;

struct Fuzzer {
  const char* name;
  const char* reads;                                                        // one line for a reader
  void (*run)(Bytes input);                                                 // ends the process where something is wrong
  void (*seeds)(const std::function<void(const std::string& bytes)>& add);  // inputs to begin with, as norma writes such files
};

extern const Fuzzer idx, gzip, png, safetensors, pt, training, recipe, comparison, metrics, results;

// A folder of this process's own, in memory where there is /dev/shm; removed when it ends, but not when it crashes.
const std::filesystem::path& folder();
// Replaced as a whole.
std::filesystem::path file(const char* name, Bytes bytes);
std::filesystem::path file(const char* name, std::string_view text);

// The contents of a file that norma wrote, for a seed.
std::string contents(const std::filesystem::path& file);

inline std::string_view text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
// The parts between bytes of 0.
std::vector<std::string> parts(Bytes bytes);

// Says why on standard error and ends the process, which libFuzzer takes for a finding.
[[noreturn]] void wrong(const std::string& why);
inline void expect(bool holds, const char* what) {
  if (!holds) wrong(what);
}

// Calls f, which returns normally or refuses the input with an Error of these kinds; false where it refuses.
bool refused_or_read(std::initializer_list<ErrorKind> kinds, const std::function<void()>& f);

}  // namespace norma::fuzz
