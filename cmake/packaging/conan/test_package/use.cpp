// Trains a small net for an epoch.
#include <norma/norma.h>

#include <cstdio>

int main() {
  using namespace norma;
  const DatasetPair data = make_digits(64, 16, 0);
  Trainer trainer{nn::Sequential{nn::Flatten{}, nn::Linear{.out = 10}, nn::BatchNorm{}}, {.input = data.train.sample, .batch = 32}};
  trainer.fit(data, {.epochs = 1});
  std::printf("norma %s: %s\n", version, trainer.parameters_hash().c_str());
}
