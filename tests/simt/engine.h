// The threads of one emulated grid: whose turn it is, and where they wait for each other.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simt/emulator.h"
#include "tests/simt/fiber.h"
#include "tests/simt/ready.h"
#include "tests/simt/shared_memory.h"
#include "tests/simt/sites.h"
#include "tests/simt/visibility.h"

namespace norma::simt {

using ThreadId = std::uint32_t;  // of the blocks that are alive together, block after block

struct Thread {
  Fiber* fiber = nullptr;        // while it waits, and until it goes on
  const Place* place = nullptr;  // where it waits or waited
  std::uint64_t bits = 0;        // what it gives to a collective, then what it gets
  int source = 0;                // the lane it gets it from
};

// Lanes that wait for each other.
struct Meeting {
  const Place* place;
  unsigned mask, arrived;
};
struct Warp {
  unsigned ended = 0;
  std::vector<Meeting> meetings;
};

struct Block {
  std::uint32_t id = 0;
  int ended = 0, waiting = 0;  // threads; waiting at the barrier `place`, `first` since longest
  const Place* place = nullptr;
  ThreadId first = 0;
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<SharedMemory>> shared;
  View view{};
  int turns_left = 0;  // that it may still lose at a barrier: each costs a comparison of memory
};

struct Cancelled {};  // thrown in threads that wait when another failed

class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() { stop(); }
  // `thread` must live until the grid ends. `alone`: no other grid runs meanwhile.
  void begin(const Grid& grid, const std::function<void()>& thread, bool alone);
  // Runs a thread, or some that do not wait. False: the grid has ended. What it throws ends the grid.
  bool step();
  // Ends the grid, wherever its threads are.
  void stop();

  void barrier(Place& place);
  void watch(Place& place, const unsigned* number);
  // Returns what the lane `source` gave as bits; for a barrier or a vote `finish` makes it of all that were given.
  std::uint64_t meet(Place& place, unsigned mask, std::uint64_t bits, int source);
  void fence(const Place& place);
  // The block's writes so far are published, and it sees those of others.
  void publish();
  void begin_atomic(const void* address, std::size_t bytes);
  void end_atomic(const void* address, std::size_t bytes, const Place& place);
  void* shared_memory(int slot, std::size_t bytes, std::size_t align);
  void begin_threads();
  Fault fault(const std::string& what) const;
  [[noreturn]] void fail(const std::string& what) const { throw fault(what); }

 private:
  void begin_blocks(std::uint32_t first, std::uint32_t count);
  void run_threads();
  void end_blocks();
  void abandon();
  void maybe_lose_turn(const Place& place);
  [[noreturn]] void fail_deadlock();
  void enter(ThreadId t);
  void wait(const Place& place);
  void end_thread();
  void finish(const Meeting& meeting, ThreadId first);
  void admit();

  Block& block() { return blocks_[block_]; }
  std::string name(ThreadId t) const {
    return "thread " + std::to_string(t % threads_of_block_) + " of block " + std::to_string(blocks_[t / threads_of_block_].id);
  }

  Grid grid_;
  const std::function<void()>* thread_ = nullptr;  // null: no grid runs
  Random random_{0};
  std::uint32_t threads_of_block_ = 0, blocks_together_ = 0;
  bool alone_ = true, weak_ = false;  // weak: what its blocks see is up to visibility()
  std::size_t seen_at_first_ = 0;     // by its blocks: publications

  Ready groups_;               // of blocks that are still to run
  bool alive_ = false;         // blocks are; else none is between two groups
  std::vector<Block> blocks_;  // alive together
  std::vector<Thread> threads_;
  ReadyThreads ready_;
  ThreadId current_ = 0;
  std::uint32_t block_ = 0;       // the current thread's
  std::optional<ThreadId> next_;  // drawn, but for another fiber
  std::uint64_t ended_ = 0;
  const Place* grid_place_ = nullptr;  // where threads wait for the whole grid
  std::uint64_t grid_waiting_ = 0;
  struct Watcher {
    ThreadId thread;
    const unsigned* number;
  };
  std::vector<Watcher> watchers_;  // threads in wait_until_set()
  std::exception_ptr error_;
  bool cancelled_ = false;
};

// Returns the engine whose thread runs. One OS thread runs all engines, in turns.
Engine& engine();

}  // namespace norma::simt
