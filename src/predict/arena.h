// Memory for calls that run at the same time: each takes an arena and gives it back. Nothing waits.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "norma/error.h"

namespace norma {

// Zeroed bytes at a multiple of 64.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  // Throws Error(failure) where memory runs out.
  explicit AlignedBytes(std::size_t bytes) : data_(static_cast<std::byte*>(::operator new(bytes, alignment_of_lines, std::nothrow))) {
    if (!data_) throw Error(ErrorKind::failure, "out of memory: " + std::to_string(bytes) + " bytes to predict in; use a smaller net");
    std::fill_n(data_.get(), bytes, std::byte{});
  }
  std::byte* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t alignment_of_lines{64};
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, alignment_of_lines); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

// Memory that one call works in.
struct Arena {
  AlignedBytes memory;
  std::vector<std::byte*> packs, ones;  // addresses of the values of both Plans
};

class Arenas {
 public:
  Arenas() = default;
  Arenas(const Arenas&) = delete;
  Arenas& operator=(const Arenas&) = delete;
  ~Arenas() {
    for (auto& slot : slots_) delete slot.load();
  }

  // An arena that was given back, or make()'s.
  template <class Make>
  std::unique_ptr<Arena> take(Make make) {
    for (auto& slot : slots_)
      if (slot.load(std::memory_order_relaxed))
        if (Arena* const arena = slot.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<Arena>(arena);
    return make();
  }
  void give(std::unique_ptr<Arena> arena) noexcept {
    for (auto& slot : slots_) {
      Arena* nothing = nullptr;
      if (slot.compare_exchange_strong(nothing, arena.get(), std::memory_order_release, std::memory_order_relaxed)) {
        (void)arena.release();
        return;
      }
    }
  }

 private:
  std::array<std::atomic<Arena*>, 64> slots_{};
};

}  // namespace norma
