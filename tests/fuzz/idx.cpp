// libFuzzer target: any bytes are read as an IDX file, with as many bytes as its sizes say, or refused with Error(data).
//   clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -Iinclude -I. tests/fuzz/idx.cpp src/idx.cpp src/byte_stream.cpp
//   src/file_kind.cpp src/sha256.cpp -lz -lcrypto
#include "src/idx.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "norma/error.h"

namespace {

// A file in memory; its path is good for this process.
struct MemoryFile {
  int descriptor = ::memfd_create("norma-fuzz", MFD_CLOEXEC);
  std::string path = "/proc/self/fd/" + std::to_string(descriptor);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MemoryFile input;
  if (::ftruncate(input.descriptor, 0) != 0 || ::pwrite(input.descriptor, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  for (const norma::IdxKind kind : {norma::IdxKind::images, norma::IdxKind::labels}) {
    try {
      const norma::IdxFile idx = norma::read_idx(input.path, kind, true);
      std::uint64_t elements = 1;
      for (const std::int64_t d : idx.dims) elements *= static_cast<std::uint64_t>(d);
      if (elements != idx.bytes.size() + idx.labels.size() || elements == 0 || idx.sha256.size() != 64) std::abort();
    } catch (const norma::Error& e) {
      if (e.kind() != norma::ErrorKind::data) std::abort();
    }
  }
  return 0;
}
