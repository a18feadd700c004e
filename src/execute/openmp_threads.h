// The calling thread's OpenMP setting, for a while.
#pragma once
#include <omp.h>

namespace norma {

// Sets `threads` threads for the parallel loops of the calling thread. Its end restores the old number, since the setting is the caller's.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~OpenMpThreads() { omp_set_num_threads(before_); }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  int before_;
};

}  // namespace norma
