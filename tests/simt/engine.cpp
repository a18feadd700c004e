// Runs the threads of a grid, one after the other, each until it waits or ends.
#include "tests/simt/engine.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <utility>

#include "device.cuh"

uint3 threadIdx{}, blockIdx{};
dim3 blockDim, gridDim;

namespace norma::simt {
namespace {

Draw draw_of(Order order, Draw random) {
  return order == Order::random ? random : order == Order::ascending ? Draw::ascending : Draw::descending;
}

}  // namespace

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

}  // namespace norma::simt
