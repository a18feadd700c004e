#include "tests/simt/visibility.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace norma::simt {
namespace {

#define NORMA_UNCHECKED __attribute__((no_sanitize("address", "undefined")))  // a copy of memory is compared at every turn

// The first byte from `i` on in which a and b differ, or n.
NORMA_UNCHECKED std::size_t first_difference(const std::byte* a, const std::byte* b, std::size_t i, std::size_t n) {
  constexpr std::size_t words = 16, step = words * sizeof(std::uint64_t);
  for (; i + step <= n; i += step) {
    std::uint64_t differ = 0;
    for (std::size_t w = 0; w < words; ++w) {
      std::uint64_t x, y;
      __builtin_memcpy(&x, a + i + w * sizeof x, sizeof x);
      __builtin_memcpy(&y, b + i + w * sizeof y, sizeof y);
      differ |= x ^ y;
    }
    if (differ) break;
  }
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

NORMA_UNCHECKED std::size_t first_equal(const std::byte* a, const std::byte* b, std::size_t i, std::size_t n) {
  while (i < n && a[i] != b[i]) ++i;
  return i;
}

// Most pieces are a number or less.
NORMA_UNCHECKED void copy_bytes(std::byte* to, const std::byte* from, std::size_t size) {
  if (size > 16) std::memcpy(to, from, size);
  else
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

// A block sees all that is published once it is behind by more: going back takes time.
constexpr std::size_t most_behind = 4096;

}  // namespace

Visibility& visibility() {
  static Visibility one;
  return one;
}

void Visibility::add(void* memory, std::size_t bytes) {
  if (grids_ > 0) throw std::logic_error("device memory comes while a grid runs");
  ranges_.push_back({static_cast<std::byte*>(memory), bytes});
}

void Visibility::remove(void* memory) {
  if (grids_ > 0) throw std::logic_error("device memory goes while a grid runs");
  std::erase_if(ranges_, [=](const Range& r) { return r.memory == memory; });
}

std::size_t Visibility::bytes() const {
  std::size_t sum = 0;
  for (const Range& r : ranges_) sum += r.bytes;
  return sum;
}

void Visibility::begin_grid() {
  if (grids_++ > 0) return;
  for (Range& r : ranges_) {
    r.published.assign(r.memory, r.memory + r.bytes);
    r.seen = r.published;
  }
  published_before_.clear();
  seen_ = 0;
}

void Visibility::end_grid() {
  leave();
  --grids_;
}

// f(range, offset, bytes) for what the running block has written and not published.
template <class F>
void Visibility::for_each_write(F f) {
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    const Range& r = ranges_[i];
    for (std::size_t end = 0;;) {
      const std::size_t begin = first_difference(r.memory, r.seen.data(), end, r.bytes);
      if (begin == r.bytes) break;
      end = first_equal(r.memory, r.seen.data(), begin, r.bytes);
      f(i, begin, end - begin);
    }
  }
}

// Memory, where nobody has unpublished writes, becomes what it was after `count` publications.
void Visibility::see_up_to(std::size_t count) {
  const auto set = [&](const Patches::Piece& p, const std::byte* from) {
    Range& r = ranges_[p.range];
    copy_bytes(r.memory + p.offset, from, p.size);
    copy_bytes(r.seen.data() + p.offset, from, p.size);
  };
  if (count == seen_) return;
  for (std::size_t i = seen_; i < now(); ++i) {
    const Patches::Piece& p = published_before_.pieces[i];
    set(p, ranges_[p.range].published.data() + p.offset);
  }
  for (std::size_t i = now(); i > count; --i) {
    const Patches::Piece& p = published_before_.pieces[i - 1];
    set(p, published_before_.bytes.data() + p.at);
  }
  seen_ = count;
}

void Visibility::enter(View& view) {
  if (running_ == &view) return;
  if (running_) {
    for_each_write([&](std::size_t range, std::size_t offset, std::size_t size) {
      const Range& r = ranges_[range];
      running_->kept.add(range, offset, r.memory + offset, size);
      copy_bytes(r.memory + offset, r.seen.data() + offset, size);
    });
  }
  if (view.eager || now() - view.seen > most_behind) view.seen = now();
  see_up_to(view.seen);
  for (const Patches::Piece& p : view.kept.pieces) copy_bytes(ranges_[p.range].memory + p.offset, view.kept.bytes.data() + p.at, p.size);
  view.kept.clear();
  running_ = &view;
}

void Visibility::publish() {
  for_each_write([&](std::size_t range, std::size_t offset, std::size_t size) {
    Range& r = ranges_[range];
    published_before_.add(range, offset, r.published.data() + offset, size);
    copy_bytes(r.published.data() + offset, r.memory + offset, size);
  });
  see_up_to(now());
  if (running_) running_->seen = now();
}

void Visibility::end_block() {
  publish();
  running_ = nullptr;
}

void Visibility::leave() {
  View nobody{.eager = true};
  enter(nobody);
  running_ = nullptr;
}

void Visibility::outside(const std::function<void()>& work) {
  if (grids_ == 0) return work();
  leave();
  work();
  publish();
}

Visibility::Found Visibility::find(const void* address) const {
  const auto* p = static_cast<const std::byte*>(address);
  const auto in = [=](const Range& r) { return p >= r.memory && p < r.memory + r.bytes; };
  const auto range = static_cast<std::size_t>(std::ranges::find_if(ranges_, in) - ranges_.begin());
  return {range, range == ranges_.size() ? 0 : static_cast<std::size_t>(p - ranges_[range].memory)};
}

// The block sees a write of its own, else the last of all.
void Visibility::begin_atomic(const void* address, std::size_t bytes) {
  const Found at = find(address);
  if (!running_ || at.range == ranges_.size()) return;
  Range& r = ranges_[at.range];
  if (std::memcmp(r.memory + at.offset, r.seen.data() + at.offset, bytes) != 0) return;
  std::memcpy(r.memory + at.offset, r.published.data() + at.offset, bytes);
}

void Visibility::end_atomic(const void* address, std::size_t bytes) {
  const Found at = find(address);
  if (!running_ || at.range == ranges_.size()) return;
  Range& r = ranges_[at.range];
  for (std::byte* copy : {r.published.data(), r.seen.data()}) std::memcpy(copy + at.offset, r.memory + at.offset, bytes);
  for (const Patches::Piece& p : published_before_.pieces) {  // nobody sees an older number there
    if (p.range != at.range) continue;
    const std::size_t begin = std::max(p.offset, at.offset), end = std::min(p.offset + p.size, at.offset + bytes);
    if (begin < end) std::memcpy(published_before_.bytes.data() + p.at + (begin - p.offset), r.memory + begin, end - begin);
  }
}

unsigned Visibility::published(const unsigned* number) const {
  const Found at = find(number);
  if (grids_ == 0 || at.range == ranges_.size()) return *number;
  unsigned value;
  std::memcpy(&value, ranges_[at.range].published.data() + at.offset, sizeof value);
  return value;
}

}  // namespace norma::simt
