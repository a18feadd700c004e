#include "tests/simt/emulator.h"

#include "device.cuh"
#include "tests/simt/engine.h"
#include "tests/simt/products.h"

namespace norma::simt {
namespace {

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

void fence(Site at) {
  Place& place = arrive(at, Wait::fence);
  if (!place.skipped) engine().fence(place);
}

// A release and an acquisition: who runs meanwhile has no part in it, so they come at once.
unsigned add_in_order(unsigned* counter, unsigned n, Site at) {
  Place& place = arrive(at, Wait::arrive);
  if (!place.skipped) engine().publish();
  engine().begin_atomic(counter, sizeof n);
  const unsigned before = *counter;
  *counter += n;
  engine().end_atomic(counter, sizeof n, place);
  return before;
}

void begin_atomic(void* address, std::size_t bytes) { engine().begin_atomic(address, bytes); }

void end_atomic(void* address, std::size_t bytes) {
  static const Place place{{"", 0}, Wait::atomic};
  engine().end_atomic(address, bytes, place);
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
