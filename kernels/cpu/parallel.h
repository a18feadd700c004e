// The one parallel loop of the CPU kernels.
#pragma once
#include <omp.h>

#include <cstdint>

#include "kernels/memory.h"

namespace norma::kernels::cpu::NORMA_ISA {

// Runs f(i) for i in [0,n) on as many threads as the calling thread's OpenMP setting allows. A caller already in a parallel region runs all
// alone. Each index does all its work alone, so results depend on the cut into indices and never on the number of threads. Neighbouring
// indices go to one thread. A later loop with the same n gives each index to the same thread, which finds its data in cache. f must not
// throw.
template <class F>
inline void parallel_for(std::int64_t n, F f) {
  if (n == 1 || omp_in_parallel() || omp_get_max_threads() == 1) {  // if(...) of the pragma would still enter libgomp
    for (std::int64_t i = 0; i < n; ++i) f(i);
    return;
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < n; ++i) f(i);
}

// The buffer of the thread that asks, of those a Call's scratch memory has (buffers.h): made before the loop, asked in it.
template <class T>
class PerThread {
 public:
  explicit PerThread(const Memory& memory) : first_(reinterpret_cast<T*>(memory.scratch)), alone_(omp_in_parallel() != 0) {}
  T& operator*() const { return first_[alone_ ? 0 : omp_get_thread_num()]; }

 private:
  T* first_;
  bool alone_;
};

}  // namespace norma::kernels::cpu::NORMA_ISA
