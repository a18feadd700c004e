// Threads of an executor: they do the parts of loops, and sleep between.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cpu/team.h"

namespace norma {

// One thread at a time may run something. A process forked from this one gets threads of its own when it first runs something.
class ThreadPool {
 public:
  // Runs on the calling thread and on threads - 1 others, which start() makes, or the first run().
  explicit ThreadPool(int threads);
  // Runs on whatever the host's function uses; norma starts no threads then.
  ThreadPool(int threads, std::function<void(int, const std::function<void(int)>&)> host);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Throws Error(failure) where the system gives no thread.
  void start();
  // As Team::run.
  void run(int parts, kernels::cpu::Team::Work work, void* data);
  // f(part) for each part. What it throws, one of them if there are several, leaves run.
  void run(int parts, const std::function<void(int)>& f);
  const kernels::cpu::Team& team() const { return team_; }

 private:
  struct Threads;

  kernels::cpu::Team team_;
  std::function<void(int, const std::function<void(int)>&)> host_;
  std::unique_ptr<Threads> threads_;
  pid_t process_ = 0;  // that threads_ are of
};

}  // namespace norma
