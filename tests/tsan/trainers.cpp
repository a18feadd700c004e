// Four Trainers in four threads at once, two OpenMP threads each; then each net alone, which must come to the same bits.
#include <cstdio>
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

}  // namespace

int main() {
  const norma::DatasetPair data = norma::make_digits(50, 20, 0);
  std::vector<std::string> together(4), alone;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { together[static_cast<std::size_t>(i)] = trained(i, data); });
  for (std::thread& t : threads) t.join();
  for (int i = 0; i < 4; ++i) alone.push_back(trained(i, data));
  for (const std::string& s : together) std::printf("%s\n", s.c_str());
  if (together == alone) return 0;
  std::fprintf(stderr, "together other bits than alone\n");
  return 1;
}
