// One object in a block's shared memory: by itself on the heap, where AddressSanitizer watches its ends, filled with `unset`.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>

#include "tests/simt/emulator.h"

namespace norma::simt {

class SharedMemory {
 public:
  SharedMemory(std::size_t bytes, std::align_val_t align) : bytes_(bytes), align_(align), data_(::operator new(bytes, align_)) {
    auto* p = static_cast<std::byte*>(data_);
    for (std::size_t i = 0; i < bytes; i += sizeof unset) std::memcpy(p + i, &unset, std::min(sizeof unset, bytes - i));
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::operator delete(data_, align_); }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::align_val_t align_;
  void* data_;
};

}  // namespace norma::simt
