// libFuzzer target: any bytes are read or refused with Error(data), and what is read survives being written and read again.
//   clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -Iinclude -I. tests/fuzz/safetensors.cpp src/safetensors.cpp
//   src/write_file.cpp
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "norma/checkpoint.h"
#include "norma/error.h"

namespace {

// A file in memory; its path is good for this process.
struct MemoryFile {
  int descriptor = ::memfd_create("norma-fuzz", MFD_CLOEXEC);
  std::string path = "/proc/self/fd/" + std::to_string(descriptor);
};

bool same(const norma::StoredTensor& a, const norma::StoredTensor& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MemoryFile input;
  static const std::string output = "/dev/shm/norma-fuzz-" + std::to_string(::getpid());
  if (::ftruncate(input.descriptor, 0) != 0 || ::pwrite(input.descriptor, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  norma::Checkpoint read;
  try {
    read = norma::load_safetensors(input.path);
  } catch (const norma::Error& e) {
    if (e.kind() != norma::ErrorKind::data) std::abort();
    return 0;
  }
  norma::save_safetensors(output, read);
  const norma::Checkpoint again = norma::load_safetensors(output);
  ::unlink(output.c_str());
  if (again.metadata != read.metadata || again.tensors.size() != read.tensors.size()) std::abort();
  for (std::size_t i = 0; i < read.tensors.size(); ++i)
    if (!same(read.tensors[i], again.tensors[i])) std::abort();
  return 0;
}
