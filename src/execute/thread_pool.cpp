#include "src/execute/thread_pool.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <mutex>

#include "norma/error.h"

namespace norma {

using kernels::cpu::Team;
using kernels::cpu::TeamScope;

namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns the value once it is not `old`. Loops follow each other within microseconds, so it looks for some before it sleeps. Looking for
// milliseconds, as OpenMP's threads do, takes the core from others, above all from the thread that is waited for.
std::uint32_t wait_for_other(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  constexpr int looks = 1000;
  for (int i = 0; i < looks; ++i) {
    if (const std::uint32_t now = value.load(std::memory_order_acquire); now != old) return now;
    pause();
  }
  for (;;) {
    value.wait(old, std::memory_order_acquire);
    if (const std::uint32_t now = value.load(std::memory_order_acquire); now != old) return now;
  }
}

void do_part(Team::Work work, void* data, int part) {
  const TeamScope alone(nullptr, part);
  work(data, part);
}

}  // namespace

struct ThreadPool::Threads {
  explicit Threads(int wanted) : all(static_cast<std::size_t>(wanted)) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, std::size_t{1} << 20);  // a kernel's frame is far smaller
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);  // signals go to the threads of the host
    int fault = 0;
    for (Thread& t : all) {
      t.pool = this, t.part = ++started;
      if ((fault = pthread_create(
               &t.id, &attributes, [](void* of) -> void* { return static_cast<Thread*>(of)->work(), nullptr; }, &t)) == 0)
        continue;
      --started;
      break;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (!fault) return;
    end();
    throw Error(ErrorKind::failure, "out of memory or of threads: cannot start thread " + std::to_string(started + 2) + " of " +
                                        std::to_string(wanted + 1) + ": " + std::strerror(fault) + "; use fewer (--threads)");
  }
  ~Threads() { end(); }

  void run(int n, Team::Work w, void* d) {
    work = w, data = d, parts = n;
    left.store(static_cast<std::uint32_t>(started), std::memory_order_relaxed);
    turn.fetch_add(1, std::memory_order_release);
    turn.notify_all();
    for (int part = 0; part < n; part += started + 1) do_part(w, d, part);
    for (std::uint32_t now = left.load(std::memory_order_acquire); now != 0;) now = wait_for_other(left, now);
  }

 private:
  struct Thread {
    Threads* pool = nullptr;
    int part = 0;
    pthread_t id{};
    void work() const {
      for (std::uint32_t seen = 0;;) {
        seen = wait_for_other(pool->turn, seen);
        if (!pool->work) return;
        for (int p = part; p < pool->parts; p += pool->started + 1) do_part(pool->work, pool->data, p);
        if (pool->left.fetch_sub(1, std::memory_order_acq_rel) == 1) pool->left.notify_one();
      }
    }
  };

  void end() {
    work = nullptr;
    turn.fetch_add(1, std::memory_order_release);
    turn.notify_all();
    for (int i = 0; i < started; ++i) pthread_join(all[static_cast<std::size_t>(i)].id, nullptr);
  }

  std::vector<Thread> all;
  int started = 0;
  Team::Work work = nullptr;  // of this turn
  void* data = nullptr;
  int parts = 0;
  alignas(64) std::atomic<std::uint32_t> turn{0};
  alignas(64) std::atomic<std::uint32_t> left{0};  // threads that have not done their parts
};

ThreadPool::ThreadPool(int threads)
    : team_{.threads = threads,
            .run = [](void* pool, int parts, Team::Work work, void* data) { static_cast<ThreadPool*>(pool)->run(parts, work, data); },
            .pool = this} {}

ThreadPool::ThreadPool(int threads, std::function<void(int, const std::function<void(int)>&)> host) : ThreadPool(threads) {
  host_ = std::move(host);
}

ThreadPool::~ThreadPool() {
  if (threads_ && process_ != getpid()) (void)threads_.release();  // they are the parent's
}

void ThreadPool::start() {
  if (host_ || team_.threads == 1) return;
  const pid_t here = getpid();
  if (threads_ && process_ == here) return;
  (void)threads_.release();
  threads_ = std::make_unique<Threads>(team_.threads - 1);
  process_ = here;
}

void ThreadPool::run(int parts, Team::Work work, void* data) {
  if (host_) {
    host_(parts, [&](int part) { do_part(work, data, part); });
    return;
  }
  if (parts == 1 || team_.threads == 1) {
    for (int part = 0; part < parts; ++part) do_part(work, data, part);
    return;
  }
  start();
  threads_->run(parts, work, data);
}

void ThreadPool::run(int parts, const std::function<void(int)>& f) {
  struct Shared {
    const std::function<void(int)>& f;
    std::mutex mutex{};
    std::exception_ptr fault{};
  } shared{f};
  run(
      parts,
      [](void* data, int part) {
        auto& s = *static_cast<Shared*>(data);
        try {
          s.f(part);
        } catch (...) {
          const std::lock_guard lock(s.mutex);
          s.fault = std::current_exception();
        }
      },
      &shared);
  if (shared.fault) std::rethrow_exception(shared.fault);
}

}  // namespace norma
