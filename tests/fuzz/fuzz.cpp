// norma_fuzz <fuzzer> [libFuzzer's options] [folders or files]: runs one of the fuzzers.
// norma_fuzz <fuzzer> --seeds FOLDER: writes the inputs that it begins with.   norma_fuzz --list: the fuzzers' names.
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace norma::fuzz {
namespace {

namespace fs = std::filesystem;

const Fuzzer* const fuzzers[] = {&idx, &gzip, &png, &safetensors, &pt, &training, &recipe, &comparison, &metrics, &results};
const Fuzzer* chosen = nullptr;

struct Folder {
  fs::path path;
  Folder() {
    std::error_code error;
    const char* given = std::getenv("TMPDIR");
    std::string pattern = given ? given : fs::is_directory("/dev/shm", error) ? "/dev/shm" : "/tmp";
    pattern += "/norma-fuzz-XXXXXX";
    if (!::mkdtemp(pattern.data())) wrong("cannot make a folder " + pattern);
    path = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

void write_seeds(const Fuzzer& fuzzer, const fs::path& to) {
  fs::create_directories(to);
  int number = 0;
  fuzzer.seeds([&](const std::string& bytes) { std::ofstream(to / std::to_string(number++), std::ios::binary) << bytes; });
}

[[noreturn]] void usage() {
  std::fprintf(stderr, "usage: norma_fuzz --list | norma_fuzz <fuzzer> (--seeds FOLDER | [libFuzzer's options] [folders or files])\n");
  std::exit(2);
}

}  // namespace

const fs::path& folder() {
  static const Folder own;
  return own.path;
}

fs::path file(const char* name, Bytes bytes) { return file(name, text(bytes)); }
fs::path file(const char* name, std::string_view text) {
  fs::path path = folder() / name;
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!out.flush()) wrong("cannot write " + path.string());
  return path;
}

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> parts(Bytes bytes) {
  std::vector<std::string> all(1);
  for (const std::uint8_t b : bytes)
    if (b == 0) all.emplace_back();
    else all.back() += static_cast<char>(b);
  return all;
}

void wrong(const std::string& why) {
  std::fprintf(stderr, "norma_fuzz: %s\n", why.c_str());
  std::abort();
}

bool refused_or_read(std::initializer_list<ErrorKind> kinds, const std::function<void()>& f) {
  try {
    f();
    return true;
  } catch (const Error& e) {
    if (std::find(kinds.begin(), kinds.end(), e.kind()) == kinds.end()) wrong(std::string("an error of another kind: ") + e.what());
    if (*e.what() == '\0') wrong("an error without a word");
    return false;
  }
}

}  // namespace norma::fuzz

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  using namespace norma::fuzz;
  const std::vector<char*> given(*arguments, *arguments + *count);
  if (given.size() < 2) usage();
  if (std::strcmp(given[1], "--list") == 0) {
    for (const Fuzzer* f : fuzzers) std::printf("%s\t%s\n", f->name, f->reads);
    std::exit(0);
  }
  for (const Fuzzer* f : fuzzers)
    if (std::strcmp(f->name, given[1]) == 0) chosen = f;
  if (!chosen) usage();
  if (given.size() == 4 && std::strcmp(given[2], "--seeds") == 0) {
    write_seeds(*chosen, given[3]);
    std::exit(0);
  }
  // libFuzzer sees the rest.
  for (int i = 2; i < *count; ++i) (*arguments)[i - 1] = (*arguments)[i];
  (*arguments)[--*count] = nullptr;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  norma::fuzz::chosen->run({data, size});
  return 0;
}
