// Training on a GPU: the executor and every kernel of a net together, against the double reference and the CPU. Nothing here asks what
// the GPU is: norma_cuda_tests runs it on one, norma_simt_tests on the emulated one.
#include <algorithm>
#include <cmath>

#include "norma/error.h"
#include "norma/instruments.h"
#include "norma/verify.h"
#include "src/execute/cuda_executor.h"
#include "tests/support/expect_error.h"
#include "tests/support/random_nets.h"
#include "tests/support/trainer_cases.h"

namespace norma::test {
namespace {

// ------------------------------------------------------------------------------------------ random nets

RC_GTEST_PROP(CudaProperty, TheGpuAgreesWithTheReference, (const RandomNet& net)) {
  expect_agreement_with_the_reference(net, {.device = Device::cuda()});
}

RC_GTEST_PROP(CudaProperty, WaysOfRunningDoNotMatter, (const RandomNet& net)) {
  const Outcome expected = run(net, {.device = Device::cuda()});
  expect_same_bits(expected, run(net, {.device = Device::cuda()}));
  expect_same_bits(expected, run(net, {.reuse = false, .device = Device::cuda()}));
  expect_same_bits(expected, run(net, {.garbage = 1e3, .device = Device::cuda()}));
  const Outcome launched = run(net, {.device = Device::cuda(), .capture = Capture::off, .runs = 4});
  expect_same_bits(launched, run(net, {.device = Device::cuda(), .capture = Capture::chain, .runs = 4}));
  expect_same_bits(launched, run(net, {.device = Device::cuda(), .runs = 4}));
  expect_same_bits(launched, run(net, {.device = Device::cuda(), .runs = 4, .graph_steps = 2}));
}

// ------------------------------------------------------------------------------------------ LeNet-BN

template <class Activation>
nn::Sequential lenet() {
  return {nn::Conv2d{.out = 6, .kernel = 5},
          nn::BatchNorm{},
          Activation{},
          nn::MaxPool2d{},
          nn::Conv2d{.out = 16, .kernel = 5},
          nn::BatchNorm{},
          Activation{},
          nn::MaxPool2d{},
          nn::Flatten{},
          nn::Linear{.out = 120},
          nn::BatchNorm{},
          Activation{},
          nn::Linear{.out = 84},
          nn::BatchNorm{},
          Activation{},
          nn::Linear{.out = 10}};
}

// Noise with a bright band of rows whose place is the label.
Dataset digits(std::int64_t n) {
  Dataset d;
  d.name = "squares";
  d.sample = {1, 28, 28};
  d.classes.assign(10, "");
  std::uint32_t seed = 7;
  for (std::int64_t i = 0; i < n; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const std::int32_t label = static_cast<std::int32_t>((seed >> 16) % 10);
    d.labels.push_back(label);
    for (int e = 0; e < 784; ++e) {
      seed = seed * 1664525u + 1013904223u;
      d.bytes.push_back(static_cast<std::uint8_t>((seed >> 25) + (e / 28 / 3 == label ? 100 : 0)));
    }
  }
  return d;
}

// Two steps, the second with a tail of 5 samples, on both devices: every parameter and running statistic.
template <class Activation>
void expect_lenet_steps_as_on_the_cpu() {
  const Dataset data = digits(37 + 5);
  const auto train = [&](Device device) {
    Trainer trainer(lenet<Activation>(),
                    {.input = {1, 28, 28}, .batch = 37, .optimizer = Sgd{.lr = 0.02f, .momentum = 0.9}, .device = device});
    EXPECT_TRUE(trainer.fit(data, nullptr, {}));
    return trainer;
  };
  const Trainer cpu = train(Device::cpu()), gpu = train(Device::cuda());
  EXPECT_NEAR(gpu.history()[0].train_loss, cpu.history()[0].train_loss, 1e-5);
  EXPECT_EQ(gpu.history()[0].train_accuracy, cpu.history()[0].train_accuracy);
  for (const ParameterInfo& p : cpu.graph().parameters()) {
    const std::vector<float> expected = cpu.read(p.name), actual = gpu.read(p.name);
    float largest = 0, worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      worst = std::max(worst, std::abs(actual[i] - expected[i]));
    }
    EXPECT_LE(worst, 2e-5f * largest) << p.name;
  }
}

TEST(CudaTraining, LeNetStepsAsOnTheCpu) {
  expect_lenet_steps_as_on_the_cpu<nn::ReLU>();
  expect_lenet_steps_as_on_the_cpu<nn::Sigmoid>();
}

// Two nets train alike, and one of them is observed after every epoch.
TEST(CudaTraining, TapsReadWhatTheCpuComputesAndChangeNothing) {
  const Dataset data = bars(45);
  TrainerOptions o = options();
  o.batch = 20, o.device = Device::cuda();
  Trainer plain(net, o), tapped(net, o);
  o.device = Device::cpu();
  Trainer cpu(net, o);
  const std::vector<std::string> names{"conv1", "bn1", "bn2.mean", "bn2.var", "sigmoid1", "bn2.grad", "conv1.grad", "conv1.weight.grad"};
  plain.fit(data, nullptr, {.epochs = 2});
  const auto look = [&](const EpochMetrics&) {
    cpu.load_model(tapped.model());
    cpu.load_training(tapped.training());
    const Observation gpu = tapped.observe(Mode::train, data, names, 5, 33), expected = cpu.observe(Mode::train, data, names, 5, 33);
    EXPECT_NEAR(gpu.loss, expected.loss, 1e-5);
    for (const std::string& name : names)
      for (std::size_t i = 0; i < expected.values.at(name).values.size(); ++i)
        ASSERT_NEAR(gpu.values.at(name).values[i], expected.values.at(name).values[i], 2e-5) << name << "[" << i << "]";
  };
  tapped.fit(data, nullptr, {.epochs = 2, .on_epoch = look});
  EXPECT_EQ(bytes_of(tapped.model()) + bytes_of(tapped.training()), bytes_of(plain.model()) + bytes_of(plain.training()));
}

TEST(CudaTraining, VerifyPassesOnASmallLeNet) {
  const Device devices[] = {Device::cpu(), Device::cuda()};
  TrainerOptions o{.input = {1, 28, 28}, .batch = 9, .optimizer = Sgd{.lr = 0.02f, .momentum = 0.9}};
  const nn::Sequential small{nn::Conv2d{.out = 2, .kernel = 5},
                             nn::BatchNorm{},
                             nn::ReLU{},
                             nn::MaxPool2d{},
                             nn::Conv2d{.out = 3, .kernel = 5},
                             nn::BatchNorm{},
                             nn::ReLU{},
                             nn::MaxPool2d{},
                             nn::Flatten{},
                             nn::Linear{.out = 9},
                             nn::BatchNorm{},
                             nn::Sigmoid{},
                             nn::Linear{.out = 10}};
  for (const Precision precision : {Precision::fp32, Precision::tf32}) {
    SCOPED_TRACE(name_of(precision));
    o.precision = precision;
    const VerifyReport report = verify(small, o, digits(9 + 3), devices);
    EXPECT_TRUE(report.passed());
    EXPECT_EQ(report.steps.size(), 6u);
    std::int64_t compared = 0;
    for (const CallCheck& c : report.calls) {
      EXPECT_TRUE(c.passed()) << c.problem;
      compared += c.calls;
    }
    EXPECT_EQ(compared, report.compared);
    for (const StepCheck& s : report.steps) EXPECT_EQ(s.difference, "") << s.backend << ", " << s.samples << " samples";
  }
}

// ------------------------------------------------------------------------------------------ runs

TrainerOptions on_gpu() {
  TrainerOptions o = options();
  o.device = Device::cuda();
  return o;
}

std::string state_of(const Trainer& t) { return bytes_of(t.model()) + bytes_of(t.training()); }

// Steps on batches that the test holds, whole and in three parts, and functions of the host between kernels.
TEST(CudaTraining, StepsOfOnesOwn) {
  const Dataset data = bars(60);
  TrainerOptions o = on_gpu();
  o.batch = 20, o.shuffle = false, o.optimizer = Sgd{.lr = 0.05, .momentum = 0.9};
  const auto batch = [&](std::size_t first) {
    return Batch{.bytes = std::span(data.bytes).subspan(first * 144, 20 * 144), .labels = std::span(data.labels).subspan(first, 20)};
  };
  Trainer fitted(net, o), stepped(net, o);
  fitted.fit(data, nullptr, {.epochs = 1});
  for (const std::size_t first : {0, 20, 40}) stepped.step(batch(first));
  EXPECT_EQ(bytes_of(stepped.model()), bytes_of(fitted.model()));

  // The sum of squares of the outputs, in three parts and as a loss, and a tripling operation, as on the CPU.
  const auto squares = [](const LossInput& in, std::span<float> gradient) {
    double loss = 0;
    for (std::size_t i = 0; i < in.outputs.size(); ++i) {
      const float d = in.outputs[i] - static_cast<float>(in.labels[i / 3]);
      loss += static_cast<double>(d) * static_cast<double>(d) / 2;
      if (!gradient.empty()) gradient[i] = d;
    }
    return loss;
  };
  const nn::Operation triple{.kind = "triple",
                             .forward =
                                 [](const nn::Operation::ForwardValues& v) {
                                   for (std::size_t i = 0; i < v.output.size(); ++i) v.output[i] = 3 * v.inputs[0][i];
                                 },
                             .backward =
                                 [](const nn::Operation::BackwardValues& v) {
                                   for (std::size_t i = 0; i < v.output.size(); ++i) v.input_gradients[0][i] = 3 * v.output_gradient[i];
                                 }};
  const nn::Sequential tripled{nn::Conv2d{.out = 4, .kernel = 3}, triple, nn::BatchNorm{}, nn::ReLU{}, nn::Flatten{}, nn::Linear{.out = 3}};
  o.loss = CustomLoss{squares, CustomLoss::Against::labels}, o.optimizer = Sgd{.lr = 1e-3};
  Trainer whole(tripled, o), parts(tripled, o);
  o.device = Device::cpu();
  Trainer cpu(tripled, o);
  for (const std::size_t first : {0, 20, 40}) {
    EXPECT_NEAR(whole.step(batch(first)).loss, cpu.step(batch(first)).loss, 1e-3);
    const std::vector<float> y = parts.forward(batch(first));
    std::vector<float> dy(y.size());
    squares({.samples = 20, .outputs = y, .targets = {}, .labels = batch(first).labels}, dy);
    parts.backward(dy);
    parts.update();
  }
  for (const ParameterInfo& p : cpu.graph().parameters()) {
    if (p.dtype != DType::f32) continue;
    const std::vector<float> a = whole.read(p.name), b = parts.read(p.name), c = cpu.read(p.name);
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(a[i], c[i], 1e-4f * std::max(1.0f, std::abs(c[i]))) << p.name << " " << i;
      EXPECT_NEAR(b[i], c[i], 1e-4f * std::max(1.0f, std::abs(c[i]))) << p.name << " " << i << ", in parts";
    }
  }
}

// Several updates at the end of a step, layers without a backward, a batch norm by its running statistics.
TEST(CudaTraining, GroupsTrainAsOnTheCpu) {
  const Dataset data = bars(60);
  TrainerOptions o = on_gpu();
  o.batch = 30;
  // Adam would make steps of the rounding of gradients that are 0, those of biases before a batch norm.
  o.optimizer = Sgd{.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01};
  o.groups = {{.pattern = "conv1.*", .rate = 0},
              {.pattern = "bn1.*", .frozen_statistics = true},
              {.pattern = "*.bias", .weight_decay = 0},
              {.pattern = "fc2.*", .rate = 3}};
  Trainer gpu(net, o);
  o.executor.capture = Capture::off;
  Trainer launched(net, o);
  o.device = Device::cpu();
  Trainer cpu(net, o);
  for (Trainer* t : {&gpu, &launched, &cpu}) t->fit(data, nullptr, {.epochs = 2});
  EXPECT_EQ(state_of(gpu), state_of(launched));
  for (const ParameterInfo& p : cpu.graph().parameters()) {
    if (p.dtype != DType::f32) continue;
    const std::vector<float> a = gpu.read(p.name), b = cpu.read(p.name);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4f * std::max(1.0f, std::abs(b[i]))) << p.name << " " << i;
  }
}

TEST(CudaTraining, RunsGiveTheSameBits) {
  const Dataset train = bars(100), test = bars(50, 9);
  const auto run = [&](TrainerOptions o) {
    Trainer trainer(net, o);
    EXPECT_TRUE(trainer.fit(train, &test, {.epochs = 2}));
    return state_of(trainer);
  };
  const std::string expected = run(on_gpu());
  EXPECT_EQ(run(on_gpu()), expected);
  TrainerOptions o = on_gpu();
  o.executor.capture = Capture::off;
  EXPECT_EQ(run(o), expected) << "without capture";
  o.executor.capture = Capture::chain;
  EXPECT_EQ(run(o), expected) << "as a chain";
  o = on_gpu(), o.executor.graph_calls = 60;
  EXPECT_EQ(run(o), expected) << "with several steps in a graph";
  o = on_gpu(), o.reuse = false;
  EXPECT_EQ(run(o), expected) << "without reuse of memory";
  o = on_gpu(), o.check_each = true;
  EXPECT_EQ(run(o), expected) << "with check_each";
  o = on_gpu(), o.precision = Precision::bf16;
  const std::string rounded = run(o);
  EXPECT_NE(rounded, expected) << "in bf16";
  o.executor.capture = Capture::off;
  EXPECT_EQ(run(o), rounded) << "in bf16, without capture";
}

// With Sgd: Adam's first steps are the signs of gradients, also of those that are 0 but for rounding.
TEST(CudaTraining, LearnsAsOnTheCpu) {
  const Dataset train = bars(100), test = bars(50, 9);
  const auto history = [&](Device device) {
    TrainerOptions o = on_gpu();
    o.device = device, o.optimizer = Sgd{.lr = 0.05f, .momentum = 0.9};
    Trainer trainer(net, o);
    trainer.fit(train, &test, {.epochs = 3});
    return trainer.history();
  };
  const std::vector<EpochMetrics> gpu = history(Device::cuda()), cpu = history(Device::cpu());
  ASSERT_EQ(gpu.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(gpu[i].train_loss, cpu[i].train_loss, 1e-4);
    EXPECT_NEAR(*gpu[i].test_loss, *cpu[i].test_loss, 1e-4);
    EXPECT_EQ(gpu[i].train_accuracy, cpu[i].train_accuracy);
  }
}

TEST(CudaTraining, GoesOnWhereItStopped) {
  const Dataset train = bars(100), test = bars(50, 9);
  Trainer whole(net, on_gpu());
  whole.fit(train, &test, {.epochs = 2});
  Trainer first(net, on_gpu());
  bool stopped = false;
  EXPECT_FALSE(first.fit(train, &test, {.epochs = 2, .on_step = [&](const Progress& p) { return stopped || !(stopped = p.epoch == 2); }}));
  Trainer second(net, on_gpu());
  second.load_model(first.model());
  second.load_training(first.training());
  EXPECT_TRUE(second.fit(train, &test, {.epochs = 2}));
  EXPECT_EQ(state_of(second), state_of(whole));
}

// A checkpoint of one device is the other's, too.
TEST(CudaTraining, GoesOnFromTheCpusCheckpoint) {
  const Dataset data = bars(100);
  TrainerOptions o = on_gpu();
  o.device = Device::cpu();
  Trainer cpu(net, o), gpu(net, on_gpu());
  cpu.fit(data, nullptr, {.epochs = 1});
  gpu.load_model(cpu.model());
  gpu.load_training(cpu.training());
  EXPECT_EQ(state_of(gpu), state_of(cpu));
  EXPECT_NEAR(gpu.evaluate(data).loss, cpu.evaluate(data).loss, 1e-5);
}

// A set that was changed between two fits, or that another one's memory is used for, is not taken for the one before.
TEST(CudaTraining, ReadsAnewWhatMayHaveChanged) {
  Dataset data = bars(80);
  Trainer trainer(net, on_gpu());
  trainer.fit(data, nullptr, {.epochs = 1});
  const double before = trainer.evaluate(data).loss;
  for (std::uint8_t& b : data.bytes) b = 0;
  EXPECT_NE(trainer.evaluate(data).loss, before);
  Trainer other(net, on_gpu());
  other.load_model(trainer.model());
  other.load_training(trainer.training());
  EXPECT_EQ(other.evaluate(data).loss, trainer.evaluate(data).loss);
  other.fit(data, nullptr, {.epochs = 2});
  trainer.fit(data, nullptr, {.epochs = 2});
  EXPECT_EQ(state_of(other), state_of(trainer));
}

TEST(CudaTraining, ADivergedStepNamesItsLayerAndChangesNothing) {
  const Dataset data = bars(200);
  TrainerOptions o = on_gpu();
  o.optimizer = Sgd{.lr = 1e30f};
  Trainer trainer(net, o);
  const std::string before = trainer.parameters_hash();
  expect_error(ErrorKind::diverged, {"training diverged at step 2 (epoch 1, batch 2): ["}, [&] { trainer.fit(data, nullptr, {}); });
  EXPECT_NE(trainer.parameters_hash(), before);
  EXPECT_EQ(trainer.steps_done(), 1);
  for (const ParameterInfo& p : trainer.graph().parameters())
    for (const float w : trainer.read(p.name)) ASSERT_TRUE(std::isfinite(w)) << p.name;
}

TEST(CudaTraining, TimesEveryCall) {
  Trainer trainer(net, on_gpu());
  const std::string before = state_of(trainer);
  for (const TimedStep& step : trainer.time_calls(Mode::train, bars(100), 3)) {
    EXPECT_EQ(step.calls.size(), describe(trainer.plan(Mode::train)).size());
    for (const double seconds : step.calls) EXPECT_GE(seconds, 0);
  }
  EXPECT_EQ(state_of(trainer), before);
}

TEST(CudaTraining, TimesStepsThatNobodyWaitsFor) {
  Trainer trainer(net, on_gpu());
  const std::string before = state_of(trainer);
  const std::vector<double> seconds = trainer.time_steps(bars(100), 2, 3);
  EXPECT_EQ(seconds.size(), 3u);
  for (const double s : seconds) EXPECT_GT(s, 0);
  EXPECT_EQ(trainer.time_evaluations(bars(50), 2).size(), 2u);
  EXPECT_EQ(state_of(trainer), before);
}

TEST(CudaTraining, TimedPassesAreThoseOfAStep) {
  const Shape shape{33, 5, 3, 4};
  for (const int lanes : {0, 1}) {
    ModuleTimer timer{nn::BatchNorm{}, shape, {.device = Device::cuda(), .lanes = lanes, .copies = 2, .seconds = 0}};
    EXPECT_GT(timer.forward(), 0);
    EXPECT_GT(timer.backward(), 0);
    EXPECT_GT(timer.statistics(), 0);
    ModuleRunner step{nn::BatchNorm{}, shape, {.device = Device::cuda(), .lanes = lanes}};
    step.write("x", timer.read("x0"));
    step.write("dy", timer.read("dy0"));
    step.step();
    for (const char* copy : {"0", "1"})
      for (const char* name : {"y", "dx"}) EXPECT_EQ(timer.read(std::string(name) + copy), step.read(name)) << name << copy;
    for (const char* name : {"bn.weight.grad", "bn.bias.grad"}) EXPECT_EQ(timer.read(name), step.read(name)) << name;
    EXPECT_EQ(timer.read("bn_2.weight.grad"), step.read("bn.weight.grad"));
  }
}

TEST(CudaTraining, AGpuThatIsNotThereIsNamed) {
  expect_error(ErrorKind::device, {"device cuda:99 cannot be used: there is no GPU 99, only 0.."}, [] { make_executor(Device::cuda(99)); });
}

}  // namespace
}  // namespace norma::test
