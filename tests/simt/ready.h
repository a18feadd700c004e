// Threads or blocks that are ready to run, and the order they are drawn in.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "tests/simt/emulator.h"

namespace norma::simt {

// SplitMix64 (Steele, Lea and Flood 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint32_t below(std::uint64_t n) {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return static_cast<std::uint32_t>(((z ^ (z >> 31)) >> 32) * n >> 32);
  }

 private:
  std::uint64_t state_;
};

// The way of drawing the next ready thread.
enum class Draw {
  ascending,  // of those added together, and the last added first, as in the two that follow
  descending,
  warps,  // warps added together in random order, and the lanes of each
  even,   // any
};

// Threads whose number modulo `period` is `left` are drawn only when no other is ready. Others that do not wait for them continue without
// them.
struct Starved {
  std::uint32_t period = 1, left = 1;
  bool has(std::uint32_t number) const { return number % period == left; }
};

class Ready {
 public:
  bool empty() const { return numbers_.empty() && last_.empty(); }
  void start(Draw draw, Random& random, Starved starved = {}) {
    draw_ = draw, random_ = &random, starved_ = starved;
    numbers_.clear(), last_.clear();
  }
  void add(std::uint32_t first, std::uint32_t count) {
    const std::size_t before = numbers_.size();
    numbers_.resize(before + count);
    std::uint32_t* p = numbers_.data() + before;
    for (std::uint32_t i = 0; i < count; ++i) p[i] = first + (draw_ == Draw::ascending ? count - 1 - i : i);
    if (draw_ != Draw::warps) return;
    const std::uint32_t warps = count / warp_size;  // a partial one stays behind
    for (std::uint32_t left = warps; left > 1; --left) {
      std::uint32_t *last = p + (left - 1) * warp_size, *other = p + random_->below(left) * warp_size;
      if (other != last) std::swap_ranges(other, other + warp_size, last);
    }
    for (std::uint32_t begin = 0; begin < count; begin += warp_size) shuffle(p + begin, std::min<std::uint32_t>(warp_size, count - begin));
  }
  // Lanes of a warp, from its first thread on.
  void add_lanes(std::uint32_t first, unsigned lanes) {
    const std::size_t before = numbers_.size();
    for (; lanes != 0; lanes &= lanes - 1) numbers_.push_back(first + static_cast<std::uint32_t>(std::countr_zero(lanes)));
    std::uint32_t* p = numbers_.data() + before;
    const auto count = static_cast<std::uint32_t>(numbers_.size() - before);
    if (draw_ == Draw::ascending) std::reverse(p, p + count);
    if (draw_ == Draw::warps) shuffle(p, count);
  }
  std::uint32_t draw() {
    while (!numbers_.empty()) {
      const std::uint32_t drawn = take(numbers_, draw_ == Draw::even);
      if (!starved_.has(drawn)) return drawn;
      last_.push_back(drawn);
    }
    return take(last_, true);
  }

 private:
  std::uint32_t take(std::vector<std::uint32_t>& from, bool any) {
    if (any) std::swap(from[random_->below(from.size())], from.back());
    const std::uint32_t taken = from.back();
    from.pop_back();
    return taken;
  }

  void shuffle(std::uint32_t* p, std::uint32_t count) {
    for (; count > 1; --count) std::swap(p[count - 1], p[random_->below(count)]);
  }

  std::vector<std::uint32_t> numbers_, last_;  // last_: starved ones that were drawn
  Starved starved_;
  Draw draw_ = Draw::even;
  Random* random_ = nullptr;
};

// The ready threads of blocks that are alive together, numbered block after block. Either all blocks are alike, or they take turns: a
// thread of the same block is drawn as long as one is ready and its turn has not ended.
class ReadyThreads {
 public:
  void start(Draw draw, Random& random, Starved starved = {}) {
    blocks_.resize(1);
    blocks_[0].start(draw, random, starved);
  }
  void start_turns(Draw draw, Random& random, std::uint32_t blocks, std::uint32_t threads_of_block) {
    blocks_.resize(blocks);
    for (Ready& block : blocks_) block.start(draw, random);
    random_ = &random, threads_of_block_ = threads_of_block;
    turn_ = random.below(blocks);
  }
  bool empty() const {
    return blocks_[turn()].empty() && std::ranges::all_of(blocks_, [](const Ready& block) { return block.empty(); });
  }
  void add(std::uint32_t first, std::uint32_t count) {
    if (blocks_.size() == 1) return blocks_[0].add(first, count);
    for (const std::uint32_t end = first + count; first < end;) {
      const std::uint32_t part = std::min(end - first, threads_of_block_ - first % threads_of_block_);
      blocks_[first / threads_of_block_].add(first, part);
      first += part;
    }
  }
  void add_lanes(std::uint32_t first, unsigned lanes) {
    blocks_[blocks_.size() == 1 ? 0 : first / threads_of_block_].add_lanes(first, lanes);
  }
  std::uint32_t draw() {
    if (blocks_.size() > 1 && (blocks_[turn_].empty() || ended_)) next_turn();
    return blocks_[turn()].draw();
  }
  void end_turn() { ended_ = true; }

 private:
  std::size_t turn() const { return blocks_.size() == 1 ? 0 : turn_; }
  void next_turn() {
    ended_ = false;
    std::uint32_t ready = 0;
    for (std::uint32_t b = 0; b < blocks_.size(); ++b)
      if (!blocks_[b].empty() && random_->below(++ready) == 0) turn_ = b;
  }

  std::vector<Ready> blocks_;  // one for all, where they are alike
  Random* random_ = nullptr;
  std::uint32_t threads_of_block_ = 1, turn_ = 0;
  bool ended_ = false;
};

}  // namespace norma::simt
