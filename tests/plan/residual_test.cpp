// The sum of a residual block, folded into the batch norm before it: where fuse does that, and the Calls it leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "norma/graph.h"
#include "src/plan/lower.h"

namespace norma {
namespace {

using nn::BatchNorm;
using nn::Conv2d;
using nn::MaxPool2d;
using nn::ReLU;
using nn::Residual;
using nn::Sequential;

Sequential conv_norm(std::int64_t out, std::int64_t stride) {
  return {Conv2d{.out = out, .kernel = 3, .stride = stride, .padding = 1, .bias = false}, BatchNorm{}};
}
Sequential body(std::int64_t out, std::int64_t stride) { return {conv_norm(out, stride), ReLU{}, conv_norm(out, 1)}; }

// ResNet's basic blocks (He et al. 2016).
Sequential identity() { return {Residual{body(4, 1)}, ReLU{}}; }
Sequential projection() { return {Residual{body(8, 2), Sequential{Conv2d{.out = 8, .stride = 2, .bias = false}, BatchNorm{}}}, ReLU{}}; }

const Shape images{5, 4, 6, 6};

Plan compile(const Graph& graph, bool input_gradients = false) {
  LowerOptions options;
  options.input_gradients = input_gradients;
  return lower(graph, options);
}

std::map<std::string, int> count_calls(const Plan& plan) {
  std::map<std::string, int> count;
  for (const PlanCall& c : plan.calls) ++count[name_of(c.call)];
  return count;
}

// The Call of this kind at a path.
template <class C>
const C* find_call(const Plan& plan, const std::string& path) {
  for (const PlanCall& c : plan.calls)
    if (const C* call = std::get_if<C>(&c.call); call && c.path == path) return call;
  return nullptr;
}

// Nodes that are additions.
std::ptrdiff_t additions(const Graph& graph) {
  return std::count_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return std::holds_alternative<AddNode>(n.op); });
}

TEST(ResidualBlock, HasNeitherAnAdditionNorAnActivationOfItsOwn) {
  for (const Sequential& block : {identity(), projection()}) {
    const Graph graph = fuse(trace(block, images));
    const std::map<std::string, int> calls = count_calls(compile(graph));
    for (const char* none : {"add", "activation_forward", "activation_backward"}) EXPECT_FALSE(calls.contains(none)) << none;
    EXPECT_NE(graph.print().find("batch_norm + add + relu("), std::string::npos) << graph.print();
    EXPECT_EQ(graph[graph.outputs[0]].output_path, "relu1");
    const Node& last = graph.nodes.back();
    const std::string inputs = "relu(" + graph[last.inputs.at(0)].output_path + ", " + graph[last.inputs.at(1)].output_path + ")";
    EXPECT_NE(graph.print().find(inputs), std::string::npos) << graph.print();
  }
}

// The sum of an input's two gradients is left.
TEST(ResidualBlock, EachAddsTheGradientsOfItsInputOnly) {
  const Sequential net{{"stem", conv_norm(4, 1)}, {"block1", identity()}, {"block2", projection()}};
  const Plan plan = compile(fuse(trace(net, images)));
  std::map<std::string, int> calls = count_calls(plan);
  EXPECT_EQ(calls["add"], 2);
  EXPECT_EQ(calls["activation_forward"] + calls["activation_backward"], 0);
  for (const PlanCall& c : plan.calls)
    if (const auto* add = std::get_if<kernels::Add>(&c.call)) {
      EXPECT_TRUE(plan[add->y].name.ends_with(".grad")) << plan[add->y].name;
    }
  const std::string text = print(plan);
  EXPECT_NE(text.find("add relu"), std::string::npos) << text;
  EXPECT_NE(text.find("relu dr"), std::string::npos) << text;
}

TEST(ResidualBlock, TheGradientOfTheSumIsMadeOnceAndReadTwice) {
  const Plan plan = compile(fuse(trace(Sequential{conv_norm(4, 1), identity()}, images)));
  const std::string path = "sequential2/residual1/body/sequential2/bn1";
  const auto* reduce = find_call<kernels::BatchNormBackwardReduce>(plan, path);
  const auto* apply = find_call<kernels::BatchNormBackwardApply>(plan, path);
  ASSERT_TRUE(reduce && apply) << print(plan);
  ASSERT_TRUE(reduce->dr);
  EXPECT_EQ(plan[reduce->dr].name, "sequential1/bn1.grad");  // of the shortcut
  EXPECT_EQ(reduce->act, Activation::relu);
  EXPECT_EQ(apply->dy, reduce->dr);
  EXPECT_EQ(apply->act, Activation::none);
  EXPECT_FALSE(apply->y);
}

// Nothing reads the gradient of an image.
TEST(ResidualBlock, NoGradientIsMadeThatNobodyNeeds) {
  const Graph graph = fuse(trace(identity(), images));
  const std::string path = "residual1/body/sequential2/bn1";
  EXPECT_FALSE(find_call<kernels::BatchNormBackwardReduce>(compile(graph), path)->dr);
  EXPECT_TRUE(find_call<kernels::BatchNormBackwardReduce>(compile(graph, true), path)->dr);
}

// Groups of samples do not wait for the sums of the batch to go on with the gradient of the sum.
TEST(ResidualBlock, TheShortcutsGradientGoesOnGroupByGroup) {
  Plan plan = compile(fuse(trace(Sequential{conv_norm(4, 1), projection()}, images)));
  schedule(plan, true);
  const std::string block = "sequential2/residual1/";
  const auto phase_of = [&](const std::string& path) {
    for (std::size_t p = 0; p < plan.phases.size(); ++p)
      for (const Stage& s : plan.phases[p].packs) {
        const PlanCall& c = plan.calls[static_cast<std::size_t>(s.call)];
        if (c.path == path && std::holds_alternative<kernels::BatchNormBackwardReduce>(c.call)) return static_cast<int>(p);
      }
    return -1;
  };
  EXPECT_GE(phase_of(block + "projection/bn1"), 0) << print(plan);
  EXPECT_EQ(phase_of(block + "projection/bn1"), phase_of(block + "body/sequential2/bn1")) << print(plan);
}

TEST(ResidualBlock, ParametersKeepTheirOrder) {
  const Graph plain = trace(Sequential{conv_norm(4, 1), identity(), projection()}, images), fused = fuse(plain);
  ASSERT_EQ(plain.parameters().size(), fused.parameters().size());
  for (std::size_t i = 0; i < plain.parameters().size(); ++i) {
    EXPECT_EQ(plain.parameters()[i].name, fused.parameters()[i].name);
    EXPECT_EQ(plain.parameters()[i].shape, fused.parameters()[i].shape);
  }
}

TEST(Fuse, LeavesAnAdditionThatIsNotTheLastBatchNorms) {
  const auto left = [](const Module& m) { return additions(fuse(trace(m, images))); };
  EXPECT_EQ(left(Residual{conv_norm(4, 1)}), 0);
  EXPECT_EQ(left(Residual{Sequential{conv_norm(4, 1), ReLU{}}}), 1);                              // an activation between
  EXPECT_EQ(left(Residual{conv_norm(4, 1), Conv2d{.out = 4}}), 1);                                // the other term comes later
  EXPECT_EQ(left([](Builder& b, Value x) { return b.add(x, BatchNorm{}(b, x)); }), 0);            // in either order
  EXPECT_EQ(left([](Builder& b, Value x) { return b.add(x, b.add(x, BatchNorm{}(b, x))); }), 1);  // the first of two
  const Graph twice = fuse(trace(
      [](Builder& b, Value x) {
        const Value y = BatchNorm{}(b, x);
        return b.add(y, y);
      },
      images));
  EXPECT_EQ(additions(twice), 1);
  const Graph pooled = fuse(trace(Sequential{Residual{conv_norm(4, 1)}, ReLU{}, MaxPool2d{}}, images));
  EXPECT_EQ(additions(pooled), 0);
  EXPECT_TRUE(std::holds_alternative<MaxPool2d>(pooled.nodes.back().op));
}

}  // namespace
}  // namespace norma
