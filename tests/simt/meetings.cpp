// Where threads wait for each other: barriers, warp collectives, numbers that another block sets.
#include <algorithm>
#include <array>
#include <bit>
#include <sstream>
#include <utility>

#include "device.cuh"
#include "tests/simt/engine.h"
#include "tests/simt/products.h"

namespace norma::simt {

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
    if (b.waiting == grid_.threads) publish();
    if (grid_waiting_ == threads_.size()) {
      grid_waiting_ = 0;
      for (Block& other : blocks_) other.waiting = 0, other.view.seen = visibility().now();
      ready_.add(0, static_cast<std::uint32_t>(threads_.size()));
    }
  } else if (b.waiting == grid_.threads) {
    b.waiting = 0;
    if (weak_ && b.turns_left > 0 && random_.below(4) == 0) --b.turns_left, ready_.end_turn();
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
    if ((weak_ ? visibility().published(w.number) : *w.number) == 0) return false;
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

}  // namespace norma::simt
