// A loop of one's own: regression with a loss written here, in steps on batches that this program makes.
#include <norma/gradient_check.h>
#include <norma/norma.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace {

// Huber's loss, the mean over all numbers: a square near 0, a line beyond 1.
double huber(const norma::LossInput& in, std::span<float> gradient) {
  double loss = 0;
  const auto n = static_cast<double>(in.outputs.size());
  for (std::size_t i = 0; i < in.outputs.size(); ++i) {
    const double d = static_cast<double>(in.outputs[i]) - static_cast<double>(in.targets[i]);
    loss += std::abs(d) < 1 ? d * d / 2 : std::abs(d) - 0.5;
    if (!gradient.empty()) gradient[i] = static_cast<float>(std::clamp(d, -1.0, 1.0) / n);
  }
  return loss / n;
}

}  // namespace

int main() try {
  using namespace norma;
  const CustomLoss loss{huber};
  if (const GradientCheck c = check_gradient(loss, {8, 1}); !c.ok()) return std::puts(to_string(c).c_str()), 1;

  // sin(x) of points that this program draws, 64 at a time; every tenth target is far off.
  constexpr std::size_t samples = 64;
  constexpr int steps = 600;
  Trainer trainer{nn::Sequential{nn::Linear{.out = 32}, nn::Tanh{}, nn::Linear{.out = 1}},
                  {.input = {1},
                   .batch = samples,
                   .optimizer = Adam{.lr = 0.02},
                   .schedule = {.kind = Schedule::Kind::cosine},
                   .loss = loss,
                   .total_steps = steps}};
  std::vector<float> x(samples), y(samples);
  StepResult last;
  for (int step = 0; step < steps; ++step) {
    for (std::size_t i = 0; i < samples; ++i) {
      x[i] = static_cast<float>((static_cast<std::size_t>(step) * 37 + i * 101) % 1000) / 1000 * 6 - 3;
      y[i] = std::sin(x[i]) + (i % 10 == 0 ? (i % 20 == 0 ? 4.0f : -4.0f) : 0.0f);
    }
    last = trainer.step({.floats = x, .targets = y});
  }
  Dataset points;
  points.sample = {1};
  points.floats = {-2, -1, 0, 1, 2};
  const std::vector<float> found = trainer.predict(points);
  float worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - std::sin(points.floats[i])));
  std::printf("loss of the last batch %.3f; sine is off by %.3f at most\n", last.loss, static_cast<double>(worst));
  return worst < 0.2f ? 0 : 1;
} catch (const norma::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return e.exit_code();
}
