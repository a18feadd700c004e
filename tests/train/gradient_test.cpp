// Gradients of whole graphs by finite differences in double. The lowered training Plan runs on the reference, and every input and parameter
// is moved a little. The loss's slope is compared with the gradient the Plan computed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>

#include "norma/graph.h"
#include "src/plan/lower.h"
#include "src/verify/reference.h"
#include "tests/support/cases.h"

namespace norma::test {
namespace {

using reference::Reference;
using Function = std::function<Value(Builder&, const std::vector<Value>&)>;
using Inputs = std::vector<std::pair<std::string, Shape>>;

struct Setting {
  std::optional<Loss> loss;  // none: the loss is sum(dy * y) for a given dy
  Mode mode = Mode::train;
  bool fused = true;
  int lanes = 4;  // not a divisor of the batches below
};

Graph build(const Function& net, const Inputs& inputs, bool fused) {
  Builder b;
  std::vector<Value> values;
  for (const auto& [name, shape] : inputs) values.push_back(b.input(name, shape));
  const Value y = net(b, values);
  Graph g = std::move(b).finish({y});
  return fused ? fuse(std::move(g)) : g;
}

LowerOptions lower_options(const Setting& s) {
  LowerOptions o;
  o.mode = s.mode;
  o.lanes = s.lanes;
  o.input_gradients = true;
  o.loss = s.loss;
  return o;
}

class GradientCheck {
 public:
  GradientCheck(const Function& net, const Inputs& inputs, const Setting& setting)
      : setting_(setting), graph_(build(net, inputs, setting.fused)), plan_(lower(graph_, lower_options(setting))), reference_(plan_) {
    Random random(99);
    const auto fill = [&](const std::string& name, auto draw) {
      std::vector<double> v(static_cast<std::size_t>(plan_[plan_.find(name)].shape.elements()));
      for (double& x : v) x = draw();
      reference_.write(name, v);
    };
    for (const auto& [name, shape] : inputs) {
      fill(name, [&] { return random.normal(); });
      checked_.push_back({name, "d" + name});
    }
    for (const ParameterInfo& p : graph_.parameters()) {
      if (p.dtype != DType::f32) continue;
      const bool variance = p.buffer && p.name.ends_with("running_var");
      const double centre = p.standard_value, spread = p.fan_in > 1 ? 1 / std::sqrt(static_cast<double>(p.fan_in)) : 0.3;
      fill(p.name, [&] { return variance ? random.uniform(0.5, 2) : random.normal(centre, spread); });
      if (!p.buffer) checked_.push_back({p.name, p.name + ".grad"});
    }
    if (!setting.loss) fill("dy", [&] { return random.normal(); });
    if (plan_.has("targets")) fill("targets", [&] { return random.normal(); });
    if (plan_.has("labels")) {
      const std::int64_t classes = graph_[graph_.outputs[0]].shape[1];
      std::int64_t sample = 0;  // the third is ignored
      fill("labels", [&] { return sample++ == 2 ? -100.0 : static_cast<double>(random.below(classes)); });
    }
    reference_.state(plan_, plan_.find("state")).seed = 1234;
  }

  // Every tensor's gradient against central differences at up to `entries` of its elements. Returns what is wrong.
  std::vector<std::string> run(std::size_t entries = 20) {
    reference_.run(plan_);
    std::vector<std::vector<double>> analytic;
    for (const auto& [name, gradient] : checked_) analytic.push_back(reference_.read(gradient));
    problems_.clear();
    for (std::size_t t = 0; t < checked_.size(); ++t) check(checked_[t].first, analytic[t], entries);
    return problems_;
  }

  // To put faults in.
  Plan& plan() { return plan_; }

 private:
  double loss() {
    reference_.run(plan_);
    if (setting_.loss) return reference_.loss(plan_, plan_.find("loss")).loss;
    const std::vector<double> y = reference_.read("y"), dy = reference_.read("dy");
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
    return sum;
  }

  void check(const std::string& name, const std::vector<double>& analytic, std::size_t entries) {
    const std::vector<double> original = reference_.read(name);
    // Differences of a loss of order 1 lose 1e-16 / step to rounding and step^2 to curvature: both about 1e-10 here.
    const double step = 1e-5;
    double worst = 0, worst_numeric = 0;
    std::size_t worst_index = 0;
    const std::size_t stride = std::max<std::size_t>(1, original.size() / entries);
    for (std::size_t i = 0; i < original.size(); i += stride) {
      std::vector<double> moved = original;
      moved[i] = original[i] + step;
      reference_.write(name, moved);
      const double above = loss();
      moved[i] = original[i] - step;
      reference_.write(name, moved);
      const double numeric = (above - loss()) / (2 * step);
      const double error = std::abs(numeric - analytic[i]) / (1 + std::abs(analytic[i]));
      if (!(error <= worst)) {
        worst = error;
        worst_index = i;
        worst_numeric = numeric;
      }
    }
    reference_.write(name, original);
    std::ostringstream text;
    text.precision(10);
    double largest = 0;
    for (double g : analytic) largest = std::max(largest, std::abs(g));
    if (worst > 1e-7 || std::isnan(worst))
      text << "gradient of " << name << ", worst at element " << worst_index << ": analytic " << analytic[worst_index] << ", numeric "
           << worst_numeric;
    else if (largest < 1e-6) text << name << " has no gradient";  // it would pass for the wrong reason
    if (!text.str().empty()) problems_.push_back(text.str());
  }

  Setting setting_;
  Graph graph_;
  Plan plan_;
  Reference reference_;
  std::vector<std::pair<std::string, std::string>> checked_;  // tensor, its gradient
  std::vector<std::string> problems_;
};

Function from(Module m) {
  return [m](Builder& b, const std::vector<Value>& in) { return m(b, in[0]); };
}

void check_all(const Function& net, const Inputs& inputs, std::optional<Loss> loss = {}) {
  for (bool fused : {true, false})
    for (int lanes : {1, 4}) {
      SCOPED_TRACE(std::string(fused ? "fused" : "not fused") + ", " + std::to_string(lanes) + " lanes");
      for (const std::string& problem : GradientCheck(net, inputs, {.loss = loss, .fused = fused, .lanes = lanes}).run())
        ADD_FAILURE() << problem;
    }
}

TEST(Gradient, Convolution) {
  check_all(from(nn::Conv2d{.out = 4, .kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}}), {{"x", {5, 3, 6, 7}}});
  check_all(from(nn::Conv2d{.out = 6, .kernel = 3, .padding = 2, .groups = 2, .bias = false}), {{"x", {3, 4, 4, 5}}});
}

TEST(Gradient, TransposedConvolution) {
  check_all(from(nn::ConvTranspose2d{
                .out = 4, .kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 0}, .output_padding = {1, 0}, .dilation = {1, 2}}),
            {{"x", {5, 3, 4, 3}}});
  check_all(from(nn::ConvTranspose2d{.out = 6, .kernel = 3, .padding = 2, .groups = 2, .bias = false}), {{"x", {3, 4, 4, 5}}});
  // Between layers, so that fusion and joining see it.
  check_all(from(nn::Sequential{nn::Conv2d{.out = 4, .kernel = 2, .bias = false}, nn::BatchNorm{}, nn::ReLU{},
                                nn::ConvTranspose2d{.out = 2, .kernel = 2, .stride = 2, .bias = false}, nn::BatchNorm{}, nn::Tanh{}}),
            {{"x", {5, 2, 4, 4}}});
}

TEST(Gradient, Linear) { check_all(from(nn::Linear{.out = 4}), {{"x", {5, 7}}}); }

TEST(Gradient, Activations) {
  for (const ActivationTraits& t : activation_table)
    if (t.act != Activation::none)
      for (const double option : {t.standard, -2.5 * t.standard}) check_all(from(nn::Activate{t.act, option}), {{"x", {5, 3, 2, 4}}});
}

// Whatever the fusion takes into the batch norm, the net's gradients stay.
TEST(Gradient, ActivationsBetweenABatchNormAndAMaxPooling) {
  for (const ActivationTraits& t : activation_table)
    if (t.act != Activation::none)
      check_all(from(nn::Sequential{nn::BatchNorm{}, nn::Activate{t.act}, nn::MaxPool2d{}}), {{"x", {5, 3, 4, 6}}});
}

TEST(Gradient, BatchNormInTraining) {
  check_all(from(nn::BatchNorm{}), {{"x", {5, 3, 2, 4}}});
  check_all(from(nn::BatchNorm{.affine = false}), {{"x", {6, 7}}});
  for (const ActivationTraits& t : activation_table)  // some are folded in, when fused
    if (t.act != Activation::none) check_all(from(nn::Sequential{nn::BatchNorm{}, nn::Activate{t.act}}), {{"x", {5, 3, 2, 4}}});
}

// The statistics are constants in evaluation, unless there are no running ones.
TEST(Gradient, BatchNormInEvaluation) {
  for (const nn::BatchNorm& bn : {nn::BatchNorm{}, nn::BatchNorm{.affine = false}, nn::BatchNorm{.track_running_stats = false}})
    for (bool fused : {true, false}) {
      GradientCheck g(from(nn::Sequential{bn, nn::Sigmoid{}}), {{"x", {5, 3, 2, 4}}}, {.loss = {}, .mode = Mode::eval, .fused = fused});
      EXPECT_EQ(g.run(), std::vector<std::string>{});
    }
}

TEST(Gradient, LayerInstanceAndGroupNorm) {
  const Inputs image{{"x", {5, 4, 2, 3}}}, row{{"x", {6, 8}}};
  for (const Module& m : {Module{nn::LayerNorm{}}, Module{nn::LayerNorm{.elementwise_affine = false}}, Module{nn::LayerNorm{.bias = false}},
                          Module{nn::GroupNorm{.groups = 2}}, Module{nn::GroupNorm{.groups = 4, .affine = false}}}) {
    check_all(from(m), image);
    check_all(from(m), row);
  }
  for (const nn::InstanceNorm& m : {nn::InstanceNorm{}, nn::InstanceNorm{.affine = true}, nn::InstanceNorm{.track_running_stats = true}})
    check_all(from(m), image);
  // Evaluation equals training, except where running statistics replace the sample's own.
  for (const Module& m : {Module{nn::LayerNorm{}}, Module{nn::InstanceNorm{.affine = true}},
                          Module{nn::InstanceNorm{.affine = true, .track_running_stats = true}}, Module{nn::GroupNorm{.groups = 2}}})
    EXPECT_EQ(GradientCheck(from(m), image, {.loss = {}, .mode = Mode::eval}).run(), std::vector<std::string>{});
}

// An instance norm removes a shift of a channel, so that shift has no gradient. Hence no bias before it. The first norm's beta is no such
// shift: the convolution pads.
TEST(Gradient, ANetWithEveryNorm) {
  const nn::Sequential net{nn::GroupNorm{.groups = 1},
                           nn::Conv2d{.out = 4, .kernel = 3, .padding = 1, .bias = false},
                           nn::InstanceNorm{.affine = true, .track_running_stats = true},
                           nn::Tanh{},
                           nn::Residual{nn::GroupNorm{.groups = 2}},
                           nn::Flatten{},
                           nn::LayerNorm{},
                           nn::Linear{.out = 3}};
  check_all(from(net), {{"x", {5, 2, 5, 4}}}, CrossEntropy{});
}

TEST(Gradient, Pools) {
  const Inputs x{{"x", {5, 2, 7, 6}}};
  check_all(from(nn::MaxPool2d{}), x);
  check_all(from(nn::MaxPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}), x);
  check_all(from(nn::MaxPool2d{.kernel = {3, 2}, .stride = Size2{1, 2}, .dilation = {2, 3}}), x);
  check_all(from(nn::AvgPool2d{}), x);
  check_all(from(nn::AvgPool2d{.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}), x);
  check_all(from(nn::AvgPool2d{.kernel = {3, 2}, .stride = 2, .padding = 1, .count_include_pad = false}), x);
  check_all(from(nn::GlobalAvgPool2d{}), x);
}

TEST(Gradient, DropoutWithAFixedMask) {
  check_all(from(nn::Sequential{nn::Dropout{.p = 0.4}, nn::Linear{.out = 3}, nn::Dropout{.p = 0.2}}), {{"x", {7, 9}}});
}

TEST(Gradient, Losses) {
  const Function net = from(nn::Linear{.out = 4});
  const Inputs x{{"x", {6, 5}}};
  for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
    check_all(net, x, CrossEntropy{.reduction = reduction});
    check_all(net, x, CrossEntropy{.reduction = reduction, .label_smoothing = 0.2});
    check_all(net, x, MeanSquared{.reduction = reduction});
  }
}

// A value read by a body, by the sum, and by the projection of the next block.
TEST(Gradient, ResidualBlocks) {
  const nn::Sequential body{nn::Conv2d{.out = 3, .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}, nn::ReLU{},
                            nn::Conv2d{.out = 3, .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}};
  const nn::Sequential wider{nn::Conv2d{.out = 5, .kernel = 3, .stride = 2, .padding = 1}, nn::Tanh{}};
  const nn::Sequential net{
      nn::Residual{body},    nn::ReLU{},    nn::Residual{.body = wider, .projection = nn::Conv2d{.out = 5, .kernel = 1, .stride = 2}},
      nn::GlobalAvgPool2d{}, nn::Flatten{}, nn::Linear{.out = 4}};
  check_all(from(net), {{"x", {5, 3, 6, 5}}}, CrossEntropy{});
}

nn::Sequential conv_norm(std::int64_t out, std::int64_t stride, nn::BatchNorm norm = {}) {
  return {nn::Conv2d{.out = out, .kernel = 3, .stride = stride, .padding = 1, .bias = false}, norm};
}

// ResNet's order; fused, the sum and its activation are a batch norm's.
TEST(Gradient, ResidualBlocksThatEndInABatchNorm) {
  const nn::Residual identity{conv_norm(3, 1)};
  const nn::Residual wider{.body = nn::Sequential{conv_norm(4, 2), nn::Tanh{}, conv_norm(4, 1)},
                           .projection = nn::Sequential{nn::Conv2d{.out = 4, .stride = 2, .bias = false}, nn::BatchNorm{}}};
  const Inputs x{{"x", {5, 3, 4, 5}}};
  check_all(from(identity), x);
  for (const Module& act : {Module{nn::ReLU{}}, Module{nn::Sigmoid{}}, Module{nn::Tanh{}}})
    check_all(from(nn::Sequential{identity, act, wider, act}), x);
  check_all(from(nn::Sequential{identity, identity, nn::MaxPool2d{}}), x);
  check_all(from(nn::Sequential{nn::Residual{conv_norm(3, 1, {.affine = false})}, nn::Tanh{}}), x);
}

TEST(Gradient, ABatchNormAddedToWhatItNormalises) {
  for (bool affine : {true, false})
    check_all(from(nn::Sequential{nn::Residual{nn::BatchNorm{.affine = affine}}, nn::Sigmoid{}}), {{"x", {6, 7}}});
}

TEST(Gradient, WhatIsAddedToABatchNormIsReadElsewhere) {
  check_all(
      [](Builder& b, const std::vector<Value>& in) {
        const Value r = nn::Linear{.out = 4}(b, in[0]), sum = nn::Tanh{}(b, b.add(r, nn::BatchNorm{}(b, in[1])));
        return b.add(b.add(sum, r), nn::Sigmoid{}(b, r));
      },
      {{"a", {5, 3}}, {"b", {5, 4}}});
}

TEST(Gradient, ResidualBlocksInEvaluation) {
  for (const nn::BatchNorm& bn : {nn::BatchNorm{}, nn::BatchNorm{.affine = false}, nn::BatchNorm{.track_running_stats = false}})
    for (bool fused : {true, false}) {
      const nn::Sequential net{nn::Residual{conv_norm(3, 1, bn)}, nn::Tanh{}};
      EXPECT_EQ(GradientCheck(from(net), {{"x", {5, 3, 2, 4}}}, {.loss = {}, .mode = Mode::eval, .fused = fused}).run(),
                std::vector<std::string>{});
    }
}

TEST(Gradient, AValueUsedThreeTimes) {
  const Function net = [](Builder& b, const std::vector<Value>& in) {
    const Value shared = nn::BatchNorm{}(b, in[0]);
    const Value left = nn::Sigmoid{}(b, shared), right = nn::Tanh{}(b, shared);
    return b.add(b.add(left, shared), b.add(right, shared));
  };
  check_all(net, {{"x", {5, 3, 2, 3}}});
}

TEST(Gradient, AValueAddedToItself) {
  check_all([](Builder& b, const std::vector<Value>& in) { return nn::Linear{.out = 3}(b, b.add(in[0], in[0])); }, {{"x", {5, 4}}});
  check_all([](Builder& b, const std::vector<Value>& in) { return b.add(in[0], in[0]); }, {{"x", {5, 4}}});
}

// The activation after a batch norm may be folded in only where nothing else reads the batch norm.
TEST(Gradient, ABatchNormReadBesideItsActivation) {
  check_all(
      [](Builder& b, const std::vector<Value>& in) {
        const Value normed = nn::BatchNorm{}(b, in[0]);
        return b.add(nn::Sigmoid{}(b, normed), nn::Linear{.out = 4}(b, normed));
      },
      {{"x", {5, 4}}});
}

TEST(Gradient, SeveralInputs) {
  const Function net = [](Builder& b, const std::vector<Value>& in) {
    const Value left = nn::Linear{.out = 3}(b, in[0]), right = nn::Tanh{}(b, in[1]);
    return nn::Linear{.out = 2}(b, b.add(b.add(left, right), in[1]));
  };
  check_all(net, {{"a", {5, 4}}, {"b", {5, 3}}}, MeanSquared{});
}

TEST(Gradient, FlattenInTheMiddle) {
  check_all(from(nn::Sequential{nn::Conv2d{.out = 3, .kernel = 2}, nn::Tanh{}, nn::Flatten{}, nn::BatchNorm{}, nn::Linear{.out = 3}}),
            {{"x", {6, 2, 3, 4}}}, CrossEntropy{});
}

// The net lacks the biases that a batch norm removes again: their gradient is 0.
TEST(Gradient, LeNetWithBatchNorm) {
  for (const Module& act : {Module{nn::ReLU{}}, Module{nn::Sigmoid{}}}) {
    nn::Sequential net{nn::Conv2d{.out = 3, .kernel = 5, .bias = false}, nn::BatchNorm{}, act, nn::MaxPool2d{}};
    for (const Module& m :
         {Module{nn::Conv2d{.out = 4, .kernel = 3, .bias = false}}, Module{nn::BatchNorm{}}, act, Module{nn::MaxPool2d{}},
          Module{nn::Flatten{}}, Module{nn::Linear{.out = 6, .bias = false}}, Module{nn::BatchNorm{}}, act, Module{nn::Linear{.out = 4}}})
      net.append(m);
    check_all(from(net), {{"x", {5, 1, 14, 14}}}, CrossEntropy{.label_smoothing = 0.1});
  }
}

// The check itself: the gradient of a batch norm whose statistics are held constant is wrong, and is found by name.
TEST(Gradient, AWrongAdjointIsFound) {
  GradientCheck g(from(nn::BatchNorm{}), {{"x", {5, 3, 2, 4}}}, {});
  for (PlanCall& c : g.plan().calls)
    if (auto* apply = std::get_if<kernels::BatchNormBackwardApply>(&c.call)) apply->batch_statistics = false;
  const std::vector<std::string> problems = g.run();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].rfind("gradient of x, worst at element ", 0), 0u) << problems[0];
}

}  // namespace
}  // namespace norma::test
