#include "tests/simt/emulator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <utility>

#include "device.cuh"
#include "tests/simt/fiber.h"
#include "tests/simt/products.h"
#include "tests/simt/ready.h"
#include "tests/simt/shared_memory.h"
#include "tests/simt/sites.h"

uint3 threadIdx{}, blockIdx{};
dim3 blockDim, gridDim;

namespace norma::simt {
namespace {

using ThreadId = std::uint32_t;  // of the blocks that are alive together, block after block

Draw draw_of(Order order, Draw random) {
  return order == Order::random ? random : order == Order::ascending ? Draw::ascending : Draw::descending;
}

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
};

struct Cancelled {};  // thrown in threads that wait when another failed

class Engine {
 public:
  void run(const Grid& grid, const std::function<void()>& thread);

  void barrier(Place& place);
  void watch(Place& place, const unsigned* number);
  // Returns what the lane `source` gave as bits; for a barrier or a vote `finish` makes it of all that were given.
  std::uint64_t meet(Place& place, unsigned mask, std::uint64_t bits, int source);
  void* shared_memory(int slot, std::size_t bytes, std::size_t align);
  void begin_threads();
  Fault fault(const std::string& what) const;
  [[noreturn]] void fail(const std::string& what) const { throw fault(what); }

 private:
  void run_blocks(std::uint32_t first, std::uint32_t count);
  void abandon();
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
  std::uint32_t threads_of_block_ = 0;

  std::vector<Block> blocks_;  // alive
  std::vector<Thread> threads_;
  Ready ready_;
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

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
};

Engine& engine() {
  static Engine one;
  return one;
}

Fault Engine::fault(const std::string& what) const {
  return Fault(what + " (" + name(current_) + ", launched at " + grid_.launched.file + ":" + std::to_string(grid_.launched.line) + ")");
}

void Engine::run(const Grid& grid, const std::function<void()>& thread) {
  if (thread_) throw Fault("a kernel launches a kernel");
  if (grid.threads < 1 || grid.threads > max_block || grid.blocks < 1 || grid.blocks > std::numeric_limits<std::int32_t>::max())
    throw Fault("a grid of " + std::to_string(grid.blocks) + " blocks of " + std::to_string(grid.threads) + " threads");
  const auto blocks = static_cast<std::uint32_t>(grid.blocks);
  random_ = Random(count_grid(grid.blocks, grid.threads));
  grid_ = grid;
  threads_of_block_ = static_cast<std::uint32_t>(grid.threads);
  blockDim = dim3(threads_of_block_), gridDim = dim3(blocks);
  thread_ = &thread;
  struct Leave {
    Engine& e;
    ~Leave() { e.thread_ = nullptr; }
  } leave{*this};
  if (grid.cooperative) return run_blocks(0, blocks);
  Ready ready;
  ready.start(draw_of(options().order, Draw::even), random_);
  const std::uint32_t together = options().together;
  ready.add(0, (blocks + together - 1) / together);
  while (!ready.empty()) {
    const std::uint32_t first = ready.draw() * together;
    run_blocks(first, std::min(together, blocks - first));
  }
}

// Blocks that are alive together.
void Engine::run_blocks(std::uint32_t first, std::uint32_t count) {
  const std::size_t warps = (threads_of_block_ + warp_size - 1) / warp_size;
  blocks_.resize(count);
  for (std::uint32_t b = 0; b < count; ++b) {
    Block& block = blocks_[b];
    block.id = first + b;
    block.ended = block.waiting = 0;
    block.warps.resize(warps);
    for (Warp& w : block.warps) w.ended = 0, w.meetings.clear();
  }
  const std::uint32_t total = count * threads_of_block_;
  threads_.assign(total, {});
  const Draw draw = draw_of(options().order, random_.below(2) ? Draw::even : Draw::warps);
  // Blocks that run together see most of each other if one thread of each lags behind. It is one of the first warp: those write where not
  // all do.
  if (options().together > 1)
    ready_.start(draw, random_, {threads_of_block_, random_.below(std::min<std::uint32_t>(threads_of_block_, warp_size))});
  else ready_.start(draw, random_);
  ready_.add(0, total);
  next_.reset();
  ended_ = grid_waiting_ = 0;
  watchers_.clear();
  cancelled_ = false;

  for (;;) {
    admit();
    if (!next_ && ready_.empty()) break;
    const ThreadId t = next_ ? *std::exchange(next_, std::nullopt) : ready_.draw();
    Fiber* fiber = std::exchange(threads_[t].fiber, nullptr);
    if (!fiber) {
      if (idle_.empty()) idle_.push_back(fibers_.emplace_back(std::make_unique<Fiber>([] { engine().begin_threads(); })).get());
      fiber = idle_.back();
      idle_.pop_back();
    }
    enter(t);
    fiber->resume();
    if (fiber->idle()) idle_.push_back(fiber);
    if (error_) {
      abandon();
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }
  if (ended_ != total) fail_deadlock();
  const bool intact = std::ranges::all_of(blocks_, [](const Block& block) {
    return std::ranges::all_of(block.shared, [](const auto& object) { return !object || object->intact_before(); });
  });
  for (Block& block : blocks_) block.shared.clear();
  if (!intact) fail("a block wrote before the begin of an object in its shared memory");
}

// Unwinds the threads that wait, so that their fibers can be used again.
void Engine::abandon() {
  cancelled_ = true;
  for (ThreadId t = 0; t < threads_.size(); ++t) {
    Fiber* fiber = std::exchange(threads_[t].fiber, nullptr);
    if (!fiber) continue;
    enter(t);
    fiber->resume();
    idle_.push_back(fiber);
  }
  for (Block& block : blocks_) block.shared.clear();
}

void Engine::fail_deadlock() {
  std::ostringstream s;
  s << "deadlock";
  std::vector<const Place*> places;
  for (ThreadId t = 0; t < threads_.size(); ++t) {
    const Place* place = threads_[t].place;
    if (!threads_[t].fiber || std::find(places.begin(), places.end(), place) != places.end()) continue;
    places.push_back(place);
    s << (places.size() == 1 ? ": " : "; ") << name(t) << " waits at " << text(*place);
    current_ = t;
  }
  const Fault found = fault(s.str());
  abandon();
  throw found;
}

// Runs the current thread, which has not begun, then others that have not begun. Stops when it draws one that waits on a fiber of its own.
void Engine::begin_threads() {
  try {
    for (;;) {
      (*thread_)();
      end_thread();
      if (ready_.empty()) return;
      const ThreadId t = ready_.draw();
      if (threads_[t].fiber) {
        next_ = t;
        return;
      }
      enter(t);
    }
  } catch (const Cancelled&) {
  } catch (...) {
    if (!cancelled_) error_ = std::current_exception();
  }
}

void Engine::enter(ThreadId t) {
  current_ = t;
  block_ = blocks_.size() == 1 ? 0 : t / threads_of_block_;
  threadIdx.x = t - block_ * threads_of_block_;
  blockIdx.x = blocks_[block_].id;
}

void Engine::wait(const Place& place) {
  threads_[current_].fiber = Fiber::running();
  threads_[current_].place = &place;
  Fiber::running()->wait();
  if (cancelled_) throw Cancelled{};
}

void Engine::end_thread() {
  Block& b = block();
  if (b.waiting > 0) fail(text(*b.place) + " is where " + name(b.first) + " waits, and another thread of the block has ended");
  if (grid_waiting_ > 0) fail(text(*grid_place_) + " is where blocks wait, and a thread of the grid has ended");
  Warp& warp = b.warps[threadIdx.x / warp_size];
  const unsigned lane = threadIdx.x % warp_size;
  for (const Meeting& m : warp.meetings)
    if (m.mask >> lane & 1) fail(text(*m.place) + " has lanes wait for lane " + std::to_string(lane) + ", which has ended");
  warp.ended |= 1u << lane;
  ++b.ended;
  ++ended_;
}

void Engine::barrier(Place& place) {
  Block& b = block();
  const bool of_grid = place.what == Wait::sync_grid;
  if (of_grid && !grid_.cooperative) fail(text(place) + " in a kernel that was not launched with launch_cooperative");
  if (b.ended > 0) fail(text(place) + " after " + std::to_string(b.ended) + " threads of the block have ended");
  if (b.waiting > 0 && b.place != &place) fail(text(place) + " while " + name(b.first) + " waits at " + text(*b.place));
  if (of_grid) {
    if (ended_ > 0) fail(text(place) + " after " + std::to_string(ended_) + " threads of the grid have ended");
    if (grid_waiting_ > 0 && grid_place_ != &place) fail(text(place) + " while other blocks wait at " + text(*grid_place_));
    grid_place_ = &place;
    ++grid_waiting_;
  }
  if (b.waiting == 0) b.place = &place, b.first = current_;
  ++b.waiting;
  if (of_grid) {
    if (grid_waiting_ == threads_.size()) {
      grid_waiting_ = 0;
      for (Block& other : blocks_) other.waiting = 0;
      ready_.add(0, static_cast<std::uint32_t>(threads_.size()));
    }
  } else if (b.waiting == grid_.threads) {
    b.waiting = 0;
    ready_.add(block_ * threads_of_block_, threads_of_block_);
  }
  wait(place);
}

void Engine::watch(Place& place, const unsigned* number) {
  if (!grid_.cooperative) fail(text(place) + " in a kernel that was not launched with launch_cooperative");
  watchers_.push_back({current_, number});
  wait(place);
}

// Admits the threads whose number is set: they are ready.
void Engine::admit() {
  std::erase_if(watchers_, [&](const Watcher& w) {
    if (*w.number == 0) return false;
    ready_.add(w.thread, 1);
    return true;
  });
}

std::uint64_t Engine::meet(Place& place, unsigned mask, std::uint64_t bits, int source) {
  const ThreadId lane = threadIdx.x % warp_size, first = current_ - lane;
  const auto lanes = std::min<std::uint32_t>(warp_size, threads_of_block_ - (threadIdx.x - lane));
  Warp& warp = block().warps[threadIdx.x / warp_size];
  if (place.narrowed && mask == ~0u) mask >>= 1;
  const auto wrong = [&](const std::string& what) {
    std::ostringstream s;
    s << text(place) << " with the mask 0x" << std::hex << mask << std::dec << ", wrong shuffle mask: " << what;
    fail(s.str());
  };
  if (!(mask >> lane & 1)) wrong("lane " + std::to_string(lane) + " calls and is not in it");
  if (lanes < warp_size && mask >> lanes != 0) wrong("the warp has " + std::to_string(lanes) + " lanes");
  if (mask & warp.ended) wrong("lane " + std::to_string(std::countr_zero(mask & warp.ended)) + " has ended");
  if (!(mask >> source & 1)) wrong("it reads from lane " + std::to_string(source) + ", which is not in it");

  threads_[current_].bits = bits;
  threads_[current_].source = source;
  std::size_t i = 0;
  for (; i < warp.meetings.size(); ++i) {
    const Meeting& m = warp.meetings[i];
    if (m.place == &place && m.mask == mask) break;
    if ((m.arrived & mask) && (m.mask >> lane & 1)) {
      std::ostringstream s;
      s << "lane " << std::countr_zero(m.arrived & mask) << " waits at " << text(*m.place) << " with the mask 0x" << std::hex << m.mask;
      wrong(s.str());
    }
  }
  if (i == warp.meetings.size()) warp.meetings.push_back({&place, mask, 0});
  warp.meetings[i].arrived |= 1u << lane;
  if (warp.meetings[i].arrived == mask) {
    finish(warp.meetings[i], first);
    std::swap(warp.meetings[i], warp.meetings.back());
    warp.meetings.pop_back();
  }
  wait(place);
  return threads_[current_].bits;
}

// Every lane has arrived: gives each its result, and all are ready.
void Engine::finish(const Meeting& meeting, ThreadId first) {
  std::array<std::uint64_t, warp_size> given{};
  unsigned ballot = 0;
  for (ThreadId lane = 0; lane < warp_size; ++lane) {
    if (!(meeting.mask >> lane & 1)) continue;
    given[lane] = threads_[first + lane].bits;
    ballot |= static_cast<unsigned>(given[lane] & 1) << lane;
  }
  ready_.add_lanes(first, meeting.mask);
  if (meeting.place->what == Wait::mma) return multiply(given);
  const bool vote = meeting.place->what >= Wait::ballot;
  for (ThreadId lane = 0; lane < warp_size; ++lane) {
    if (!(meeting.mask >> lane & 1)) continue;
    Thread& thread = threads_[first + lane];
    thread.bits = vote ? ballot : given[static_cast<std::size_t>(thread.source)];
  }
}

void* Engine::shared_memory(int slot, std::size_t bytes, std::size_t align) {
  auto& shared = block().shared;
  const auto i = static_cast<std::size_t>(slot);
  if (i >= shared.size()) shared.resize(i + 1);
  if (!shared[i]) {
    std::size_t all = bytes;
    for (const auto& other : shared) all += other ? other->bytes() : 0;
    if (all > max_shared) fail("shared memory of " + std::to_string(all) + " bytes, a block has " + std::to_string(max_shared));
    shared[i] = std::make_unique<SharedMemory>(bytes, align);
  }
  return shared[i]->data();
}

// The source of lane `lane`; its own value where the source lies outside its part of the warp (PTX, shfl.sync).
int source_of(Shuffle how, int lane, int operand, int width) {
  const int begin = lane & ~(width - 1), last = begin + width - 1, n = operand & (warp_size - 1);
  switch (how) {
    case Shuffle::index: return begin | (operand & (width - 1));
    case Shuffle::exclusive_or: return (lane ^ n) <= last ? lane ^ n : lane;
    case Shuffle::up: return lane - n >= begin ? lane - n : lane;
    case Shuffle::down: return lane + n <= last ? lane + n : lane;
  }
  return lane;
}

}  // namespace

void run_grid(const Grid& grid, const std::function<void()>& thread) { engine().run(grid, thread); }

void sync_block(Site at) {
  Place& place = arrive(at, Wait::syncthreads);
  if (!place.skipped) engine().barrier(place);
}

void sync_blocks(Site at) {
  Place& place = arrive(at, Wait::sync_grid);
  if (!place.skipped) engine().barrier(place);
}

void watch(const unsigned* number, Site at) {
  Place& place = arrive(at, Wait::until_set);
  if (!place.skipped) engine().watch(place, number);
}

void sync_warp(unsigned mask, Site at) {
  Place& place = arrive(at, Wait::syncwarp);
  if (!place.skipped) engine().meet(place, mask, 0, static_cast<int>(threadIdx.x % warp_size));
}

std::uint64_t shuffle(Shuffle how, unsigned mask, std::uint64_t bits, int operand, int width, Site at) {
  Place& place = arrive(at, static_cast<Wait>(static_cast<int>(Wait::shfl) + static_cast<int>(how)));
  if (width < 1 || width > warp_size || (width & (width - 1)) != 0) engine().fail(text(place) + " with the width " + std::to_string(width));
  return engine().meet(place, mask, bits, source_of(how, static_cast<int>(threadIdx.x % warp_size), operand, width));
}

unsigned vote(Vote how, unsigned mask, bool predicate, Site at) {
  Place& place = arrive(at, static_cast<Wait>(static_cast<int>(Wait::ballot) + static_cast<int>(how)));
  const auto ballot = static_cast<unsigned>(engine().meet(place, mask, predicate, static_cast<int>(threadIdx.x % warp_size)));
  switch (how) {
    case Vote::ballot: return ballot;
    case Vote::any: return ballot != 0;
    case Vote::all: return ballot == mask;
  }
  return 0;
}

void multiply_matrices(const ProductParts& parts, Site at) {
  Place& place = arrive(at, Wait::mma);
  engine().meet(place, ~0u, reinterpret_cast<std::uint64_t>(&parts), static_cast<int>(threadIdx.x % warp_size));
}

void* shared_memory(int slot, std::size_t bytes, std::size_t align) { return engine().shared_memory(slot, bytes, align); }

int allocate_slot() {
  static int next = 0;
  return next++;
}

}  // namespace norma::simt
