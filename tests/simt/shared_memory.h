// One object in a block's shared memory. It lies by itself on the heap, where AddressSanitizer watches its ends, filled with `unset`. Its
// address is a multiple of its alignment and of no larger power of two, since a GPU promises no more. So UndefinedBehaviorSanitizer stops
// at a read of four floats at once from an object of floats.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>

#include "tests/simt/emulator.h"

extern "C" [[gnu::weak]] void __asan_poison_memory_region(const volatile void* begin, std::size_t bytes);  // null without AddressSanitizer

namespace norma::simt {

class SharedMemory {
 public:
  SharedMemory(std::size_t bytes, std::size_t align)
      : bytes_(bytes),
        before_(align < granule ? 16 - align : align),
        align_(std::align_val_t{std::max<std::size_t>(16, 2 * align)}),
        base_(static_cast<std::byte*>(::operator new(before_ + bytes, align_))) {
    for (std::size_t i = 0; i < before_ + bytes; i += sizeof unset) copy(base_ + i, std::min(sizeof unset, before_ + bytes - i));
    if (__asan_poison_memory_region) __asan_poison_memory_region(base_, watched());
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::operator delete(base_, align_); }
  void* data() const { return base_ + before_; }
  std::size_t bytes() const { return bytes_; }

  // True if nobody wrote to the bytes before the object that AddressSanitizer cannot watch: its resolution is 8 bytes.
  bool intact_before() const {
    for (std::size_t i = watched(); i < before_; ++i)
      if (base_[i] != reinterpret_cast<const std::byte*>(&unset)[i % sizeof unset]) return false;
    return true;
  }

 private:
  static constexpr std::size_t granule = 8;
  std::size_t watched() const { return before_ / granule * granule; }
  static void copy(std::byte* to, std::size_t n) { std::memcpy(to, &unset, n); }

  std::size_t bytes_, before_;
  std::align_val_t align_;
  std::byte* base_;
};

}  // namespace norma::simt
