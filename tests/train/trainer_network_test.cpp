// Nets of several inputs and outputs, by name.
#include <gtest/gtest.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/own_steps.h"

namespace norma {
namespace {

using test::expect_error;
using test::line;

// sum = left(a) + right(b), scaled = head(tanh(sum))
std::map<std::string, Value> two_headed(Builder& b, const std::map<std::string, Value>& in) {
  const Value left = [&] {
    const Builder::Scope scope(b, "left");
    return nn::Linear{.out = 4}(b, in.at("a"));
  }();
  const Value right = [&] {
    const Builder::Scope scope(b, "right");
    return nn::Linear{.out = 4}(b, in.at("b"));
  }();
  const Value sum = b.add(left, right), bent = nn::Tanh{}(b, sum);
  const Builder::Scope scope(b, "head");
  return {{"sum", sum}, {"scaled", nn::Linear{.out = 2}(b, bent)}};
}

using Named = std::map<std::string, std::span<const float>>;

TEST(TrainerNetwork, LearnsFromSeveralInputsForSeveralOutputs) {
  Trainer t{two_headed, {{"a", {3}}, {"b", {2}}}, {.optimizer = Adam{.lr = 0.02}, .seed = 3}};
  std::vector<float> a, b, sums, scaled;
  for (int i = 0; i < 40; ++i) {
    for (int k = 0; k < 3; ++k) a.push_back(static_cast<float>((i * 7 + k * 3) % 11) / 11 - 0.5f);
    for (int k = 0; k < 2; ++k) b.push_back(static_cast<float>((i * 5 + k * 2) % 9) / 9 - 0.5f);
    const float* x = &a[a.size() - 3];
    for (int k = 0; k < 4; ++k) sums.push_back(x[0] * static_cast<float>(k) - x[1] + b.back());
    for (int k = 0; k < 2; ++k) scaled.push_back(x[2] + static_cast<float>(k) * b.back());
  }
  const auto off = [](const std::vector<float>& y, const std::vector<float>& wanted, std::vector<float>& dy) {
    double loss = 0;
    dy.resize(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      dy[i] = (y[i] - wanted[i]) / static_cast<float>(y.size());
      loss += static_cast<double>(dy[i] * (y[i] - wanted[i]));
    }
    return loss;
  };
  double first = 0, last = 0;
  for (int step = 0; step < 400; ++step) {
    const auto y = t.forward(Named{{"a", a}, {"b", b}});
    ASSERT_EQ(y.at("sum").size(), 160u);
    std::vector<float> d_sum, d_scaled;
    last = off(y.at("sum"), sums, d_sum) + off(y.at("scaled"), scaled, d_scaled);
    if (step == 0) first = last;
    t.backward(Named{{"sum", d_sum}, {"scaled", d_scaled}});
    t.update();
  }
  EXPECT_LT(last, first / 20);
  EXPECT_EQ(t.steps_done(), 400);
  const auto y = t.predict(Named{{"a", a}, {"b", b}});
  std::vector<float> ignored;
  EXPECT_LT(off(y.at("scaled"), scaled, ignored), first / 20);

  // Another number of samples, another Trainer with the weights; a single sample alone.
  Trainer again{two_headed, {{"a", {3}}, {"b", {2}}}, {.seed = 4}};
  again.load_model(t.model());
  const auto one = again.predict(Named{{"a", std::span(a).first(3)}, {"b", std::span(b).first(2)}});
  for (std::size_t k = 0; k < 4; ++k) EXPECT_FLOAT_EQ(one.at("sum")[k], y.at("sum")[k]);
}

// An output without a gradient has that of 0: what leads to it alone does not move.
TEST(TrainerNetwork, AGradientThatIsNotGivenIsZero) {
  Trainer t{two_headed, {{"a", {3}}, {"b", {2}}}, {.optimizer = Sgd{.lr = 0.1}}};
  const std::vector<float> a(6, 1.0f), b(4, 1.0f), ones(8, 1.0f);
  (void)t.forward(Named{{"a", a}, {"b", b}});
  t.backward(Named{{"sum", ones}});
  for (const float g : t.read("head.weight.grad")) EXPECT_EQ(g, 0);
  EXPECT_EQ(t.read("left.bias.grad"), (std::vector<float>{2, 2, 2, 2}));
}

TEST(TrainerNetwork, MisuseIsNamed) {
  constexpr ErrorKind usage = ErrorKind::usage;
  Trainer t{two_headed, {{"a", {3}}, {"b", {2}}}, {}};
  const std::vector<float> a(6, 1.0f), b(4, 1.0f), nan(4, std::nanf("")), ones(8, 1.0f);
  expect_error(usage, {"\"b\" is not given"}, [&] { (void)t.forward(Named{{"a", a}}); });
  expect_error(usage, {"no input \"bb\"", "a, b"}, [&] { (void)t.forward(Named{{"a", a}, {"bb", b}}); });
  expect_error(usage, {"\"b\" holds 6", "2 samples"}, [&] { (void)t.forward(Named{{"a", a}, {"b", a}}); });
  expect_error(usage, {"\"a\" holds 4"}, [&] { (void)t.predict(Named{{"a", b}, {"b", b}}); });
  expect_error(ErrorKind::data, {"\"b\" is nan", "element 0"}, [&] { (void)t.forward(Named{{"a", a}, {"b", nan}}); });
  expect_error(usage, {"backward comes after forward"}, [&] { t.backward(Named{{"sum", ones}}); });
  (void)t.forward(Named{{"a", a}, {"b", b}});
  expect_error(usage, {"no output \"summ\"", "sum"}, [&] { t.backward(Named{{"summ", ones}}); });
  expect_error(usage, {"got 4"}, [&] { t.backward(Named{{"sum", b}}); });
  expect_error(usage, {"by name"}, [&] { t.step({.floats = a}); });
  expect_error(usage, {"by name"}, [&] { (void)t.forward(Batch{.floats = a}); });
  expect_error(usage, {"by name"}, [&] { t.fit(line(10), nullptr, {.epochs = 1}); });
  expect_error(usage, {"by name"}, [&] { t.evaluate(line(10)); });
  expect_error(usage, {"by name"}, [&] { (void)t.predict(line(10)); });
  expect_error(usage, {"by name"}, [&] { (void)t.plan(Mode::train); });
  expect_error(usage, {"by name"}, [&] { (void)t.observe(Mode::eval, line(10), std::vector<std::string>{}); });
  expect_error(usage, {"no value called \"left.weigh\"", "left.weight"}, [&] { (void)t.read("left.weigh"); });
  expect_error(usage, {"empty Network"}, [] { Trainer(Network{}, {{"a", {3}}}, {}); });
  expect_error(usage, {"at least one input"}, [] { Trainer(two_headed, {}, {}); });
  expect_error(usage, {"no outputs"}, [] {
    Trainer([](Builder&, const std::map<std::string, Value>&) { return std::map<std::string, Value>{}; }, {{"a", {3}}}, {});
  });
  Trainer single{nn::Sequential{nn::Linear{.out = 2}}, {.input = {2}, .loss = MeanSquared{}}};
  expect_error(usage, {"one input without a name"}, [&] { (void)single.forward(Named{{"a", a}}); });
  expect_error(usage, {"one output without a name"}, [&] { single.backward(Named{{"y", a}}); });
}

}  // namespace
}  // namespace norma
