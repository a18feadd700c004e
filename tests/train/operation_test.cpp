// Operations of one's own, and the checks of gradients that somebody wrote.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "norma/gradient_check.h"
#include "norma/module_runner.h"
#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/own_steps.h"

namespace norma {
namespace {

using test::cross_entropy;
using test::expect_error;
using test::huber;
using test::line;

// y = x * scale + shift, a channel each: what batch norm does after normalising.
nn::Operation affine() {
  return {.kind = "affine",
          .forward =
              [](const nn::Operation::ForwardValues& v) {
                const std::size_t channels = v.parameters[0].size();
                for (std::size_t i = 0; i < v.output.size(); ++i)
                  v.output[i] = v.inputs[0][i] * v.parameters[0][i % channels] + v.parameters[1][i % channels];
              },
          .backward =
              [](const nn::Operation::BackwardValues& v) {
                const std::size_t channels = v.parameters[0].size();
                for (std::size_t i = 0; i < v.output_gradient.size(); ++i) {
                  if (!v.input_gradients[0].empty()) v.input_gradients[0][i] = v.output_gradient[i] * v.parameters[0][i % channels];
                  v.parameter_gradients[0][i % channels] += v.output_gradient[i] * v.inputs[0][i];
                  v.parameter_gradients[1][i % channels] += v.output_gradient[i];
                }
              },
          .parameters = {{"scale", {4}, Init::constant(1)}, {"shift", {4}}}};
}

// a * b, element by element.
nn::Operation product(double fault = 0) {
  return {.kind = "product",
          .forward =
              [](const nn::Operation::ForwardValues& v) {
                for (std::size_t i = 0; i < v.output.size(); ++i) v.output[i] = v.inputs[0][i] * v.inputs[1][i];
              },
          .backward =
              [fault](const nn::Operation::BackwardValues& v) {
                for (const std::size_t k : {0, 1})
                  for (std::size_t i = 0; i < v.input_gradients[k].size(); ++i)
                    v.input_gradients[k][i] = v.output_gradient[i] * v.inputs[1 - k][i] * static_cast<float>(1 + fault);
              },
          .inputs = 2};
}

TEST(Operation, ComputesWhatItsFunctionsSay) {
  for (const bool fuse : {true, false})
    for (const bool reuse : {true, false}) {
      ModuleRunner run{affine(), {3, 4}, {.fuse = fuse, .reuse = reuse}};
      const std::vector<float> x{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, dy{1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 3, 0};
      run.write("x", x), run.write("dy", dy);
      run.write("affine.scale", std::vector<float>{1, 2, 3, 4}), run.write("affine.shift", std::vector<float>{0, 10, 20, 30});
      run.step();
      EXPECT_EQ(run.read("y"), (std::vector<float>{1, 14, 29, 46, 5, 22, 41, 62, 9, 30, 53, 78}));
      EXPECT_EQ(run.read("dx"), (std::vector<float>{1, 0, 0, 8, 0, 2, 0, 0, 0, 0, 9, 0}));
      EXPECT_EQ(run.read("affine.scale.grad"), (std::vector<float>{1, 6, 33, 8}));
      EXPECT_EQ(run.read("affine.shift.grad"), (std::vector<float>{1, 1, 3, 2}));
    }
}

TEST(Operation, TakesSeveralInputsAndTheSameOneTwice) {
  const auto square = [](Builder& b, Value x) { return product()(b, std::vector<Value>{x, x}); };
  ModuleRunner run{Module(square), {2, 3}};
  run.write("x", std::vector<float>{1, 2, 3, 4, 5, 6}), run.write("dy", std::vector<float>{1, 1, 1, 1, 1, 2});
  run.step();
  EXPECT_EQ(run.read("y"), (std::vector<float>{1, 4, 9, 16, 25, 36}));
  EXPECT_EQ(run.read("dx"), (std::vector<float>{2, 4, 6, 8, 10, 24}));
}

TEST(Operation, TrainsInsideANet) {
  const auto gated = [](Builder& b, Value x) {
    const Value h = nn::Linear{.out = 4}(b, x), gate = nn::Sigmoid{}(b, nn::Linear{.out = 4}(b, x));
    return nn::Linear{.out = 2}(b, affine()(b, product()(b, {h, gate})));
  };
  const Dataset data = line(70);
  TrainerOptions o{.input = {2}, .batch = 35, .optimizer = Adam{.lr = 0.02}, .loss = MeanSquared{}};
  Trainer t{Module(gated), o};
  t.fit(data, &data, {.epochs = 60});
  EXPECT_LT(*t.history().back().test_loss, *t.history().front().test_loss / 10);
  const Checkpoint saved = t.model();
  Trainer loaded{Module(gated), o};
  loaded.load_model(saved);
  EXPECT_EQ(loaded.evaluate(data).loss, t.evaluate(data).loss);
  o.executor.threads = 3, o.reuse = false;
  Trainer again{Module(gated), o};
  again.fit(data, nullptr, {.epochs = 60});
  EXPECT_EQ(again.parameters_hash(), t.parameters_hash());
}

TEST(GradientCheck, AcceptsRightGradientsAndNamesWrongOnes) {
  const auto squared = [](double fault) {
    return [fault](Builder& b, Value x) {
      const Value h = nn::Linear{.out = 4}(b, x);
      return product(fault)(b, std::vector<Value>{h, nn::Tanh{}(b, h)});
    };
  };
  const GradientCheck right = check_gradients(Module(squared(0)), {6, 3});
  EXPECT_TRUE(right.ok()) << to_string(right);
  EXPECT_EQ(right.compared, 18 + 12 + 4);
  const GradientCheck wrong = check_gradients(Module(squared(0.05)), {6, 3});
  EXPECT_GT(wrong.wrong, 20) << to_string(wrong);
  EXPECT_NE(to_string(wrong).find("are wrong"), std::string::npos);
  for (const Shape& shape : {Shape{5, 4}, Shape{3, 2, 4, 4}})
    for (const Module& m : {Module(nn::BatchNorm{}), Module(nn::LayerNorm{}), Module(nn::GELU{})}) {
      const GradientCheck c = check_gradients(m, shape);
      EXPECT_TRUE(c.ok()) << m.kind() << " " << to_string(shape) << ": " << to_string(c);
    }
}

TEST(GradientCheck, ChecksALoss) {
  EXPECT_TRUE(check_gradient(CustomLoss{huber}, {7, 3}).ok());
  EXPECT_TRUE(check_gradient(CustomLoss{cross_entropy, CustomLoss::Against::labels}, {7, 3}).ok());
  const auto twice = [](const LossInput& in, std::span<float> gradient) {
    const double loss = huber(in, gradient);
    for (float& g : gradient) g *= 2;
    return loss;
  };
  const GradientCheck c = check_gradient(CustomLoss{twice}, {7, 3});
  EXPECT_GT(c.wrong, 15) << to_string(c);
  EXPECT_EQ(c.value, "outputs");
}

TEST(GradientCheck, RefusesWhatItCannotCheck) {
  constexpr ErrorKind usage = ErrorKind::usage;
  expect_error(usage, {"dropout1", "other masks"}, [] { check_gradients(nn::Sequential{nn::Linear{.out = 4}, nn::Dropout{}}, {8, 4}); });
  const CustomLoss labelled{cross_entropy, CustomLoss::Against::labels};
  for (const Shape& shape : {Shape{4, 0}, Shape{0, 4}, Shape{4}, Shape{4, 2, 1, 1}})
    expect_error(usage, {"outputs (N,C)", to_string(shape)}, [&] { check_gradient(labelled, shape); });
  EXPECT_TRUE(check_gradient(CustomLoss{huber}, {2, 3, 4, 5}).ok());
  expect_error(usage, {"above 0"}, [] { check_gradient(CustomLoss{huber}, {2, 3}, {.step = 0}); });
}

TEST(Operation, MisuseIsNamed) {
  constexpr ErrorKind usage = ErrorKind::usage;
  const auto run = [](nn::Operation o) { return [o] { ModuleRunner{o, {2, 4}}; }; };
  expect_error(usage, {"[operation]", "forward and backward"}, run({}));
  nn::Operation o = affine();
  o.parameters[1].name = "scale";
  expect_error(usage, {"[affine]", "used twice", "scale"}, run(o));
  o = affine();
  o.parameters[0].init = Init::he_normal();
  expect_error(usage, {"no fan"}, run(o));
  o = affine();
  o.shape = [](const std::vector<Shape>&) { return Shape{5, 4}; };
  expect_error(usage, {"must give (N,F)", "(5, 4)"}, run(o));
  o = affine();
  o.inputs = 2;
  expect_error(usage, {"affine"}, run(o));
  for (const std::int64_t inputs : {0, -1}) {
    o = affine();
    o.inputs = inputs;
    expect_error(usage, {"at least one input"}, run(o));
  }
  o = affine();
  o.parameters.resize(7, {"more", {1}});
  expect_error(usage, {"more than 6"}, run(o));
}

}  // namespace
}  // namespace norma
