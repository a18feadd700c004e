// Fine-tuning: a trained net meets other pictures. Its convolutions stay, its batch norms keep their statistics, its head learns.
#include <norma/norma.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace norma;

// Black on white instead of white on black.
Dataset inverted(Dataset set) {
  for (std::uint8_t& b : set.bytes) b = static_cast<std::uint8_t>(255 - b);
  return set;
}

std::set<std::string> moved(const Checkpoint& before, const Checkpoint& after) {
  std::set<std::string> names;
  for (const StoredTensor& t : before.tensors)
    if (after.find(t.name)->bytes != t.bytes) names.insert(t.name);
  return names;
}

}  // namespace

int main() try {
  const nn::Sequential net{nn::Conv2d{.out = 8, .kernel = 5, .stride = 2},
                           nn::BatchNorm{},
                           nn::ReLU{},
                           nn::Flatten{},
                           nn::Linear{.out = 32},
                           nn::ReLU{},
                           {"head", nn::Linear{.out = 10}}};
  const DatasetPair digits = make_digits(2000, 400, 0);
  const Dataset train = inverted(digits.train), test = inverted(digits.test);
  TrainerOptions options{.input = digits.train.sample, .batch = 50, .optimizer = Adam{.lr = 2e-3}};
  Trainer first{net, options};
  first.fit(digits.train, nullptr, {.epochs = 6});
  std::printf("trained: %.3f of the digits right, %.3f of the inverted ones\n", first.evaluate(digits.test).accuracy,
              first.evaluate(test).accuracy);

  options.groups = {{.pattern = "conv1.*", .rate = 0},                // no update, no backward
                    {.pattern = "bn1.*", .frozen_statistics = true},  // trains as it evaluates
                    {.pattern = "head.*", .rate = 3}};
  options.clip = {.norm = 1.0};
  Trainer tuned{net, options};
  tuned.load_model(first.model());
  const Checkpoint before = tuned.model();
  tuned.fit(train, nullptr, {.epochs = 4});
  tuned.reset_optimizer();  // other moments for what comes now
  tuned.fit(train, nullptr, {.epochs = 16});

  const double accuracy = tuned.evaluate(test).accuracy;
  const std::size_t whole = describe(first.plan(Mode::train)).size(), less = describe(tuned.plan(Mode::train)).size();
  std::printf("tuned: %.3f of the inverted ones right; a step has %zu Calls instead of %zu\n", accuracy, less, whole);
  const std::set<std::string> expected{"bn1.weight", "bn1.bias", "fc1.weight", "fc1.bias", "head.weight", "head.bias"};
  for (const std::string& name : moved(before, tuned.model())) std::printf("  %s moved\n", name.c_str());
  return accuracy > 0.9 && moved(before, tuned.model()) == expected && less < whole ? 0 : 1;
} catch (const norma::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return e.exit_code();
}
