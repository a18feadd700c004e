// The one parallel loop of the CPU kernels.
#pragma once
#include <cstdint>

#include "kernels/chunks.h"
#include "kernels/cpu/team.h"
#include "kernels/memory.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Threads that a loop of the calling thread would run on.
inline int loop_threads() { return place.team ? place.team->threads : 1; }

// Runs f(i) for i in [0,n) on the calling thread's team. A part of a team's work has none, and runs all alone. Each index does all its work
// alone, so results depend on the cut into indices and never on the number of threads. Neighbouring indices go to one thread. A later loop
// with the same n gives each index to the same thread, which finds its data in cache. f must not throw.
template <class F>
inline void parallel_for(std::int64_t n, F f) {
  const Team* const team = place.team;
  if (n <= 1 || !team || team->threads == 1) {
    for (std::int64_t i = 0; i < n; ++i) f(i);
    return;
  }
  struct Loop {
    F* f;
    std::int64_t n;
    int parts;
  } loop{&f, n, n < team->threads ? static_cast<int>(n) : team->threads};
  team->run(
      team->pool, loop.parts,
      [](void* data, int part) {
        const Loop& of = *static_cast<Loop*>(data);
        const Range range = chunk(of.n, of.parts, part);
        for (std::int64_t i = range.begin; i < range.end; ++i) (*of.f)(i);
      },
      &loop);
}

// The buffer of the thread that asks, of those a Call's scratch memory has (buffers.h): made before the loop, asked in it.
template <class T>
class PerThread {
 public:
  explicit PerThread(const Memory& memory) : first_(reinterpret_cast<T*>(memory.scratch)), alone_(!place.team) {}
  T& operator*() const { return first_[alone_ ? 0 : place.part]; }

 private:
  T* first_;
  bool alone_;
};

}  // namespace norma::kernels::cpu::NORMA_ISA
