// Inference as a server does it: a model file, four threads that ask one sample at a time, nothing allocated on the way.
#include <norma/norma.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

namespace {
std::atomic<long> allocations = 0;
}

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* const p = std::malloc(bytes ? bytes : 1)) return p;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  ++allocations;
  const auto to = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(to, (bytes + to - 1) / to * to);
}
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

int main() try {
  using namespace norma;
  const nn::Sequential lenet{nn::Conv2d{.out = 6, .kernel = 5},
                             nn::BatchNorm{},
                             nn::ReLU{},
                             nn::MaxPool2d{.kernel = 2},
                             nn::Conv2d{.out = 16, .kernel = 5},
                             nn::BatchNorm{},
                             nn::ReLU{},
                             nn::MaxPool2d{.kernel = 2},
                             nn::Flatten{},
                             nn::Linear{.out = 120},
                             nn::BatchNorm{},
                             nn::ReLU{},
                             nn::Linear{.out = 84},
                             nn::BatchNorm{},
                             nn::ReLU{},
                             nn::Linear{.out = 10}};
  const DatasetPair digits = make_digits(2000, 400, 0);
  const Transform transform{.mean = {0.13}, .stddev = {0.31}};
  Trainer trainer{lenet, {.input = digits.train.sample, .batch = 100, .optimizer = Adam{.lr = 2e-3}, .transform = transform}};
  trainer.fit(digits.train, nullptr, {.epochs = 2});
  save_safetensors("serve.safetensors", trainer.model());

  const Predictor predictor{lenet, load_safetensors("serve.safetensors"), {.input = digits.test.sample, .transform = transform}};
  const std::vector<float> expected = predictor.predict(digits.test.bytes);
  const std::size_t pixels = 28 * 28, outputs = 10, samples = 400;

  constexpr int threads = 4, rounds = 5;
  std::atomic<int> ready = 0, wrong = 0;
  std::atomic<bool> go = false;
  std::vector<std::vector<double>> microseconds(threads, std::vector<double>(rounds * samples));
  std::vector<std::thread> clients;
  for (int t = 0; t < threads; ++t)
    clients.emplace_back([&, t] {
      std::vector<float> y(outputs);
      std::vector<double>& mine = microseconds[static_cast<std::size_t>(t)];
      const auto ask = [&](std::size_t i) {
        predictor.predict(std::span(digits.test.bytes).subspan(i * pixels, pixels), y);
        wrong += !std::equal(y.begin(), y.end(), expected.begin() + static_cast<std::ptrdiff_t>(i * outputs));
      };
      ++ready;
      while (!go) std::this_thread::yield();
      for (std::size_t k = 0; k < mine.size(); ++k) {
        const auto start = std::chrono::steady_clock::now();
        ask(k % samples);
        mine[k] = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      }
    });
  while (ready < threads) std::this_thread::yield();
  const long before = allocations;
  go = true;
  for (std::thread& c : clients) c.join();
  const long made = allocations - before;

  std::vector<double> all;
  for (const auto& mine : microseconds) all.insert(all.end(), mine.begin(), mine.end());
  std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2));
  std::printf("%zu samples one by one on %d threads: %.1f us each (median), %d wrong, %ld allocations\n", all.size(), threads,
              all[all.size() / 2], wrong.load(), made);
  // Each call beyond those that ran at once before makes its memory: four pieces a thread.
  return wrong == 0 && made <= 4 * threads ? 0 : 1;
} catch (const norma::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return e.exit_code();
}
