// Measurements: timed runs change no result, the roofline is plausible, the tables are whole, and oneDNN may be absent.
#include "apps/norma/bench/bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <set>

#include "apps/norma/bench/bn.h"
#include "apps/norma/bench/ops.h"
#include "apps/norma/system/machine.h"
#include "apps/norma/system/plugin.h"
#include "norma/instruments.h"
#include "norma/norma.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trainer_cases.h"

namespace norma::app {
namespace {

using test::TemporaryFolder;

// ---- statistics

TEST(Summary, QuartilesLieBetweenNeighbours) {
  const Summary s = summarise({4, 1, 3, 2});
  EXPECT_EQ(s.median, 2.5);
  EXPECT_EQ(s.least, 1);
  EXPECT_EQ(s.lower, 1.75);
  EXPECT_EQ(s.upper, 3.25);
  EXPECT_EQ(s.count, 4);
  EXPECT_DOUBLE_EQ(s.spread(), 0.6);
  EXPECT_EQ(summarise({7}).median, 7);
  EXPECT_EQ(summarise({}).count, 0);
}

TEST(Summary, GeometricMean) {
  const double values[] = {0.5, 2, 8};
  EXPECT_DOUBLE_EQ(geometric_mean(values), 2);
}

TEST(Columns, LongNamesKeepTheirEnd) {
  EXPECT_EQ(fit("conv1", 5), "conv1");
  EXPECT_EQ(fit("layer2/block1/conv1", 8), "~1/conv1");
}

// ---- the roofline

TEST(Roofline, FiguresArePlausible) {
  for (const std::string& isa : cpu_isa_levels()) {
    const Roofline r = measure_roofline(Device::cpu(), {.threads = 1, .isa = isa});
    EXPECT_EQ(r.threads, 1);
    EXPECT_EQ(r.device, "cpu (" + isa + ", 1 thread)");
    EXPECT_GT(r.flops, 1e8);  // no machine with vectors is slower, even under a sanitizer
    EXPECT_LT(r.flops, 1e13);
    for (const double bandwidth : {r.copy, r.copy_streaming, r.read}) {
      EXPECT_GT(bandwidth, 1e7);
      EXPECT_LT(bandwidth, 1e13);
    }
    EXPECT_EQ(r.bandwidth(), std::max(r.copy, r.copy_streaming));
  }
}

TEST(Roofline, TheSlowerOfMemoryAndArithmeticDecides) {
  const Roofline r{.device = {}, .threads = 1, .flops = 100, .copy = 10, .copy_streaming = 20, .read = 5, .array_bytes = 0};
  EXPECT_EQ(r.least_seconds(40, 100), 2);  // at the better copy
  EXPECT_EQ(r.least_seconds(40, 400), 4);
}

TEST(Roofline, ACopyCanBeTimedInTurn) {
  const auto copy = copy_probe(Device::cpu(), {.threads = 1}, 1);  // rounded up to what the probe takes
  for (int i = 0; i < 2; ++i) {
    const double bandwidth = copy();
    EXPECT_GT(bandwidth, 1e6);
    EXPECT_LT(bandwidth, 1e13);
  }
}

TEST(Roofline, UnknownLevelIsRefused) {
  test::expect_error(ErrorKind::usage, {"sse9"}, [] { measure_roofline(Device::cpu(), {.isa = "sse9"}); });
}

// ---- timed runs

TEST(TimedRun, IsTheSameRun) {
  const nn::Sequential net{nn::Conv2d{.out = 3, .kernel = 3}, nn::BatchNorm{}, nn::ReLU{}, nn::Dropout{.p = 0.3}};
  ModuleRunner plain{net, {5, 2, 6, 7}}, timed{net, {5, 2, 6, 7}};
  std::vector<float> x(5 * 2 * 6 * 7), dy(5 * 3 * 4 * 5);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
  for (std::size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(i % 5) - 2;
  for (ModuleRunner* r : {&plain, &timed}) r->write("x", x), r->write("dy", dy);
  for (int step = 0; step < 2; ++step) {  // the second draws another dropout mask
    plain.step();
    const std::vector<double> seconds = timed.step_timed();
    ASSERT_EQ(seconds.size(), describe(timed.plan()).size());
    for (const double s : seconds) EXPECT_GE(s, 0);
    EXPECT_GT(std::accumulate(seconds.begin(), seconds.end(), 0.0), 0);
    for (const char* name : {"y", "dx", "conv1.weight.grad", "bn1.running_var"}) EXPECT_EQ(plain.read(name), timed.read(name)) << name;
  }
}

TEST(TimedRun, GradientsOfInputsCanBeLeftOut) {
  ModuleRunner runner{nn::Conv2d{.out = 2, .kernel = 3}, {4, 1, 5, 5}, {.input_gradients = false}};
  for (const PlanLine& line : describe(runner.plan())) EXPECT_EQ(line.call.find("backward_input"), std::string::npos) << line.call;
  runner.write("dy", std::vector<float>(4 * 2 * 3 * 3, 1.0f));
  runner.step();
  EXPECT_EQ(runner.read("conv.bias.grad")[0], 36);  // of the parameters they remain
  test::expect_error(ErrorKind::usage, {"dx"}, [&] { (void)runner.read("dx"); });
}

TEST(TimeCalls, LeavesTheTrainerAsItWas) {
  const Dataset data = test::bars(70);
  const auto make = [&] {
    return Trainer{nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3}, nn::BatchNorm{}, nn::ReLU{}, nn::Flatten{}, nn::Linear{.out = 3}},
                   {.input = data.sample, .batch = 16, .optimizer = Adam{}}};
  };
  Trainer measured = make(), plain = make();
  for (Trainer* t : {&measured, &plain}) t->fit(data, nullptr, {.epochs = 1});
  for (const Mode mode : {Mode::train, Mode::eval}) {
    const std::vector<TimedStep> steps = measured.time_calls(mode, data, 9);  // more than the epoch's 4 whole batches
    ASSERT_EQ(steps.size(), 9u);
    for (const TimedStep& s : steps) {
      EXPECT_EQ(s.calls.size(), describe(measured.plan(mode)).size());
      EXPECT_GT(s.seconds, 0);
      EXPECT_LE(std::accumulate(s.calls.begin(), s.calls.end(), 0.0), s.seconds * 1.0001);
    }
  }
  const std::vector<double> seconds = measured.time_steps(data, 3, 3);  // the second time, the epoch's 4 whole batches do not suffice
  EXPECT_EQ(seconds.size(), 3u);
  for (const double s : seconds) EXPECT_GT(s, 0);
  EXPECT_EQ(measured.time_evaluations(data, 2).size(), 2u);
  EXPECT_EQ(measured.parameters_hash(), plain.parameters_hash());
  EXPECT_EQ(measured.steps_done(), plain.steps_done());
  for (Trainer* t : {&measured, &plain}) t->fit(data, nullptr, {.epochs = 2});
  EXPECT_EQ(measured.parameters_hash(), plain.parameters_hash());
}

TEST(TimeCalls, WhatCannotBeTimedIsRefused) {
  const Dataset data = test::bars(10);
  const nn::Sequential net{nn::Flatten{}, nn::Linear{.out = 3}};
  Trainer large{net, {.input = data.sample, .batch = 16}};
  test::expect_error(ErrorKind::usage, {"10 samples", "batch of 16"}, [&] { large.time_calls(Mode::train, data, 1); });
  Trainer fitting{net, {.input = data.sample, .batch = 4}};
  test::expect_error(ErrorKind::usage, {"3 steps at a time", "2 whole batches of 4"}, [&] { fitting.time_steps(data, 3, 1); });
  Trainer wild{net, {.input = data.sample, .batch = 10, .optimizer = Sgd{.lr = 3e38}}};
  const std::string before = wild.parameters_hash();
  test::expect_error(ErrorKind::diverged, {"timed step"}, [&] { wild.time_calls(Mode::train, data, 20); });
  EXPECT_EQ(wild.parameters_hash(), before);
  test::expect_error(ErrorKind::diverged, {"timed step"}, [&] { wild.time_steps(data, 1, 20); });
  EXPECT_EQ(wild.parameters_hash(), before);
}

TEST(SampleOrder, IsTheOneThatFitTakes) {
  const Dataset data = test::bars(48);
  const nn::Sequential net{nn::Flatten{}, nn::Linear{.out = 3}};
  Trainer shuffling{net, {.input = data.sample, .batch = 16, .seed = 5}};
  shuffling.fit(data, nullptr, {.epochs = 2});
  // The samples stored in that order: an epoch without shuffling each.
  Trainer stored{net, {.input = data.sample, .batch = 16, .seed = 5, .shuffle = false}};
  EXPECT_EQ(stored.sample_order(3, 7), (std::vector<std::int32_t>{0, 1, 2}));
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    const std::vector<std::int32_t> order = shuffling.sample_order(48, epoch);
    EXPECT_EQ(std::set<std::int32_t>(order.begin(), order.end()).size(), 48u);
    Dataset ordered = test::slice(data, 0, 0);
    for (const std::int32_t i : order) {
      const Dataset one = test::slice(data, i, 1);
      ordered.bytes.insert(ordered.bytes.end(), one.bytes.begin(), one.bytes.end());
      ordered.labels.push_back(one.labels[0]);
    }
    stored.fit(ordered, nullptr, {.epochs = epoch + 1});
  }
  EXPECT_EQ(stored.parameters_hash(), shuffling.parameters_hash());
}

// ---- passes of one module

TEST(ModuleTimer, PassesAreThoseOfAStep) {
  const Shape shape{19, 3, 4, 5};  // a partial pack of samples
  const nn::Sequential net{nn::Conv2d{.out = 4, .kernel = 3}, nn::BatchNorm{}, nn::ReLU{}};
  const auto scoped = [&](Builder& b, Value x) { return net(b, x); };
  ModuleTimer one{scoped, shape, {.seconds = 0}};
  ModuleRunner step{net, shape};
  EXPECT_GT(one.forward(), 0);
  EXPECT_GT(one.backward(), 0);
  step.write("x", one.read("x0"));
  step.write("dy", one.read("dy"));
  step.step();
  for (const char* name : {"y", "conv1.weight.grad", "bn1.bias.grad"}) EXPECT_EQ(one.read(name), step.read(name)) << name;
  EXPECT_EQ(one.read("dx0"), step.read("dx"));
  const auto calls = [](const Plan& p) { return describe(p).size(); };
  EXPECT_EQ(calls(one.forward_plan()) + calls(one.backward_plan()), calls(step.plan()));
}

TEST(ModuleTimer, CopiesHaveTensorsOfTheirOwn) {
  const ModuleTimer three{nn::BatchNorm{}, {5, 2}, {.copies = 3}};
  std::set<std::size_t> places;
  for (const Plan* p : {&three.forward_plan(), &three.backward_plan()})
    for (const PlanLine& line : describe(*p))
      for (const PlanOperand& o : line.operands)
        if (o.region == Region::activations && o.shape == Shape{5, 2}) places.insert(o.offset);
  EXPECT_EQ(places.size(), 3u * 4);  // x, y, dx, dy
  test::expect_error(ErrorKind::usage, {"copies", "0"}, [] { ModuleTimer{nn::BatchNorm{}, {5, 2}, {.copies = 0}}; });
  test::expect_error(ErrorKind::usage, {"16 lanes, not 1"}, [] { ModuleTimer{nn::BatchNorm{}, {5, 2}, {.lanes = 1}}; });
}

TEST(ModuleTimer, StatisticsAreAPartOfTheForwardPass) {
  ModuleTimer timer{nn::BatchNorm{}, {40, 3, 9, 9}, {.copies = 2, .seconds = 0}};
  const std::vector<float> before = timer.read("y0");
  EXPECT_GT(timer.statistics(), 0);
  EXPECT_EQ(timer.read("y0"), before);  // they write none of the outputs
  ModuleTimer none{nn::ReLU{}, {4, 3}, {.seconds = 0}};
  test::expect_error(ErrorKind::usage, {"no batch norm"}, [&] { none.statistics(); });
}

TEST(BenchBn, ShapesAreTheNets) {
  std::map<std::string, std::int64_t> layers, channels;
  for (const BnShape& s : bn_shapes()) layers[s.net] += s.count, channels[s.net] += s.count * s.c;
  EXPECT_EQ(layers["resnet50"], 53);
  EXPECT_EQ(channels["resnet50"], 26'560);  // torchvision's resnet50: as many running means
  EXPECT_EQ(layers["lenet"], 4);
  constexpr std::size_t cache = 50'000'000;
  for (const BnShape& s : bn_shapes())
    if (s.n < 0) {
      const Shape large = shape_of(s, 32, cache);
      EXPECT_GE(large.elements() * 4, 200'000'000);
      EXPECT_LE(large.elements() * 4, 280'000'000);
      EXPECT_EQ(large[0] % 32, 0);
    }
  EXPECT_EQ(shape_of(bn_shapes()[2], 32, cache), (Shape{256, 120}));
}

TEST(BenchBn, NothingIsMeasuredFromACache) {
  constexpr std::size_t cache = 50'000'000;
  for (const Shape& s : {Shape{256, 84}, Shape{256, 6, 24, 24}, Shape{32, 256, 56, 56}, Shape{64, 64, 112, 112}})
    EXPECT_GT(static_cast<std::size_t>(copies_for(s, cache) * s.elements() * 2 * 4), 2 * cache) << to_string(s);
  EXPECT_EQ(copies_for({64, 64, 112, 112}, cache), 2);
  const Shape small{256, 6, 24, 24}, middle{32, 100, 60, 60}, large{64, 64, 112, 112};  // 3.5, 46 and 206 MB
  EXPECT_EQ(least_tensors(false, small, cache), 2);
  EXPECT_EQ(least_tensors(true, small, cache), 3);
  EXPECT_EQ(least_tensors(false, middle, cache), 2);
  EXPECT_EQ(least_tensors(true, middle, cache), 5);  // x and dy do not fit together
  EXPECT_EQ(least_tensors(false, large, cache), 3);
  EXPECT_EQ(layouts_of(Device::cpu(), small).size(), 1u);
  EXPECT_EQ(layouts_of(Device::cuda(), small).size(), 3u);
  EXPECT_EQ(layouts_of(Device::cuda(), {256, 84}).size(), 2u);
}

TEST(BenchBn, FiguresAreWhole) {
  const BnShape shape{"t", "b", 1, 64, 32, 64, 64};                                          // 34 MB
  const BnRequest request{.threads = 1, .seconds = 0, .cache_bytes = std::size_t{1} << 20};  // few copies
  const BnFigures figures = measure(shape, BnLayout::lanes, Device::cpu(), request);
  EXPECT_FALSE(figures.statistics);
  const std::vector<BnPass>& passes = figures.passes;
  ASSERT_EQ(passes.size(), 2u);
  EXPECT_EQ(passes[0].pass + passes[1].pass, "forwardbackward");
  for (const BnPass& p : passes) {
    EXPECT_EQ(p.seconds.count, 5);
    EXPECT_GT(p.seconds.median, 0);
    EXPECT_GT(p.share_of_copy.median, 0);
    EXPECT_EQ(p.bytes(), static_cast<double>(p.tensors) * 64 * 32 * 64 * 64 * 4);
  }
}

// ---- single operations

std::int64_t multiply_adds(const BenchShape& s) {
  const auto size = [&](std::int64_t in) { return (in + 2 * s.padding - s.kernel) / s.stride + 1; };
  return s.count * size(s.h) * size(s.w) * s.out * s.c * s.kernel * s.kernel;
}

TEST(BenchShapes, AreTheNets) {
  std::map<std::string, std::int64_t> layers, total;
  std::set<std::string> names;
  for (const BenchShape& s : bench_shapes()) {
    EXPECT_TRUE(names.insert(std::string(s.net) + "/" + s.name).second) << s.name;
    if (s.kind == BenchShape::Kind::convolution) layers[s.net] += s.count, total[s.net] += multiply_adds(s);
  }
  EXPECT_EQ(layers["resnet18"], 20);
  EXPECT_EQ(total["resnet18"], 1'813'561'344);
  EXPECT_EQ(layers["vgg16"], 13);
  EXPECT_EQ(total["vgg16"], 15'346'630'656);
  EXPECT_EQ(total["lenet"], 86'400 + 153'600);
}

TEST(BenchShapes, SayWhatTheyAre) {
  const auto named = [](const std::string& name) {
    const auto all = bench_shapes();
    return describe(*std::find_if(all.begin(), all.end(), [&](const BenchShape& s) { return name == s.name; }));
  };
  EXPECT_EQ(named("layer2.0.downsample.0"), "64x56x56 -> 128 k1 s2");
  EXPECT_EQ(named("fc1"), "256 -> 120");
  EXPECT_EQ(named("resnet18.maxpool"), "64x112x112 k3 s2");
}

constexpr BenchShape small_convolution{
    .net = "t", .name = "c", .batch = 5, .c = 3, .h = 9, .w = 8, .out = 4, .kernel = 3, .padding = 1, .bias = true};

TEST(MeasureOp, EveryCallIsInOnePass) {
  TemporaryFolder empty;
  const Yardstick none(empty.path());
  const OpsRequest request{.threads = 1, .seconds = 0};
  BenchShape first = small_convolution;
  first.first = true;
  const BenchShape pool{
      .net = "t", .name = "p", .kind = BenchShape::Kind::max_pool, .batch = 5, .c = 3, .h = 4, .w = 4, .kernel = 2, .stride = 2};
  const BenchShape linear{.net = "t", .name = "l", .kind = BenchShape::Kind::linear, .batch = 5, .c = 7, .out = 3};
  const std::pair<BenchShape, std::set<std::string>> cases[] = {{small_convolution, {"forward", "backward_input", "backward_weight"}},
                                                                {first, {"forward", "backward_weight"}},
                                                                {linear, {"forward", "backward_input", "backward_weight"}},
                                                                {pool, {"forward", "backward"}}};
  for (const auto& [shape, wanted] : cases) {
    const ModuleRunner runner(module_of(shape), input_of(shape, 1), {.input_gradients = !shape.first});
    double flops = 0, measured = 0;
    for (const PlanLine& line : describe(runner.plan())) flops += line.flops;
    std::set<std::string> passes;
    for (const OpPass& p : measure(shape, request, none)) {
      passes.insert(p.pass);
      measured += p.flops;
      EXPECT_GT(p.ours.median, 0);
      EXPECT_GE(p.ours.count, 3);
      EXPECT_GT(p.bytes, 0);
      EXPECT_FALSE(p.direct || p.winograd);
    }
    EXPECT_EQ(passes, wanted) << shape.name;
    EXPECT_EQ(measured, flops) << shape.name;
  }
}

TEST(Yardstick, SaysWhyItIsAbsent) {
  TemporaryFolder folder;
  const Yardstick missing(folder.path());
  EXPECT_FALSE(missing.present());
  EXPECT_NE(missing.missing().find("libdnnl-dev"), std::string::npos) << missing.missing();
  std::ofstream(folder / "norma_onednn.so") << "no library";
  const Yardstick broken(folder.path());
  EXPECT_FALSE(broken.present());
  EXPECT_NE(broken.missing().find("norma_onednn.so"), std::string::npos) << broken.missing();
}

TEST(Yardstick, ComputesTheSame) {
  const char* program = std::getenv("NORMA_PROGRAM");
  const Yardstick yardstick(program ? std::filesystem::path(program).parent_path() : program_folder().parent_path());
  if (!yardstick.present()) GTEST_SKIP() << yardstick.missing();
  const OpsRequest request{.threads = 2, .seconds = 0};
  BenchShape strided = small_convolution, winograd = small_convolution;
  strided.stride = 2;
  winograd.c = winograd.out = 64, winograd.h = winograd.w = 28;
  const BenchShape linear{.net = "t", .name = "l", .kind = BenchShape::Kind::linear, .batch = 20, .c = 33, .out = 7, .bias = true};
  for (const BenchShape& s : {small_convolution, strided, winograd, linear})
    for (const OpPass& p : measure(s, request, yardstick)) {
      ASSERT_TRUE(p.direct) << p.pass;
      EXPECT_LE(p.direct->difference, allowed_difference) << describe(s) << " " << p.pass;
      EXPECT_GT(p.direct->seconds.median, 0);
      EXPECT_FALSE(p.direct->implementation.empty());
      if (p.winograd) {
        EXPECT_LE(p.winograd->difference, allowed_difference) << describe(s) << " " << p.pass;
      }
    }
  // A wrong weight is seen: the comparison can fail.
  const NormaOnednnShape shape{.kind = norma_onednn_inner_product,
                               .n = 1,
                               .c = 2,
                               .h = 1,
                               .w = 1,
                               .filters = 1,
                               .kernel = 1,
                               .stride = 1,
                               .padding = 0,
                               .bias = 0,
                               .winograd = 0};
  const float x[] = {1, 2}, w[] = {3, 4}, dy[] = {1};
  Yardstick::Pass forward = yardstick.pass(shape, norma_onednn_forward, 1, {x, w, nullptr, dy});
  forward.run();
  EXPECT_EQ(forward.read(1), std::vector<float>{11});
}

// ---- the process's age

TEST(ProcessStart, LiesInThePast) {
  const double now = seconds_since_process_start();
  EXPECT_GE(now, 0);
  EXPECT_LT(now, 86400);
  EXPECT_GE(seconds_since_process_start(), now);
}

}  // namespace
}  // namespace norma::app
