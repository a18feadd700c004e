// Sums with 4 threads. "race" and "openmp-race" have no order, and ThreadSanitizer must report them. "threads" has a lock and "openmp" a
// barrier; it must report neither.
#include <omp.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

namespace {

int race() {
  int sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) ++sum;
    });
  for (std::thread& t : threads) t.join();
  return sum;
}

int ordered_threads() {
  int sum = 0;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      const std::lock_guard lock(mutex);
      ++sum;
    });
  for (std::thread& t : threads) t.join();
  return sum;
}

int openmp(bool ordered) {
  int values[4] = {}, sum = 0;
#pragma omp parallel num_threads(4)
  {
    values[omp_get_thread_num()] = 1;
    if (ordered) {
#pragma omp barrier
    }
    if (!ordered || omp_get_thread_num() == 0)
      for (const int v : values) sum += v;
  }
  return sum;
}

}  // namespace

int main(int count, char** arguments) {
  const char* what = count == 2 ? arguments[1] : "";
  if (std::strcmp(what, "race") == 0) std::printf("%d\n", race());
  else if (std::strcmp(what, "openmp-race") == 0) std::printf("%d\n", openmp(false));
  else if (std::strcmp(what, "threads") == 0) std::printf("%d\n", ordered_threads());
  else if (std::strcmp(what, "openmp") == 0) std::printf("%d\n", openmp(true));
  else return 2;
  return 0;
}
