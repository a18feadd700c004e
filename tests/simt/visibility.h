// When the blocks of running grids see each other's writes to device memory: no sooner than the standard promises.
//
// Memory always holds what the running block sees. It keeps its own writes to itself until it publishes them, at a fence or at its end.
// Publications have an order. A block sees those up to its last fence; at first, those from before its grid. A block drawn to be eager sees
// all that there are when its turn begins. Atomic operations act on what is published, and everybody sees them at once.
#pragma once
#include <cstddef>
#include <functional>
#include <vector>

namespace norma::simt {

// Bytes for places in device memory.
struct Patches {
  struct Piece {
    std::size_t range, offset, size;  // size bytes of a range
    std::size_t at;                   // its first byte in `bytes`
  };
  std::vector<Piece> pieces;
  std::vector<std::byte> bytes;
  void add(std::size_t range, std::size_t offset, const std::byte* from, std::size_t size) {
    pieces.push_back({range, offset, size, bytes.size()});
    bytes.insert(bytes.end(), from, from + size);
  }
  void clear() { pieces.clear(), bytes.clear(); }
};

// A block and device memory.
struct View {
  std::size_t seen = 0;  // number of publications
  bool eager = false;
  Patches kept{};  // what it has written and not published, while others run
};

class Visibility {
 public:
  // Device memory; not while a grid runs.
  void add(void* memory, std::size_t bytes);
  void remove(void* memory);

  void begin_grid();
  // All views of the grid are gone.
  void end_grid();
  // Returns the size of all device memory.
  std::size_t bytes() const;
  // The number of publications so far.
  std::size_t now() const { return published_before_.pieces.size(); }

  // Now this view's block runs.
  void enter(View& view);
  // The block that runs publishes its writes, and sees all that are published.
  void publish();
  // The block that runs publishes its writes and ends.
  void end_block();
  // No block runs: memory is what is published.
  void leave();
  // Does work of the host or of the device, but of no grid.
  void outside(const std::function<void()>& work);

  // Around an atomic operation of the block that runs.
  void begin_atomic(const void* address, std::size_t bytes);
  void end_atomic(const void* address, std::size_t bytes);
  unsigned published(const unsigned* number) const;

 private:
  struct Range {
    std::byte* memory;
    std::size_t bytes;
    std::vector<std::byte> published{}, seen{};  // seen: by the block that runs, without its own writes
  };
  struct Found {
    std::size_t range, offset;
  };
  // The range that holds the address, or one past the last.
  Found find(const void* address) const;
  template <class F>
  void for_each_write(F f);
  void see_up_to(std::size_t count);

  std::vector<Range> ranges_;
  Patches published_before_;  // one piece for every publication: the bytes that it replaced
  View* running_ = nullptr;
  std::size_t seen_ = 0;  // publications in Range::seen
  int grids_ = 0;
};
Visibility& visibility();

// Memory that is device memory until the end of a scope.
class ScopedDeviceMemory {
 public:
  ScopedDeviceMemory(void* memory, std::size_t bytes) : memory_(memory) { visibility().add(memory, bytes); }
  ~ScopedDeviceMemory() { visibility().remove(memory_); }
  ScopedDeviceMemory(const ScopedDeviceMemory&) = delete;
  ScopedDeviceMemory& operator=(const ScopedDeviceMemory&) = delete;

 private:
  void* memory_;
};

}  // namespace norma::simt
