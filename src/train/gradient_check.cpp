#include "norma/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include "kernels/philox.h"
#include "norma/error.h"
#include "norma/module_runner.h"
#include "norma/text.h"

namespace norma {
namespace {

// Draws the same numbers on every machine.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}
  std::uint32_t word() { return kernels::philox(seed_, {next_++, 0, 0, 0})[0]; }
  float normal() {  // the sum of 12 uniform numbers, which no library's logarithm rounds
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(kernels::uniform(word()));
    return static_cast<float>(sum);
  }
  std::vector<float> normals(std::int64_t n) {
    std::vector<float> all(static_cast<std::size_t>(n));
    for (float& v : all) v = normal();
    return all;
  }

 private:
  std::uint64_t seed_;
  std::uint32_t next_ = 0;
};

void check(const GradientCheckOptions& o) {
  if (!(o.step > 0) || !std::isfinite(o.step) || !(o.tolerance > 0) || !std::isfinite(o.tolerance) || o.elements < 0)
    throw Error(ErrorKind::usage, "step and tolerance of a gradient check must be above 0, elements 0 or more");
}

// Compares a value's gradients. f(values) is the function whose gradient they are; values is put back.
template <class F>
void compare(const std::string& name, std::vector<float>& values, const std::vector<float>& gradients, const GradientCheckOptions& o,
             Draws& draws, F f, GradientCheck& c) {
  double squares = 0;
  for (const float g : gradients) squares += static_cast<double>(g) * static_cast<double>(g);
  const double usual = std::sqrt(squares / static_cast<double>(gradients.size()));
  const std::size_t n = values.size(), count = o.elements == 0 ? n : std::min(n, static_cast<std::size_t>(o.elements));
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t i = count == n ? k : draws.word() % n;
    const float was = values[i];
    const auto at = [&](double steps) {
      values[i] = static_cast<float>(static_cast<double>(was) + steps * o.step);
      return f(values);
    };
    const double near = at(1) - at(-1), far = at(2) - at(-2), difference = (8 * near - far) / (12 * o.step);
    values[i] = was;
    const double gradient = static_cast<double>(gradients[i]), error = std::abs(gradient - difference);
    const double allowed = o.tolerance * std::max({std::abs(difference), usual, 1e-3});
    ++c.compared;
    const bool wrong = !(error <= allowed);
    c.wrong += wrong;
    if (c.compared > 1 && !(error > c.error) && !(wrong && c.wrong == 1)) continue;
    c.value = name, c.element = static_cast<std::int64_t>(i);
    c.gradient = gradient, c.difference = difference, c.error = error;
  }
}

}  // namespace

std::string to_string(const GradientCheck& c) {
  std::ostringstream s;
  s << c.wrong << " of " << c.compared << " gradients are wrong; at worst " << c.value << "[" << c.element << "] is " << c.gradient
    << " and differences give " << c.difference;
  return s.str();
}

GradientCheck check_gradients(const Module& module, const Shape& x, const GradientCheckOptions& options) {
  check(options);
  ModuleRunner runner(module, x, {});
  for (const Node& node : runner.graph().nodes)
    if (const auto* d = std::get_if<nn::Dropout>(&node.op); d && d->p > 0)
      throw Error(ErrorKind::usage, "[" + printable(node.path) + "] draws other masks in each step: check the module without its dropout");
  Draws draws(options.seed);
  std::vector<std::pair<std::string, std::vector<float>>> values{{"x", draws.normals(x.elements())}};
  for (const ParameterInfo& p : runner.graph().parameters()) {
    if (p.buffer) continue;
    std::vector<float> value = runner.read(p.name);
    for (float& v : value) v += 0.1f * draws.normal();  // none stays at a 0 that hides a factor
    values.emplace_back(p.name, std::move(value));
  }
  for (const auto& [name, value] : values) runner.write(name, value);
  const std::vector<float> dy = draws.normals(runner.shape("y").elements());
  runner.write("dy", dy);
  runner.step();
  std::vector<std::vector<float>> gradients;
  for (const auto& [name, value] : values) gradients.push_back(runner.read(name == "x" ? "dx" : name + ".grad"));
  GradientCheck c;
  for (std::size_t k = 0; k < values.size(); ++k) {
    auto& [name, value] = values[k];
    const auto f = [&, &name = name](const std::vector<float>& moved) {
      runner.write(name, moved);
      runner.step();
      const std::vector<float> y = runner.read("y");
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
      return sum;
    };
    compare(name == "x" ? "dx" : name + ".grad", value, gradients[k], options, draws, f, c);
    runner.write(name, value);
  }
  return c;
}

GradientCheck check_gradient(const CustomLoss& loss, const Shape& outputs, const GradientCheckOptions& options) {
  check(options);
  Draws draws(options.seed);
  const auto samples = static_cast<std::size_t>(outputs[0]);
  const bool labelled = loss.against == CustomLoss::Against::labels;
  if ((outputs.rank() != 2 && (labelled || outputs.rank() != 4)) || outputs.elements() == 0)
    throw Error(ErrorKind::usage,
                std::string("a loss is of outputs (N,C)") + (labelled ? "" : " or (N,C,H,W)") + ", got " + to_string(outputs));
  std::vector<float> x = draws.normals(outputs.elements()), targets = draws.normals(labelled ? 0 : outputs.elements());
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < samples && labelled; ++i)
    labels.push_back(static_cast<std::int32_t>(draws.word() % static_cast<std::uint32_t>(outputs[1])));
  const auto run = [&](const std::vector<float>& at, std::vector<float>& gradient) {
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    return (*loss.function)({.samples = outputs[0], .outputs = at, .targets = targets, .labels = labels}, gradient);
  };
  std::vector<float> gradient(x.size()), ignored(x.size());
  run(x, gradient);
  GradientCheck c;
  compare(
      "outputs", x, gradient, options, draws, [&](const std::vector<float>& at) { return run(at, ignored); }, c);
  return c;
}

}  // namespace norma
