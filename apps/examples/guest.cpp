// norma as a guest in a program with threads of its own: it works on them, and a process made by fork trains as well.
#include <norma/norma.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

// The host's threads: they sleep until there is work, and the caller helps.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  void run(int n, const std::function<void(int)>& work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = &work, count_ = n, next_ = 0, at_work_ = static_cast<int>(threads_.size()), ++round_;
    }
    changed_.notify_all();
    take(work, n);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return at_work_ == 0; });
    ++rounds;
  }

  long rounds = 0;

 private:
  void take(const std::function<void(int)>& work, int n) {
    for (int i = next_++; i < n; i = next_++) work(i);
  }
  void serve() {
    for (long seen = 0;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return over_ || round_ > seen; });
      if (over_) return;
      seen = round_;
      const std::function<void(int)>& work = *work_;
      const int n = count_;
      lock.unlock();
      take(work, n);
      lock.lock();
      if (--at_work_ == 0) changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<int> next_ = 0;
  int count_ = 0, at_work_ = 0;
  long round_ = 0;
  bool over_ = false;
};

std::string trained(const norma::DatasetPair& data, norma::ExecutorOptions executor) {
  using namespace norma;
  const nn::Sequential net{nn::Conv2d{.out = 6, .kernel = 5}, nn::BatchNorm{}, nn::ReLU{}, nn::Flatten{}, nn::Linear{.out = 10}};
  Trainer trainer{net, {.input = data.train.sample, .batch = 64, .optimizer = Sgd{.lr = 0.05}, .executor = std::move(executor)}};
  trainer.fit(data.train, nullptr, {.epochs = 1});
  return trainer.parameters_hash();
}

}  // namespace

int main() try {
  const norma::DatasetPair data = norma::make_digits(640, 10, 0);
  Pool pool(2);
  const auto on_pool = [&](int n, const std::function<void(int)>& work) { pool.run(n, work); };
  const std::string on_hosts = trained(data, {.threads = 3, .parallel_for = on_pool});
  const std::string on_own = trained(data, {.threads = 2});
  std::printf("on the host's threads, %ld times: %s\non norma's own:               %s\n", pool.rounds, on_hosts.c_str(), on_own.c_str());

  // The child has none of its parent's threads. norma makes new ones there.
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(trained(data, {.threads = 2}) == on_own ? 0 : 1);
  int status = 1;
  if (child < 0 || waitpid(child, &status, 0) != child) return std::perror("fork"), 1;
  std::printf("in a child process: %s\n", status == 0 ? "the same" : "another");
  return on_hosts == on_own && pool.rounds > 0 && status == 0 ? 0 : 1;
} catch (const norma::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return e.exit_code();
}
