// Computes the figures of `norma explain batchnorm`.
#include "apps/norma/explain/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "apps/norma/system/larger.h"
#include "norma/module_runner.h"

namespace norma::app {
namespace {

std::vector<float> floats(const std::vector<double>& v) { return {v.begin(), v.end()}; }
std::vector<double> doubles(const std::vector<float>& v) { return {v.begin(), v.end()}; }

// f of every value and its channel.
template <class F>
Tensor each(const Tensor& x, F f) {
  Tensor y = x;
  const auto channels = static_cast<std::size_t>(x.shape[1]);
  const std::size_t plane = x.values.size() / static_cast<std::size_t>(x.shape[0]) / channels;
  for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] = f(x.values[i], i / plane % channels);
  return y;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) largest = larger(largest, std::abs(a.values[i] - b.values[i]));
  return largest;
}

// Over every axis but the channels'; `steps` gets what each axis leaves.
Tensor channel_means(Tensor x, std::vector<Tensor>* steps = nullptr) {
  const int rank = x.shape.rank();
  for (int axis = 0; axis < rank; ++axis) {
    if (axis == 1) continue;
    x = mean_over(x, axis);
    if (steps) steps->push_back(x);
  }
  return x;
}

ModuleRunner batch_norm(const Shape& shape, nn::BatchNorm options = {}, Mode mode = Mode::train) {
  return ModuleRunner{options, shape, {.mode = mode, .backward = mode == Mode::train}};
}

NormalisedBatch normalise(const Tensor& x, double eps) {
  NormalisedBatch b;
  b.x = x;
  b.mean = channel_means(x, &b.means).values;
  b.centred = each(x, [&](double v, std::size_t c) { return v - b.mean[c]; });
  b.variance = channel_means(each(b.centred, [](double v, std::size_t) { return v * v; })).values;
  b.normalised = each(b.centred, [&](double v, std::size_t c) { return v / std::sqrt(b.variance[c] + eps); });
  for (std::size_t c = 0; c < b.mean.size(); ++c) {
    b.gamma.push_back(1 + static_cast<double>(c));
    b.beta.push_back(10 * static_cast<double>(c));
  }
  b.scaled = each(b.normalised, [&](double v, std::size_t c) { return b.gamma[c] * v + b.beta[c]; });

  ModuleRunner run = batch_norm(x.shape, {.eps = eps});
  run.write("x", floats(x.values));
  run.write("bn.weight", floats(b.gamma));
  run.write("bn.bias", floats(b.beta));
  run.step();
  b.norma_mean = doubles(run.read("bn.mean"));
  b.norma_variance = doubles(run.read("bn.var"));
  b.norma_scaled = {x.shape, doubles(run.read("y"))};
  b.difference = largest_difference(b.scaled, b.norma_scaled);
  return b;
}

// The means over height, then width, of x (N,C,H,W), by average pooling.
std::vector<Tensor> pooled_means(const Tensor& x) {
  std::vector<Tensor> steps;
  Tensor at = x;
  for (const Size2 kernel : {Size2{x.shape[2], 1}, Size2{1, x.shape[3]}}) {
    ModuleRunner run{nn::AvgPool2d{.kernel = kernel}, at.shape};
    run.write("x", floats(at.values));
    run.step();
    at = {run.shape("y"), doubles(run.read("y"))};
    steps.push_back(at);
  }
  return steps;
}

RunningStatistics run_statistics(const NormalisedBatch& b, double eps) {
  const Shape& shape = b.x.shape;
  RunningStatistics r;
  r.momentum = nn::BatchNorm{}.momentum.value_or(0);
  r.batch_mean = b.mean;
  const auto count = static_cast<double>(shape.elements() / shape[1]);
  for (const double v : b.variance) r.unbiased_variance.push_back(v * count / (count - 1));
  ModuleRunner train = batch_norm(shape, {.eps = eps}), eval = batch_norm(shape, {.eps = eps}, Mode::eval);
  for (ModuleRunner* run : {&train, &eval}) run->write("x", floats(b.x.values));
  const auto evaluated = [&] {
    for (const char* name : {"bn.running_mean", "bn.running_var"}) eval.write(name, train.read(name));
    eval.step();
    return static_cast<double>(eval.read("y")[0]);
  };
  train.step();
  r.mean = doubles(train.read("bn.running_mean"));
  r.variance = doubles(train.read("bn.running_var"));
  r.first_in_training = static_cast<double>(train.read("y")[0]);
  r.first_in_evaluation = evaluated();
  for (r.many = 1; r.many < 200; ++r.many) train.step();
  r.first_after_many = evaluated();
  return r;
}

// y and dy/dx of a tanh on a batch of single values, with whatever stands before it.
Saturation saturate() {
  Saturation s;
  s.x = {5, 40};
  const Shape shape{static_cast<std::int64_t>(s.x.size()), 1};
  const auto through_tanh = [&](const std::vector<double>& x, std::vector<double>& y, std::vector<double>& slope) {
    ModuleRunner run{nn::Tanh{}, shape};
    run.write("x", floats(x));
    run.write("dy", std::vector<float>(x.size(), 1));
    run.step();
    y = doubles(run.read("y"));
    slope = doubles(run.read("dx"));
  };
  through_tanh(s.x, s.tanh, s.slope);
  ModuleRunner norm = batch_norm(shape);
  norm.write("x", floats(s.x));
  norm.step();
  s.normalised = doubles(norm.read("y"));
  through_tanh(s.normalised, s.tanh_after, s.slope_after);
  return s;
}

Undone undo(const NormalisedBatch& b, double eps) {
  Undone u;
  u.x = b.x;
  u.beta = b.mean;
  for (const double v : b.variance) u.gamma.push_back(std::sqrt(v + eps));
  ModuleRunner run = batch_norm(b.x.shape, {.eps = eps});
  run.write("x", floats(b.x.values));
  run.write("bn.weight", floats(u.gamma));
  run.write("bn.bias", floats(u.beta));
  run.step();
  u.y = {b.x.shape, doubles(run.read("y"))};
  u.difference = largest_difference(u.x, u.y);
  return u;
}

Momentum average(std::optional<double> momentum, const Tensor& x, const std::vector<int>& steps) {
  Momentum m{momentum, {}};
  ModuleRunner run = batch_norm(x.shape, {.momentum = momentum});
  run.write("x", floats(x.values));
  int done = 0;
  for (const int until : steps) {
    for (; done < until; ++done) run.step();
    m.running_mean.push_back(static_cast<double>(run.read("bn.running_mean")[0]));
  }
  return m;
}

}  // namespace

Tensor arange(const Shape& shape) {
  Tensor t{shape, std::vector<double>(static_cast<std::size_t>(shape.elements()))};
  for (std::size_t i = 0; i < t.values.size(); ++i) t.values[i] = static_cast<double>(i);
  return t;
}

Tensor mean_over(const Tensor& x, int axis) {
  Shape shape;
  std::size_t inner = 1;
  for (int i = x.shape.rank() - 1; i >= 0; --i) {
    if (i > axis) inner *= static_cast<std::size_t>(x.shape[i]);
    shape = shape.prepend(i == axis ? 1 : x.shape[i]);
  }
  const auto length = static_cast<std::size_t>(x.shape[axis]);
  Tensor y{shape, std::vector<double>(static_cast<std::size_t>(shape.elements()))};
  for (std::size_t i = 0; i < y.values.size(); ++i) {
    for (std::size_t k = 0; k < length; ++k) y.values[i] += x.values[(i / inner * length + k) * inner + i % inner];
    y.values[i] /= static_cast<double>(length);
  }
  return y;
}

BatchNormExplained explain_batch_norm() {
  BatchNormExplained e;
  e.eps = nn::BatchNorm{}.eps;
  e.features = normalise(arange({3, 2}), e.eps);
  e.image = normalise(arange({1, 2, 3, 3}), e.eps);
  e.channels = normalise(arange({1, 3, 3, 3}), e.eps);
  e.pooled = pooled_means(e.channels.x);
  e.running = run_statistics(e.channels, e.eps);
  e.saturation = saturate();
  e.undone = undo(e.image, e.eps);
  e.steps = {1, 2, 5, 10, 20, 50};
  for (const std::optional<double> momentum : {std::optional(0.1), std::optional(0.9), std::optional<double>()})
    e.momenta.push_back(average(momentum, e.channels.x, e.steps));
  return e;
}

}  // namespace norma::app
