// Four Trainers in four threads at once, two threads each; then each net alone, which must come to the same bits. Then one Predictor that
// four threads ask at once.
#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "norma/norma.h"

namespace {

norma::TrainerOptions options(int which) {
  norma::TrainerOptions o{.input = {1, 28, 28}, .batch = 20};
  o.executor.threads = 2;
  o.seed = static_cast<std::uint64_t>(which);
  if (which % 2) o.optimizer = norma::Adam{.lr = 0.01};
  else o.optimizer = norma::Sgd{.lr = 0.05, .momentum = 0.9};
  return o;
}

norma::nn::Sequential net(int which) {
  using namespace norma::nn;
  if (which < 2) return {Conv2d{4, 3}, BatchNorm{}, ReLU{}, MaxPool2d{2}, Dropout{0.25}, Flatten{}, Linear{10}};
  return {Conv2d{4, 3}, GroupNorm{.groups = 2}, Tanh{}, AvgPool2d{2}, Flatten{}, LayerNorm{}, Linear{10}};
}

std::string trained(int which, const norma::DatasetPair& data) {
  norma::Trainer trainer(net(which), options(which));
  trainer.fit(data, {.epochs = 2});
  return trainer.parameters_hash() + " " + std::to_string(trainer.evaluate(data.test).loss) + " " +
         std::to_string(trainer.predict(data.test).size());
}

// Returns true if four threads get what one alone gets, samples one by one and in packs.
bool predicted_together(const norma::DatasetPair& data) {
  norma::Trainer trainer(net(0), options(0));
  trainer.fit(data, {.epochs = 1});
  const norma::Predictor predictor(net(0), trainer.model(), {.input = data.test.sample});
  const std::vector<float> alone = predictor.predict(data.test.bytes);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t n = 1; n <= 20; ++n) {
        const std::vector<float> y = predictor.predict(std::span(data.test.bytes).first(n * 28 * 28));
        wrong[t] += !std::equal(y.begin(), y.end(), alone.begin());
      }
    });
  for (std::thread& t : threads) t.join();
  return wrong == std::vector<int>(4);
}

}  // namespace

int main() {
  const norma::DatasetPair data = norma::make_digits(50, 20, 0);
  std::vector<std::string> together(4), alone;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { together[static_cast<std::size_t>(i)] = trained(i, data); });
  for (std::thread& t : threads) t.join();
  for (int i = 0; i < 4; ++i) alone.push_back(trained(i, data));
  for (const std::string& s : together) std::printf("%s\n", s.c_str());
  if (together != alone) return std::fprintf(stderr, "together other bits than alone\n"), 1;
  if (!predicted_together(data)) return std::fprintf(stderr, "a Predictor gave threads other bits than one alone\n"), 1;
  return 0;
}
