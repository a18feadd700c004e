// LeNet with batch norm on Fashion-MNIST, or on digits drawn by code where that set is not installed.
#include <norma/norma.h>

#include <cstdio>

int main() try {
  using namespace norma;
  // clang-format off
  const nn::Sequential net{
      nn::Conv2d{.out = 6, .kernel = 5}, nn::BatchNorm{}, nn::ReLU{}, nn::MaxPool2d{.kernel = 2},   // (6, 12, 12)
      nn::Conv2d{.out = 16, .kernel = 5}, nn::BatchNorm{}, nn::ReLU{}, nn::MaxPool2d{.kernel = 2},  // (16, 4, 4)
      nn::Flatten{},                                                                                // (256)
      nn::Linear{.out = 120}, nn::BatchNorm{}, nn::ReLU{},
      nn::Linear{.out = 84}, nn::BatchNorm{}, nn::ReLU{},
      nn::Linear{.out = 10}};
  // clang-format on
  const DatasetPair data = find_dataset("fashion-mnist") ? load_dataset("fashion-mnist") : make_digits(10000, 2000, 0);

  const TrainerOptions options{.input = data.train.sample, .batch = 256, .optimizer = Adam{.lr = 1e-3}, .device = Device::best()};
  Trainer trainer{net, options};
  std::printf("%s on %s\n", data.train.name.c_str(), trainer.device_description().c_str());
  const auto print = [](const EpochMetrics& m) {
    std::printf("epoch %d: loss %.4f, test accuracy %.4f\n", int(m.epoch), m.train_loss, *m.test_accuracy);
  };
  trainer.fit(data, {.epochs = 2, .on_epoch = print});
  save_safetensors("lenet.safetensors", trainer.model());  // PyTorch's names: conv1.weight, bn1.running_mean, ...
} catch (const norma::Error& e) {
  std::fprintf(stderr, "train_lenet: %s\n", e.what());
  return e.exit_code();
}
