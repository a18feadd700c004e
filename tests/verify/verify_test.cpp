// norma verify: right kernels pass on every kind of net, a planted fault of each kind is found and named, and nothing else is.
#include "src/verify/verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>

#include "apps/norma/commands/verify_cudnn.h"
#include "apps/norma/commands/verify_table.h"
#include "apps/norma/system/plugin.h"
#include "norma/error.h"
#include "src/execute/tensor_io.h"
#include "src/plan/plan.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trainer_cases.h"

namespace norma::test {
namespace {

using nlohmann::json;

// An Executor with a fault: after each Call, alone or in a whole step, it may spoil what was written.
class Faulty : public Executor {
 public:
  using Fault = std::function<void(Executor& executor, const Plan& plan, const PlanCall& call)>;

  explicit Faulty(Fault fault, bool in_steps = false) : fault_(std::move(fault)), in_steps_(in_steps) {}

  std::string description() const override { return inner_->description(); }
  const DeviceTraits& traits() const override { return inner_->traits(); }
  void prepare(const Plan& plan) override { inner_->prepare(plan); }
  void bind(const Plan& plan, int value, const void* source, std::size_t bytes, std::int64_t version) override {
    inner_->bind(plan, value, source, bytes, version);
  }
  void write(const Plan& plan, int value, const void* source, std::size_t bytes, std::size_t offset) override {
    inner_->write(plan, value, source, bytes, offset);
  }
  void read(const Plan& plan, int value, void* destination, std::size_t bytes, std::size_t offset) override {
    inner_->read(plan, value, destination, bytes, offset);
  }
  void run(const Plan& plan, std::int64_t times, bool check_each) override {
    inner_->run(plan, times, check_each);
    if (in_steps_) fault_(*inner_, plan, plan.calls.back());
  }
  void run_call(const Plan& plan, std::size_t call) override {
    inner_->run_call(plan, call);
    if (!in_steps_) fault_(*inner_, plan, plan.calls.at(call));
  }
  std::vector<double> run_timed(const Plan& plan) override { return inner_->run_timed(plan); }
  void synchronize() override { inner_->synchronize(); }

 private:
  std::unique_ptr<Executor> inner_ = make_executor(Device::cpu());
  Fault fault_;
  bool in_steps_;
};

// change(stored elements, value) on one output of the Calls of a kind.
template <class T = float, class F>
Faulty::Fault spoil(std::string_view call, std::string_view role, F change) {
  return [=](Executor& executor, const Plan& plan, const PlanCall& c) {
    if (call != name_of(c.call)) return;
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (!o.value || role != role_of(o)) return;
      std::vector<T> stored(plan[o.value].bytes / sizeof(T));
      executor.read(plan, o.value.index, stored.data(), plan[o.value].bytes);
      change(stored, plan[o.value]);
      executor.write(plan, o.value.index, stored.data(), plan[o.value].bytes);
    });
  };
}

VerifyReport verify_with(const Faulty::Fault& fault, bool in_steps = false) {
  const VerifyBackend backend{"cpu", [&] { return std::make_unique<Faulty>(fault, in_steps); }};
  return verify(net, options(), bars(60), {&backend, 1}, nullptr);
}

VerifyReport verify_on_cpu(const Module& module, const TrainerOptions& trainer_options, const Dataset& data,
                           const OtherLibrary* other = nullptr) {
  const Device cpu = Device::cpu();
  return verify(module, trainer_options, data, {&cpu, 1}, other);
}

std::string failures(const VerifyReport& report) { return report.passed() ? "" : app::text(report); }

const CallCheck& check_of(const VerifyReport& report, std::string_view call, std::string_view backend = "cpu") {
  for (const CallCheck& c : report.calls)
    if (c.call == call && c.backend == backend) return c;
  throw std::logic_error("no check of " + std::string(call));
}

// ------------------------------------------------------------------------------------------ right kernels

TEST(Verify, ChecksEveryCallOfTrainingItsLastBatchAndEvaluation) {
  const VerifyReport report = verify_on_cpu(net, options(), bars(100));  // batches of 40, 40, 20
  EXPECT_EQ(failures(report), "");
  std::size_t calls = 0;
  for (const std::int64_t batch : {40, 20}) {
    TrainerOptions o = options();
    o.batch = batch;
    calls += describe(*compile(net, o, Mode::train)).size();
    if (batch == 40) calls += describe(*compile(net, o, Mode::eval)).size();
  }
  EXPECT_EQ(report.compared, static_cast<std::int64_t>(calls));
  std::int64_t sum = 0;
  for (const CallCheck& c : report.calls) sum += c.calls;
  EXPECT_EQ(sum, report.compared);
  EXPECT_EQ(check_of(report, "conv2d_forward").calls, 3);
  EXPECT_EQ(check_of(report, "conv2d_backward_weight").calls, 2);
  EXPECT_EQ(check_of(report, "conv2d_forward").path, "conv1");
  EXPECT_EQ(check_of(report, "conv2d_forward").operand, "y");
  EXPECT_GT(check_of(report, "conv2d_forward").share, 0);
  EXPECT_LT(check_of(report, "conv2d_forward").error, 1e-6);
  ASSERT_EQ(report.steps.size(), 3u);
  EXPECT_EQ(report.steps[1].samples, 20);
  EXPECT_EQ(report.steps[2].mode, Mode::eval);
}

TEST(Verify, PassesNetsOfEveryKind) {
  const nn::Sequential residual{
      nn::Conv2d{.out = 4, .kernel = 3, .padding = 1},
      nn::Residual{nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3, .padding = 1, .bias = false}, nn::BatchNorm{}, nn::Tanh{}}},
      nn::Residual{nn::Sequential{nn::Conv2d{.out = 4, .kernel = 3, .padding = 1}, nn::BatchNorm{}}},
      nn::ReLU{},
      nn::BatchNorm{.momentum = std::nullopt},
      nn::AvgPool2d{},
      nn::ReLU{},
      nn::Flatten{},
      nn::Linear{.out = 3}};
  TrainerOptions o = options();
  o.optimizer = Sgd{.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-3};
  o.loss = MeanSquared{};
  o.transform.resize = Size2{7, 12};
  EXPECT_EQ(failures(verify_on_cpu(residual, o, bars(57))), "");
  o.fuse = false;
  o.drop_last = true;
  const VerifyReport whole_batches = verify_on_cpu(net, o, bars(57));
  EXPECT_EQ(failures(whole_batches), "");
  EXPECT_EQ(whole_batches.steps.size(), 2u) << "no last batch";
  o.batch = 1000;
  EXPECT_EQ(verify_on_cpu(net, o, bars(57)).steps[0].samples, 57) << "a set smaller than a batch";
}

// gamma * (x - mean) * rstd vanishes next to beta with such an eps, once steps have moved beta away from 0. In float all of a window's
// values are equal and the first is taken, in double the largest.
TEST(Verify, EitherOfTwoThatFloatCannotTellApartIsTheLargest) {
  const nn::Sequential flat{nn::Conv2d{.out = 5, .kernel = 3}, nn::BatchNorm{.eps = 1e20}, nn::MaxPool2d{}, nn::Flatten{},
                            nn::Linear{.out = 3}};
  const VerifyReport report = verify_on_cpu(flat, options(), bars(60));
  EXPECT_EQ(failures(report), "");
  EXPECT_EQ(check_of(report, "batch_norm_max_pool").calls, 3);
}

TEST(Verify, OfEqualValuesTheFirstIsTheLargest) {
  Dataset grey = bars(60);
  std::fill(grey.bytes.begin(), grey.bytes.end(), std::uint8_t{100});
  const auto last = spoil<std::uint8_t>("batch_norm_max_pool", "argmax",
                                        [](auto& argmax, const PlanValue&) { std::fill(argmax.begin(), argmax.end(), std::uint8_t{3}); });
  const VerifyBackend backend{"cpu", [&] { return std::make_unique<Faulty>(last); }};
  EXPECT_GT(check_of(verify(net, options(), grey, {&backend, 1}, nullptr), "batch_norm_max_pool").wrong, 0);
  EXPECT_EQ(failures(verify_on_cpu(net, options(), grey)), "");
}

TEST(Verify, RefusesWhatTrainingRefuses) {
  expect_error(ErrorKind::usage, {"bn2"}, [] { verify_on_cpu(net, options(), bars(41)); });
  expect_error(ErrorKind::data, {"empty"}, [] { verify_on_cpu(net, options(), bars(0)); });
  expect_error(ErrorKind::usage, {"sse9"}, [] {
    TrainerOptions o = options();
    o.executor.isa = "sse9";
    verify_on_cpu(net, o, bars(60));
  });
}

TEST(Verify, CallsRunAloneOnlyOfWholeValues) {
  const auto plan = compile(net, options(), Mode::train);
  ASSERT_GT(plan->region_bytes[static_cast<std::size_t>(Region::pack)], 0u);
  const auto executor = make_executor(Device::cpu());
  executor->prepare(*plan);
  expect_error(ErrorKind::usage, {"switch reuse of memory off"}, [&] { executor->run_call(*plan, 0); });
}

// ------------------------------------------------------------------------------------------ faults

struct Planted {
  const char *call, *path, *words;
  Faulty::Fault fault;
};

TEST(Verify, FindsAndNamesEveryKindOfFault) {
  const Planted faults[] = {
      {"conv2d_forward", "conv1", "y: 1 of 8400 elements differ",
       spoil("conv2d_forward", "y", [](auto& y, const PlanValue& v) { y[static_cast<std::size_t>(v.dims.index(3, 1, 2, 0))] += 1e-4f; })},
      {"conv2d_backward_weight", "conv1", "dw: 1 of 90 elements differ",
       spoil("conv2d_backward_weight", "dw", [](auto& dw, const PlanValue&) { dw[7] *= 1.001f; })},
      {"linear_backward_input", "fc2", "dx: ", spoil("linear_backward_input", "dx", [](auto& dx, const PlanValue&) { dx[5] = NAN; })},
      {"batch_norm_backward_apply", "bn2", "elements of padding lanes are not 0",
       spoil("batch_norm_backward_apply", "dx",
             [](auto& dx, const PlanValue& v) { dx[static_cast<std::size_t>(v.dims.stored()) - 1] = 1; })},
      {"linear_forward", "fc1", "elements of padding lanes are not finite",
       spoil("linear_forward", "y",
             [](auto& y, const PlanValue& v) {
               if (v.dims.c == 12) y[static_cast<std::size_t>(v.dims.stored()) - 1] = NAN;
             })},
      {"batch_norm_max_pool", "bn1", "argmax: ",
       spoil<std::uint8_t>("batch_norm_max_pool", "argmax",
                           [](auto& argmax, const PlanValue&) {
                             for (std::uint8_t& a : argmax) a = static_cast<std::uint8_t>(3 - a);
                           })},
      {"softmax_cross_entropy", "loss", "loss: correct is ",
       spoil<kernels::LossResult>("softmax_cross_entropy", "loss", [](auto& loss, const PlanValue&) { ++loss[0].correct; })},
      {"advance", "loss", "state: step is ",
       spoil<kernels::StepState>("advance", "state", [](auto& state, const PlanValue&) { state[0].step += 1; })},
  };
  for (const Planted& planted : faults) {
    SCOPED_TRACE(planted.words);
    const VerifyReport report = verify_with(planted.fault);
    EXPECT_FALSE(report.passed());
    const CallCheck& c = check_of(report, planted.call);
    EXPECT_GT(c.wrong, 0);
    EXPECT_GT(c.share, 1);
    EXPECT_EQ(c.path, planted.path);
    EXPECT_EQ(c.problem.rfind("[" + std::string(planted.path) + "] train, 40 samples: ", 0), 0u) << c.problem;
    EXPECT_NE(c.problem.find(planted.words), std::string::npos) << c.problem;
    for (const CallCheck& other : report.calls)  // nothing is handed on to the Calls that follow
      EXPECT_TRUE(other.call == c.call || other.passed()) << other.call << ": " << other.problem;
    expect_error(ErrorKind::verification, {"verification failed: cpu: ", planted.call, planted.words},
                 [&] { app::require_passed(report); });
  }
}

TEST(Verify, FindsAStepThatDiffersFromItsCalls) {
  const VerifyReport report = verify_with(
      [](Executor& executor, const Plan& plan, const PlanCall&) {
        float gamma = 0;
        const int value = plan.find("bn2.weight").index;
        executor.read(plan, value, &gamma, sizeof gamma);
        gamma = std::nextafter(gamma, 2.0f);
        executor.write(plan, value, &gamma, sizeof gamma);
      },
      true);
  EXPECT_FALSE(report.passed());
  EXPECT_EQ(report.steps[0].difference, "bn2.weight after run 1");
  for (const CallCheck& c : report.calls) EXPECT_TRUE(c.passed()) << c.problem;
  expect_error(ErrorKind::verification, {"train 40 samples as one step differ", "bn2.weight", "and 2 more"},
               [&] { app::require_passed(report); });
}

// ------------------------------------------------------------------------------------------ another library

TEST(Verify, AnotherLibraryIsShownAndDecidesNothing) {
  std::int64_t asked = 0;
  const OtherLibrary other{"other", [&](const PlanCall& call, std::span<void* const> operands) -> std::uint32_t {
                             ++asked;
                             if (name_of(call.call) != std::string_view("dropout")) return 0;
                             EXPECT_EQ(operands.size(), 3u);  // y, x, state
                             const auto& dropout = std::get<kernels::Dropout>(call.call);
                             EXPECT_EQ(dropout.dims.lanes, 1);
                             for (std::int64_t i = 0; i < dropout.dims.count(); ++i)
                               static_cast<float*>(operands[0])[i] = 2 * static_cast<const float*>(operands[1])[i];
                             return 1;
                           }};
  const VerifyReport report = verify_on_cpu(net, options(), bars(60), &other);
  EXPECT_EQ(asked, report.compared);
  EXPECT_EQ(check_of(report, "conv2d_forward", "other").calls, 0);
  const CallCheck& c = check_of(report, "dropout", "other");
  EXPECT_EQ(c.calls, 4);
  EXPECT_GT(c.share, 1);
  EXPECT_TRUE(report.passed());
  EXPECT_NE(app::text(report).find("other      -"), std::string::npos);
}

TEST(Verify, SaysWhyThereIsNoCudnn) {
  const TemporaryFolder folder;
  std::string missing;
  EXPECT_FALSE(app::cudnn_kernels(folder.path(), 0, missing));
  EXPECT_NE(missing.find("norma_cudnn.so is missing; to compare: install cuDNN 9"), std::string::npos) << missing;
  std::ofstream(folder.path() / "norma_cudnn.so") << "no library";
  EXPECT_FALSE(app::cudnn_kernels(folder.path(), 0, missing));
  EXPECT_NE(missing.find("; to compare: install cuDNN 9"), std::string::npos) << missing;
}

// The module of a build that has it: without a GPU it loads and says so.
TEST(Verify, CudnnLoadsOrSaysWhyNot) {
  const char* program = std::getenv("NORMA_PROGRAM");
  const auto folder = program ? std::filesystem::path(program).parent_path() : app::program_folder().parent_path();
  if (!std::filesystem::exists(folder / "norma_cudnn.so")) GTEST_SKIP() << "this build has no norma_cudnn.so";
  std::string missing;
  const std::optional<OtherLibrary> cudnn = app::cudnn_kernels(folder, 0, missing);
  const bool no_gpu = missing.find("no CUDA device: ") == 0, no_library = missing.find("libcudnn") == 0;
  EXPECT_TRUE(cudnn || no_gpu || no_library) << missing;
  if (!cudnn) return;
  EXPECT_EQ(cudnn->name.rfind("cuDNN ", 0), 0u);
  const VerifyReport report = verify_on_cpu(net, options(), bars(60), &*cudnn);
  EXPECT_GT(check_of(report, "conv2d_forward", cudnn->name).calls, 0);
  EXPECT_LT(check_of(report, "conv2d_forward", cudnn->name).error, 1e-5);
}

// ------------------------------------------------------------------------------------------ the report

TEST(VerifyReport, FitsInEightyColumns) {
  VerifyReport report = verify_on_cpu(net, options(), bars(60));
  report.calls.push_back({.call = "batch_norm_max_pool_backward_apply",
                          .backend = "cuda:1",
                          .calls = 1234,
                          .error = std::numeric_limits<double>::infinity(),
                          .share = 1234.5,
                          .path = "layer4/block2/downsample/bn",
                          .operand = "running_mean",
                          .wrong = 1,
                          .problem = "[layer4] something"});
  std::istringstream lines(app::text(report));
  for (std::string line; std::getline(lines, line);) EXPECT_TRUE(line.size() <= 80 || line.starts_with("FAILED ")) << line;
}

TEST(VerifyReport, IsOneObjectOfJson) {
  VerifyReport report = verify_on_cpu(net, options(), bars(60));
  json j = json::parse(app::to_json(report).dump());
  EXPECT_EQ(j.at("passed"), true);
  EXPECT_EQ(j.at("backends").at(0).at("name"), "cpu");
  EXPECT_EQ(j.at("compared"), report.compared);
  EXPECT_EQ(j.at("calls").size(), report.calls.size());
  for (const char* key : {"call", "backend", "calls", "error", "share_of_bound", "path", "operand", "wrong", "problem"})
    EXPECT_TRUE(j.at("calls").at(0).contains(key)) << key;
  EXPECT_EQ(j.at("steps").at(1), json::parse(R"({"backend": "cpu", "mode": "train", "samples": 20, "runs": 3, "same_bits": true,
                                                  "difference": ""})"));
  report.calls[0].share = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(app::to_json(report).at("calls").at(0).at("share_of_bound").is_null());
}

}  // namespace
}  // namespace norma::test
