// Sums with 4 threads. "race" and "pool-race" have no order, and ThreadSanitizer must report them. "threads" has a lock, and what "pool"
// does is ordered by the pool's own waiting; it must report neither.
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "src/execute/thread_pool.h"

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

int pool(bool ordered) {
  norma::ThreadPool threads(4);
  int values[4] = {}, sum = 0;
  for (int turn = 0; turn < 100; ++turn) {
    threads.run(4, [&](int part) {
      values[part] = turn;
      if (!ordered) sum += values[(part + 1) % 4];
    });
    for (const int v : values) sum += v;
  }
  return sum;
}

}  // namespace

int main(int count, char** arguments) {
  const char* what = count == 2 ? arguments[1] : "";
  if (std::strcmp(what, "race") == 0) std::printf("%d\n", race());
  else if (std::strcmp(what, "pool-race") == 0) std::printf("%d\n", pool(false));
  else if (std::strcmp(what, "threads") == 0) std::printf("%d\n", ordered_threads());
  else if (std::strcmp(what, "pool") == 0) std::printf("%d\n", pool(true));
  else return 2;
  return 0;
}
