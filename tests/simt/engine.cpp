// Runs the threads of a grid, one after the other, each until it waits or ends. A thread that waits does so on a fiber of its own.
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

// Every block of a weak grid compares all device memory a few times. A grid for which that is more bytes runs as if it were not weak.
constexpr std::size_t most_compared = std::size_t{1} << 28;

Engine* at_work = nullptr;

// All engines' fibers.
struct Fibers {
  std::vector<std::unique_ptr<Fiber>> all;
  std::vector<Fiber*> idle;
  Fiber* take() {
    if (idle.empty()) idle.push_back(all.emplace_back(std::make_unique<Fiber>([] { engine().begin_threads(); })).get());
    Fiber* fiber = idle.back();
    idle.pop_back();
    return fiber;
  }
};
Fibers& fibers() {
  static Fibers all;
  return all;
}

}  // namespace

Engine& engine() { return *at_work; }

void run_grid(const Grid& grid, const std::function<void()>& thread) {
  static Engine one;  // keeps its memory
  one.begin(grid, thread, true);
  while (one.step()) {
  }
}

Fault Engine::fault(const std::string& what) const {
  return Fault(what + " (" + name(current_) + ", launched at " + grid_.launched.file + ":" + std::to_string(grid_.launched.line) + ")");
}

void Engine::begin(const Grid& grid, const std::function<void()>& thread, bool alone) {
  if (Fiber::running()) throw Fault("a kernel launches a kernel");
  if (grid.threads < 1 || grid.threads > max_block || grid.blocks < 1 || grid.blocks > std::numeric_limits<std::int32_t>::max())
    throw Fault("a grid of " + std::to_string(grid.blocks) + " blocks of " + std::to_string(grid.threads) + " threads");
  const auto blocks = static_cast<std::uint32_t>(grid.blocks);
  random_ = Random(count_grid(grid.blocks, grid.threads));
  grid_ = grid;
  threads_of_block_ = static_cast<std::uint32_t>(grid.threads);
  thread_ = &thread;
  alone_ = alone;
  weak_ = options().weak && (!alone || (blocks > 1 && blocks * visibility().bytes() <= most_compared));
  if (weak_) visibility().begin_grid();
  seen_at_first_ = visibility().now();
  alive_ = false;
  blocks_together_ = grid.cooperative ? blocks : options().together;
  groups_.start(draw_of(options().order, Draw::even), random_);
  groups_.add(0, (blocks + blocks_together_ - 1) / blocks_together_);
}

bool Engine::step() {
  at_work = this;
  try {
    if (!alive_) {
      if (groups_.empty()) {
        stop();
        return false;
      }
      const std::uint32_t first = groups_.draw() * blocks_together_;
      begin_blocks(first, std::min(blocks_together_, static_cast<std::uint32_t>(grid_.blocks) - first));
    }
    admit();
    if (next_ || !ready_.empty()) run_threads();
    else end_blocks();
    return true;
  } catch (...) {
    stop();
    throw;
  }
}

void Engine::stop() {
  if (!thread_) return;
  if (alive_) abandon();
  if (weak_) visibility().end_grid();
  thread_ = nullptr;
}

void Engine::begin_blocks(std::uint32_t first, std::uint32_t count) {
  const std::size_t warps = (threads_of_block_ + warp_size - 1) / warp_size;
  blocks_.resize(count);
  for (std::uint32_t b = 0; b < count; ++b) {
    Block& block = blocks_[b];
    block.id = first + b;
    block.ended = block.waiting = 0;
    block.warps.resize(warps);
    for (Warp& w : block.warps) w.ended = 0, w.meetings.clear();
    if (weak_) block.view = {.seen = seen_at_first_, .eager = random_.below(2) == 0}, block.turns_left = 2;
  }
  const std::uint32_t total = count * threads_of_block_;
  threads_.assign(total, {});
  const Draw draw = draw_of(options().order, random_.below(2) ? Draw::even : Draw::warps);
  // Blocks that run together see most of each other if one thread of each lags behind. It is one of the first warp: those write where not
  // all do.
  if (weak_) ready_.start_turns(draw, random_, count, threads_of_block_);
  else if (options().together > 1)
    ready_.start(draw, random_, {threads_of_block_, random_.below(std::min<std::uint32_t>(threads_of_block_, warp_size))});
  else ready_.start(draw, random_);
  ready_.add(0, total);
  next_.reset();
  ended_ = grid_waiting_ = 0;
  watchers_.clear();
  cancelled_ = false;
  alive_ = true;
}

void Engine::run_threads() {
  const ThreadId t = next_ ? *std::exchange(next_, std::nullopt) : ready_.draw();
  Fiber* fiber = std::exchange(threads_[t].fiber, nullptr);
  if (!fiber) fiber = fibers().take();
  enter(t);
  fiber->resume();
  if (fiber->idle()) fibers().idle.push_back(fiber);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Engine::end_blocks() {
  if (ended_ != threads_.size()) fail_deadlock();
  const bool intact = std::ranges::all_of(blocks_, [](const Block& block) {
    return std::ranges::all_of(block.shared, [](const auto& object) { return !object || object->intact_before(); });
  });
  for (Block& block : blocks_) block.shared.clear();
  alive_ = false;
  if (!intact) fail("a block wrote before the begin of an object in its shared memory");
}

// Unwinds the threads that wait, so that their fibers can be used again.
void Engine::abandon() {
  at_work = this;
  cancelled_ = true;
  for (ThreadId t = 0; t < threads_.size(); ++t) {
    Fiber* fiber = std::exchange(threads_[t].fiber, nullptr);
    if (!fiber) continue;
    enter(t);
    fiber->resume();
    fibers().idle.push_back(fiber);
  }
  for (Block& block : blocks_) block.shared.clear();
  alive_ = false;
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
  fail(s.str());
}

// Runs the current thread, which has not begun, then others that have not begun. Stops when it draws one that waits on a fiber of its own.
void Engine::begin_threads() {
  try {
    for (;;) {
      (*thread_)();
      end_thread();
      if (ready_.empty()) return;
      const ThreadId t = ready_.draw();
      if (threads_[t].fiber || (!alone_ && random_.below(8) == 0)) {  // another grid's turn may come
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
  blockDim.x = threads_of_block_, gridDim.x = static_cast<unsigned>(grid_.blocks);
  if (weak_ && !cancelled_) visibility().enter(block().view);
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
  if (weak_ && b.ended == grid_.threads) visibility().end_block();
}

// A thread that still has work lets others run, in some of the orders.
void Engine::maybe_lose_turn(const Place& place) {
  if (alone_ && !weak_) return;
  if (random_.below(2)) return;
  ready_.end_turn();
  ready_.add(current_, 1);
  wait(place);
}

void Engine::publish() {
  if (weak_) visibility().publish();
}

void Engine::fence(const Place& place) {
  publish();
  maybe_lose_turn(place);
}

void Engine::begin_atomic(const void* address, std::size_t bytes) {
  if (weak_) visibility().begin_atomic(address, bytes);
}

void Engine::end_atomic(const void* address, std::size_t bytes, const Place& place) {
  if (weak_) visibility().end_atomic(address, bytes);
  maybe_lose_turn(place);
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
