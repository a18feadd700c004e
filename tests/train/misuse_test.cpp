// Misuse of a Trainer, its data and its options. Each ends in an Error that names what is at fault.
#include "tests/support/misuse.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "norma/instruments.h"

namespace norma::test {
namespace {

using namespace nn;

Dataset points(std::int64_t n, std::int64_t features = 4) {
  Dataset d;
  d.name = "points";
  d.sample = {features};
  d.classes = {"a", "b", "c"};
  for (std::int64_t i = 0; i < n * features; ++i) d.floats.push_back(static_cast<float>(i * 37 % 251) / 251);
  for (std::int64_t i = 0; i < n; ++i) d.labels.push_back(static_cast<std::int32_t>(i % 3));
  return d;
}

Trainer trainer(const TrainerOptions& o = {.input = {4}, .batch = 8}) { return {mlp(), o}; }

TEST(Misuse, Data) {
  Dataset unlabelled = points(16), both = points(16), pictures = points(16), cut = points(16), nameless = points(16);
  unlabelled.labels.clear();
  both.bytes.assign(64, 1);
  pictures.bytes.assign(64, 1), pictures.floats.clear();
  cut.floats.pop_back();
  nameless.classes.clear();
  Trainer t = trainer();
  expect_all({
      {"no labels", ErrorKind::data, {"points", "no labels"}, [&] { t.evaluate(unlabelled); }},
      {"no labels to train by", ErrorKind::data, {"points", "no labels"}, [&] { t.fit(unlabelled, nullptr, {}); }},
      {"bytes and floats", usage, {"points", "both bytes and floats"}, [&] { t.evaluate(both); }},
      {"bytes for floats", usage, {"points", "sample_type = DType::u8"}, [&] { t.evaluate(pictures); }},
      {"floats for bytes",
       usage,
       {"points", "sample_type = DType::f32"},
       [&] { trainer({.input = {4}, .sample_type = DType::u8}).evaluate(points(3)); }},
      {"a float too few", usage, {"63", "64"}, [&] { t.predict(cut); }},
      {"samples beyond all addresses, resized",
       usage,
       {"(1, 1152921504606846976, 1)", "2^52"},
       [&] {
         trainer({.input = {1, std::int64_t{1} << 60, 1}, .batch = 2, .transform = {.mean = {}, .stddev = {}, .resize = Size2(4)}});
       }},
      {"an observation before the set",
       usage,
       {"16 samples"},
       [&] { t.observe(Mode::eval, points(16), std::vector<std::string>{"fc1"}, -1); }},
      {"an observation beyond the set",
       usage,
       {"16 samples"},
       [&] { t.observe(Mode::eval, points(16), std::vector<std::string>{"fc1"}, 10, std::numeric_limits<std::int64_t>::max()); }},
      {"an observation of fewer than none",
       usage,
       {"\"fc1\"", "-2"},
       [&] {
         t.observe(Mode::eval, points(16), std::vector<ObserveRequest>{{"fc1", -2}});
       }},
      {"targets that are no columns",
       usage,
       {"points", "3 classes", "784 outputs"},
       [&] { Trainer(Linear{.out = 784}, {.input = {4}, .batch = 8, .loss = MeanSquared{}}).fit(points(16), nullptr, {}); }},
      {"the same without classes' names",
       usage,
       {"3 classes", "4 outputs"},
       [&] { Trainer(Linear{.out = 4}, {.input = {4}, .batch = 8, .loss = MeanSquared{}}).fit(nameless, nullptr, {}); }},
      {"fewer samples than none", usage, {"make_digits", "-1"}, [] { make_digits(-1, 1, 0); }},
      {"noise beyond float", usage, {"make_circles", "noise", "2e+38"}, [] { make_circles(10, 2e38, 0.5, 0.2, 0); }},
      {"a circle beyond float", usage, {"make_circles", "factor", "1e+39"}, [] { make_circles(10, 0.1, 1e39, 0.2, 0); }},
      {"noise that is no number", usage, {"make_circles", "nan"}, [] { make_circles(10, std::nan(""), 0.5, 0.2, 0); }},
  });
  EXPECT_EQ(t.predict(unlabelled), t.predict(points(16)));
  EXPECT_EQ(t.predict(unlabelled).size(), 48U);
}

TEST(Misuse, Training) {
  const Dataset data = points(32);
  Trainer t = trainer(), cosine = trainer({.input = {4}, .batch = 8, .schedule = {.kind = Schedule::Kind::cosine}});
  cosine.fit(data, nullptr, {.epochs = 1});
  const Checkpoint before = t.training();
  const auto in_step = [&](const std::function<void()>& f) {
    return [&t, &data, f] { t.fit(data, nullptr, {.epochs = 9, .on_step = [&](const Progress&) { return f(), true; }}); };
  };
  expect_all({
      {"nothing to train",
       usage,
       {"no parameters"},
       [&] { Trainer(Sequential{}, {.input = {4}, .batch = 8}).fit(points(16), nullptr, {}); }},
      {"epochs below none", usage, {"epochs", "-5"}, [&] { t.fit(data, nullptr, {.epochs = -5}); }},
      {"another total under a schedule", usage, {"1 epochs", "4"}, [&] { cosine.fit(data, nullptr, {.epochs = 4}); }},
      {"a gradient before a step", usage, {"fc1.weight.grad", "none"}, [&] { t.read("fc1.weight.grad"); }},
      {"fit within on_step", usage, {"fit", "on_step"}, in_step([&] { t.fit(data, nullptr, {.epochs = 20}); })},
      {"loading within on_step", usage, {"load_training", "on_step"}, in_step([&] { t.load_training(before); })},
      {"a reset within on_step", usage, {"reset_optimizer", "on_step"}, in_step([&] { t.reset_optimizer(); })},
      {"an activation", usage, {"\"relu1\"", "observe"}, [&] { t.read("relu1"); }},
      {"one that is folded away", usage, {"\"bn1\"", "observe"}, [&] { t.read("bn1"); }},
      {"its gradient", usage, {"\"fc1.grad\"", "observe"}, [&] { t.read("fc1.grad"); }},
      {"an unknown name", usage, {"did you mean \"fc1.weight\""}, [&] { t.read("fc1.wieght"); }},
      {"a Plan of fewer samples than none", usage, {"-3"}, [&] { (void)t.plan(Mode::train, -3); }},
      {"steps below none", usage, {"steps", "-1"}, [&] { t.time_calls(Mode::train, data, -1); }},
      {"bursts below none", usage, {"bursts", "-1"}, [&] { t.time_steps(data, 1, -1); }},
      {"times below none", usage, {"times", "-1"}, [&] { t.time_evaluations(data, -1); }},
      {"more samples than there are", usage, {"32", "33"}, [&] { t.recalibrate(data, 33); }},
      {"an order of fewer than none", usage, {"-1"}, [&] { (void)t.sample_order(-1, 0); }},
      {"a rate after the end", usage, {"step -1"}, [] { (void)Schedule{}.factor(-1, 1, 1); }},
      {"a rate of the step after the last", usage, {"step 10 of 10"}, [] { (void)Schedule{}.factor(10, 1, 10); }},
      {"a rate of no epochs a step", usage, {"step_epochs", "0"}, [] { (void)Schedule{.step_epochs = 0}.factor(5, 1, 10); }},
      {"a rate through 0", usage, {"div_factor", "0"}, [] { (void)Schedule{.div_factor = 0}.factor(0, 1, 10); }},
      {"a warm-up that is no number", usage, {"warmup_epochs", "nan"}, [] { (void)Schedule{.warmup_epochs = NAN}.factor(0, 1, 10); }},
      {"verify without devices", usage, {"no device"}, [&] { (void)verify(mlp(), {.input = {4}, .batch = 8}, data, {}); }},
      {"a device of no kind", usage, {"tpu"}, [] { (void)Device::parse("tpu"); }},
      {"a copy of nothing", usage, {"at least one"}, [] { (void)copy_probe(Device::cpu(), {}, 0); }},
      {"a copy of more than there is",
       usage,
       {"2^48"},
       [] { (void)copy_probe(Device::cpu(), {}, std::numeric_limits<std::size_t>::max()); }},
      {"copies of more than there is",
       usage,
       {"2^48", "9223372036854775807"},
       [] { (void)copy_probe(Device::cpu(), {}, 4096, std::numeric_limits<std::int64_t>::max()); }},
  });
  t.fit(data, nullptr, {.epochs = 1});
  EXPECT_EQ(t.read("fc1.weight.grad").size(), 32U);
}

TEST(Misuse, WithinGoOn) {
  const Dataset data = points(32), test = points(600), other = points(600);
  Trainer t = trainer(), plain = trainer();
  const Checkpoint training = t.training(), model = t.model();
  const std::vector<std::function<void()>> calls{
      [&] { t.fit(data, nullptr, {.epochs = 9}); },
      [&] { t.evaluate(other); },
      [&] { t.predict(points(600)); },  // gone when the evaluation goes on
      [&] { t.observe(Mode::eval, data, std::vector<std::string>{"fc1"}); },
      [&] { t.recalibrate(data); },
      [&] { t.time_calls(Mode::eval, data, 1); },
      [&] { t.time_steps(data, 1, 1); },
      [&] { t.time_evaluations(data, 1); },
      [&] { (void)t.training(); },
      [&] { t.load_training(training); },
      [&] { t.load_model(model); },
      [&] { t.reset_optimizer(); },
  };
  int refused = 0;
  const auto go_on = [&] {
    for (const auto& call : calls) test::expect_error(usage, {"go_on"}, call), ++refused;
    return (void)t.model(), (void)t.read("fc1.weight"), t.epochs_done() > 0;
  };
  EXPECT_TRUE(t.fit(data, &test, {.epochs = 2, .go_on = go_on}));
  plain.fit(data, &test, {.epochs = 2});
  EXPECT_GE(refused, 24);
  EXPECT_EQ(t.parameters_hash(), plain.parameters_hash());
  for (std::size_t e = 0; e < 2; ++e) EXPECT_EQ(t.history()[e].test_loss, plain.history()[e].test_loss);
}

TEST(Misuse, AnEpochWhoseGoOnThrowsIsEvaluatedByTheNextFit) {
  const Dataset data = points(32), test = points(600);
  Trainer t = trainer(), plain = trainer();
  const auto go_on = []() -> bool { throw std::runtime_error("enough"); };
  EXPECT_THROW(t.fit(data, &test, {.epochs = 2, .go_on = go_on}), std::runtime_error);
  EXPECT_EQ(t.epochs_done(), 0);
  t.fit(data, &test, {.epochs = 2}), plain.fit(data, &test, {.epochs = 2});
  ASSERT_EQ(t.history().size(), 2U);
  EXPECT_EQ(t.history()[0].test_loss, plain.history()[0].test_loss);
  EXPECT_EQ(t.history()[0].train_loss, plain.history()[0].train_loss);
  EXPECT_EQ(t.parameters_hash(), plain.parameters_hash());
}

TEST(Misuse, OptionsOutOfRange) {
  using O = TrainerOptions;
  const auto made = [](const std::function<void(O&)>& change) {
    return [change] {
      O o{.input = {4}, .batch = 8};
      change(o);
      trainer(o);
    };
  };
  Trainer t = trainer();
  const Dataset data = points(16);
  const auto mode = static_cast<Mode>(7);
  expect_all({
      {"Schedule::Kind", usage, {"kind 77"}, made([](O& o) { o.schedule.kind = static_cast<Schedule::Kind>(77); })},
      {"Reduction", usage, {"reduction 7"}, made([](O& o) { o.loss = CrossEntropy{.reduction = static_cast<Reduction>(7)}; })},
      {"the same of squares", usage, {"reduction 7"}, made([](O& o) { o.loss = MeanSquared{static_cast<Reduction>(7)}; })},
      {"Precision", usage, {"precision 9"}, made([](O& o) { o.precision = static_cast<Precision>(9); })},
      {"Capture", usage, {"capture 9"}, made([](O& o) { o.executor.capture = static_cast<Capture>(9); })},
      {"Calls of a graph", usage, {"graph_calls", "-1"}, made([](O& o) { o.executor.graph_calls = -1; })},
      {"Device::Kind", usage, {"kind 5"}, made([](O& o) { o.device.kind = static_cast<Device::Kind>(5); })},
      {"a Plan for no device",
       usage,
       {"kind 5"},
       [] {
         (void)compile(mlp(), {.input = {4}, .device = {static_cast<Device::Kind>(5), 0}}, Mode::eval);
       }},
      {"a second CPU", usage, {"index", "7"}, made([](O& o) { o.device.index = 7; })},
      {"Mode of a Plan", usage, {"mode 7"}, [&] { (void)t.plan(mode); }},
      {"Mode of an observation", usage, {"mode 7"}, [&] { t.observe(mode, data, std::vector<std::string>{"fc1"}); }},
      {"Mode of what is timed", usage, {"mode 7"}, [&] { t.time_calls(mode, data, 1); }},
      {"Mode of a module",
       usage,
       {"mode 7"},
       [&] {
         ModuleRunner(ReLU{}, {2, 3}, {.mode = mode});
       }},
      {"epochs without end", usage, {"epochs", "9223372036854775807"}, [&] { t.fit(data, nullptr, {.epochs = INT64_MAX}); }},
      {"steps beyond counting", usage, {"epochs", "2 batches"}, [&] { t.fit(data, nullptr, {.epochs = INT64_MAX / 4}); }},
      {"steps to time", usage, {"steps", "1000000000"}, [&] { t.time_calls(Mode::train, data, INT64_MAX / 2); }},
      {"bursts to time", usage, {"bursts", "1000000000"}, [&] { t.time_steps(data, 1, INT64_MAX / 2); }},
      {"times to time", usage, {"times", "1000000000"}, [&] { t.time_evaluations(data, INT64_MAX / 2); }},
  });
}

TEST(Misuse, ClassesThatAreNotTheOutputs) {
  const TrainerOptions squared{.input = {4}, .batch = 8, .loss = MeanSquared{}}, o{.input = {4}, .batch = 8};
  Dataset nameless = points(16), more = points(16);
  nameless.classes.clear();
  more.classes.emplace_back("d");
  const std::vector<Device> cpu{Device::cpu()};
  for (const Dataset& data : {points(16), nameless}) {
    Trainer wide(Linear{.out = 5}, squared);
    expect_all({
        {"evaluate", usage, {"3 classes", "5 outputs"}, [&] { wide.evaluate(data); }},
        {"observe", usage, {"3 classes", "5 outputs"}, [&] { wide.observe(Mode::train, data, std::vector<std::string>{"fc1"}); }},
        {"time_calls", usage, {"3 classes", "5 outputs"}, [&] { wide.time_calls(Mode::train, data, 1); }},
        {"time_steps", usage, {"3 classes", "5 outputs"}, [&] { wide.time_steps(data, 1, 1); }},
        {"verify", usage, {"3 classes", "5 outputs"}, [&] { (void)verify(Linear{.out = 5}, squared, data, cpu); }},
    });
    EXPECT_EQ(wide.predict(data).size(), 80U);
  }
  Trainer t = trainer(o);
  expect_all({
      {"one class more", usage, {"4 classes", "3 outputs"}, [&] { t.fit(more, nullptr, {}); }},
      {"to evaluate", usage, {"4 classes", "3 outputs"}, [&] { t.evaluate(more); }},
      {"of the test set", usage, {"4 classes", "3 outputs"}, [&] { t.fit(points(16), &more, {}); }},
  });
  Trainer wide(Linear{.out = 5}, o);
  EXPECT_TRUE(wide.fit(points(16), &more, {})) << "fewer classes than outputs are fine";
}

TEST(Misuse, OfWhatWasMovedFrom) {
  Trainer t = trainer(), u = std::move(t);
  ModuleRunner r(ReLU{}, {2, 3}), s = std::move(r);
  ModuleTimer m(ReLU{}, {2, 3}, {.seconds = 0}), n = std::move(m);
  expect_all({
      {"Trainer", usage, {"Trainer", "moved from"}, [&] { t.predict(points(3)); }},  // NOLINT: that it was moved is the point
      {"its graph", usage, {"Trainer", "moved from"}, [&] { (void)t.graph(); }},
      {"its model", usage, {"Trainer", "moved from"}, [&] { (void)t.model(); }},
      {"ModuleRunner", usage, {"ModuleRunner", "moved from"}, [&] { r.step(); }},
      {"ModuleTimer", usage, {"ModuleTimer", "moved from"}, [&] { m.forward(); }},
  });
  EXPECT_EQ(u.predict(points(3)).size(), 9U);
  s.step();
}

TEST(Misuse, OfOneObjectByTwoThreads) {
  Trainer t = trainer();
  const Dataset data = points(32);
  std::string refused;
  // While fit is within its callback, another thread comes.
  const auto from_another_thread = [&](const Progress&) {
    std::thread([&] {
      try {
        t.predict(data);
      } catch (const Error& e) {
        refused = e.what();
      }
    }).join();
    return (void)t.evaluate(data), (void)t.read("fc1.weight"), true;  // the thread that trains may
  };
  t.fit(data, nullptr, {.epochs = 1, .on_step = from_another_thread});
  EXPECT_NE(refused.find("in use by another thread"), std::string::npos) << refused;
  EXPECT_EQ(t.predict(data).size(), 96U) << "and after that it is free";
}

TEST(Misuse, ATrainerMayEndInItsOwnCallback) {
  const Dataset data = points(32);
  auto t = std::make_unique<Trainer>(trainer());
  EXPECT_TRUE(t->fit(data, nullptr, {.epochs = 1, .on_epoch = [&](const EpochMetrics&) { t.reset(); }}));
}

}  // namespace
}  // namespace norma::test
