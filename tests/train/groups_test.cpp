// Groups of parameters: rates, weight decay, frozen layers and statistics.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/trainer_cases.h"

namespace norma {
namespace {

using test::bars;
using test::bytes_of;
using test::expect_error;
using test::net;
using test::options;

TrainerOptions with(std::vector<ParameterGroup> groups, Optimizer optimizer = Sgd{.lr = 0.1}) {
  TrainerOptions o = options();
  o.optimizer = optimizer, o.groups = std::move(groups), o.shuffle = false;
  return o;
}

// After one step of the first 40 samples.
Trainer stepped(const nn::Sequential& of, const TrainerOptions& o, int steps = 1) {
  const Dataset data = bars(40);
  Trainer t{of, o};
  for (int i = 0; i < steps; ++i) t.step({.bytes = data.bytes, .labels = data.labels});
  return t;
}

std::vector<std::string> calls_of(const Trainer& t, const std::string& path) {
  std::vector<std::string> calls;
  for (const PlanLine& line : describe(t.plan(Mode::train)))
    if (line.path == path) calls.push_back(line.call);
  return calls;
}

TEST(Groups, ThatChangeNothingGiveTheSameBits) {
  const Dataset data = bars(95);
  for (const Optimizer& optimizer : {Optimizer(Sgd{.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3}), Optimizer(adamw(0.01)),
                                     Optimizer(RMSprop{.lr = 1e-3, .momentum = 0.5, .centered = true})}) {
    Trainer plain{net, with({}, optimizer)};
    const double decay = std::visit([](const auto& o) { return o.weight_decay; }, optimizer);
    Trainer grouped{net, with({{.pattern = "*", .rate = 1}, {.pattern = "fc*", .weight_decay = decay}}, optimizer)};
    for (Trainer* t : {&plain, &grouped}) t->fit(data, nullptr, {.epochs = 2});
    EXPECT_EQ(bytes_of(grouped.model()) + bytes_of(grouped.training()), bytes_of(plain.model()) + bytes_of(plain.training()));
  }
}

TEST(Groups, RateAndDecayAreTheirs) {
  Trainer start{net, with({})};
  const Trainer plain = stepped(net, with({})),
                grouped =
                    stepped(net, with({{.pattern = "fc*.weight", .rate = 2, .weight_decay = 0.5}, {.pattern = "fc2.*", .rate = 0.5}}));
  for (const ParameterInfo& p : plain.graph().parameters()) {
    if (p.buffer) continue;
    const std::vector<float> w = start.read(p.name), a = plain.read(p.name), b = grouped.read(p.name);
    const bool decays = p.name == "fc1.weight" || p.name == "fc2.weight";
    const double rate = p.name == "fc1.weight" ? 0.2 : p.name.starts_with("fc2.") ? 0.05 : 0.1;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double gradient = (static_cast<double>(w[i]) - static_cast<double>(a[i])) / 0.1;
      const double wanted = static_cast<double>(w[i]) - rate * (gradient + (decays ? 0.5 * static_cast<double>(w[i]) : 0));
      EXPECT_NEAR(b[i], wanted, 2e-6) << p.name << " " << i;
      if (!decays && rate == 0.1) {
        EXPECT_EQ(a[i], b[i]) << p.name;
      }
    }
  }
}

TEST(Groups, FrozenLayersStayAndLoseTheirBackward) {
  Trainer start{net, with({})};
  const Trainer plain = stepped(net, with({})),
                frozen = stepped(net, with({{.pattern = "conv1.*", .rate = 0}, {.pattern = "fc1.weight", .rate = 0}}));
  for (const char* name : {"conv1.weight", "conv1.bias", "fc1.weight"}) EXPECT_EQ(frozen.read(name), start.read(name)) << name;
  for (const char* name : {"bn1.weight", "bn1.bias", "fc1.bias", "fc2.weight", "bn1.running_mean"})
    EXPECT_EQ(frozen.read(name), plain.read(name)) << name;
  EXPECT_EQ(calls_of(plain, "conv1"), (std::vector<std::string>{"conv2d_forward", "conv2d_backward_weight"}));
  EXPECT_EQ(calls_of(frozen, "conv1"), (std::vector<std::string>{"conv2d_forward"}));
  EXPECT_EQ(std::ranges::count(calls_of(frozen, "fc1"), "linear_backward_weight"), 1) << "its bias is trained";
  // All up to the head: nothing before it has a backward.
  const Trainer head = stepped(net, with({{.pattern = "*", .rate = 0}, {.pattern = "fc2.*", .rate = 1}}));
  for (const PlanLine& line : describe(head.plan(Mode::train))) {
    EXPECT_TRUE(line.path == "fc2" || line.call.find("backward") == std::string::npos) << line.path << " " << line.call;
  }
  EXPECT_EQ(head.read("fc2.weight"), plain.read("fc2.weight"));
  EXPECT_EQ(head.read("bn2.weight"), start.read("bn2.weight"));
  EXPECT_NE(head.read("bn2.running_mean"), start.read("bn2.running_mean")) << "statistics are another matter";
  // An observation makes all gradients.
  Trainer looked{net, with({{.pattern = "*", .rate = 0}, {.pattern = "fc2.*", .rate = 1}})}, free{net, with({})};
  const std::vector<std::string> names{"conv1.weight.grad"};
  EXPECT_EQ(looked.observe(Mode::train, bars(40), names).values.at(names[0]).values,
            free.observe(Mode::train, bars(40), names).values.at(names[0]).values);
}

TEST(Groups, EveryKindOfLayerCanBeFrozenInPart) {
  const nn::Operation scale{.kind = "scale",
                            .forward =
                                [](const nn::Operation::ForwardValues& v) {
                                  for (std::size_t i = 0; i < v.output.size(); ++i) v.output[i] = v.inputs[0][i] * v.parameters[0][0];
                                },
                            .backward =
                                [](const nn::Operation::BackwardValues& v) {
                                  for (std::size_t i = 0; i < v.output.size(); ++i) {
                                    if (!v.input_gradients[0].empty()) v.input_gradients[0][i] = v.output_gradient[i] * v.parameters[0][0];
                                    if (!v.parameter_gradients[0].empty())
                                      v.parameter_gradients[0][0] += v.output_gradient[i] * v.inputs[0][i];
                                  }
                                },
                            .parameters = {{"weight", {1}, Init::constant(1)}}};
  const nn::Sequential all{nn::Conv2d{.out = 4, .kernel = 3},
                           nn::GroupNorm{.groups = 2},
                           nn::ConvTranspose2d{.out = 4, .kernel = 2},
                           nn::BatchNorm{},
                           nn::InstanceNorm{.affine = true, .track_running_stats = true},
                           scale,
                           nn::Flatten{},
                           nn::Linear{.out = 6},
                           nn::LayerNorm{},
                           nn::Linear{.out = 3}};
  const Trainer plain = stepped(all, with({})), start = stepped(all, with({}), 0);
  for (const char* pattern : {"*.weight", "*.bias", "conv*", "gn*", "convt*", "bn*", "in*", "scale*", "fc*", "ln*"}) {
    const Trainer t = stepped(all, with({{.pattern = pattern, .rate = 0}}));
    for (const ParameterInfo& p : plain.graph().parameters()) {
      if (p.buffer) continue;
      const std::string_view stem = pattern;
      const bool is_frozen = stem.starts_with("*") ? p.name.ends_with(stem.substr(1)) : p.name.starts_with(stem.substr(0, stem.size() - 1));
      EXPECT_EQ(t.read(p.name), (is_frozen ? start : plain).read(p.name)) << p.name << " with " << pattern;
    }
  }
}

// With frozen statistics a step in training computes what an evaluation does, so its gradients can be found by differences of that.
TEST(Groups, FrozenStatisticsNormaliseAndStay) {
  const nn::Sequential of{
      nn::Conv2d{.out = 3, .kernel = 3}, nn::BatchNorm{},     nn::ReLU{}, nn::MaxPool2d{}, nn::Flatten{}, nn::Linear{.out = 5},
      nn::BatchNorm{.affine = false},    nn::Linear{.out = 3}};
  const Dataset data = bars(40);
  Trainer first{of, with({})};
  first.fit(bars(95, 7), nullptr, {.epochs = 1});
  for (const bool fuse : {true, false}) {
    TrainerOptions o = with({{.pattern = "bn*", .frozen_statistics = true}});
    o.fuse = fuse;
    Trainer t{of, o};
    t.load_model(first.model());
    const double before = t.evaluate(data).loss;
    EXPECT_NEAR(t.step({.bytes = data.bytes, .labels = data.labels}, {.rate = 0}).loss, before, 1e-6);
    EXPECT_EQ(bytes_of(t.model()), bytes_of(first.model()));
    const std::vector<float> gradient = t.read("conv1.weight.grad"), gamma = t.read("bn1.weight.grad");
    for (const auto& [name, by] : {std::pair{std::string("conv1.weight"), &gradient}, {std::string("bn1.weight"), &gamma}})
      for (std::size_t i = 0; i < by->size(); i += 5) {
        const auto loss_at = [&, &name = name](float step) {
          Checkpoint moved = first.model();
          for (StoredTensor& tensor : moved.tensors)
            if (tensor.name == name) {
              std::vector<float> values = tensor.floats();
              values[i] += step;
              tensor = StoredTensor::from(name, tensor.shape, values);
            }
          t.load_model(moved);
          return t.evaluate(data).loss;
        };
        const double difference = (loss_at(0.01f) - loss_at(-0.01f)) / 0.02;
        EXPECT_NEAR((*by)[i], difference, 2e-3 + 0.05 * std::abs(difference)) << name << " " << i << ", fuse " << fuse;
      }
    t.load_model(first.model());
    t.fit(data, nullptr, {.epochs = 2});
    for (const char* name : {"bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.num_batches_tracked"})
      EXPECT_EQ(t.read(name), first.read(name)) << name;
    EXPECT_NE(t.read("bn1.weight"), first.read("bn1.weight"));
    // One sample alone, which no batch norm could normalise by itself.
    const Dataset one = test::slice(data, 3, 1);
    EXPECT_NO_THROW(t.step({.bytes = one.bytes, .labels = one.labels}));
  }
}

TEST(Groups, ResumeToTheSameBits) {
  const Dataset data = bars(95);
  const TrainerOptions o = with({{.pattern = "conv1.*", .rate = 0}, {.pattern = "*.bias", .rate = 0.5, .weight_decay = 0}},
                                Adam{.lr = 0.01, .weight_decay = 1e-3});
  Trainer whole{net, o}, first{net, o}, second{net, o};
  whole.fit(data, nullptr, {.epochs = 3});
  first.fit(data, nullptr, {.epochs = 1});
  second.load_model(first.model());
  second.load_training(first.training());
  second.fit(data, nullptr, {.epochs = 3});
  EXPECT_EQ(bytes_of(second.model()) + bytes_of(second.training()), bytes_of(whole.model()) + bytes_of(whole.training()));
  // In three parts, too.
  Trainer parts{net, o}, steps{net, o};
  for (Trainer* t : {&parts, &steps}) t->load_model(whole.model());
  const std::vector<float> y = parts.forward({.bytes = data.bytes});
  parts.backward(std::vector<float>(y.size(), 1e-2f));
  parts.update();
  EXPECT_EQ(parts.read("conv1.weight"), steps.read("conv1.weight"));
  EXPECT_NE(parts.read("fc2.bias"), steps.read("fc2.bias"));
}

TEST(Groups, MisuseIsNamed) {
  constexpr ErrorKind usage = ErrorKind::usage;
  const auto made = [](std::vector<ParameterGroup> groups) { return [groups] { Trainer{net, with(groups)}; }; };
  expect_error(usage, {"group \"conv1.weigth\" fits no parameter", "conv1.weight"}, made({{.pattern = "conv1.weigth", .rate = 0}}));
  expect_error(usage, {"group \"conv9.*\" fits no parameter; did you mean \"conv1.*\"?"}, made({{.pattern = "conv9.*", .rate = 0}}));
  expect_error(usage, {"group \"\" fits no parameter"}, made({{.pattern = "", .rate = 0}}));
  expect_error(usage, {"group \"conv1.*\": rate", "-1"}, made({{.pattern = "conv1.*", .rate = -1}}));
  expect_error(usage, {"weight_decay", "nan"}, made({{.pattern = "*", .weight_decay = std::nan("")}}));
  expect_error(usage, {"rate", "no float"}, made({{.pattern = "*", .rate = 1e-37}}));
  Trainer none{net, with({{.pattern = "*", .rate = 0}})};
  expect_error(usage, {"freeze all parameters"}, [&] { none.fit(bars(40), nullptr, {.epochs = 1}); });
  EXPECT_NO_THROW(none.evaluate(bars(40)));
  expect_error(usage, {"here:3: group \"nothing\" fits no parameter"}, made({{.pattern = "nothing", .origin = "here:3"}}));
  Trainer placed{net, with({{.pattern = "*", .rate = 0, .origin = "here:4"}, {.pattern = "fc1.*", .weight_decay = 1, .origin = "here:5"}})};
  expect_error(usage, {"here:4: the groups freeze all parameters"}, [&] { placed.fit(bars(40), nullptr, {.epochs = 1}); });
  Trainer t{net, with({{.pattern = "fc1.weight", .rate = 0}, {.pattern = "fc2.*", .rate = 100}})};
  const Dataset data = bars(40);
  t.backward(t.forward({.bytes = data.bytes}));
  expect_error(usage, {"fc1.weight", "frozen"}, [&] { t.set_gradient("fc1.weight", std::vector<float>(12 * 60)); });
  expect_error(usage, {"group's 100", "no float"}, [&] { t.update({.rate = 1e37}); });
  expect_error(usage, {"group's 100", "no float"}, [&] { t.set_rate(1e37); });
  EXPECT_NO_THROW(t.update());
}

}  // namespace
}  // namespace norma
